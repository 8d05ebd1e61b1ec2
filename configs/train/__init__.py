"""The config of vocoder-train; a separate root, so that its groups do not clash with settings of other commands."""
