"""Console scripts: the only place that knows Hydra."""
