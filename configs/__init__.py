"""The Hydra configuration tree, installed as `vocoder.configs`."""
