"""The Hydra configuration tree; importable as `vocoder.configs` once installed."""
