"""What vocoder-train is configured from; a root of its own, so that groups of the same name elsewhere do not meet."""
