"""Output distributions: an exact probability of the next sample, and exact draws from it."""

from vocoder.distributions.base import Distribution, LocationScale
from vocoder.distributions.grid import Grid
from vocoder.distributions.mixture_of_logistics import MixtureOfLogistics

# The closed table from which a config's `kind` picks.
DISTRIBUTIONS: dict[str, type[MixtureOfLogistics]] = {"mixture_of_logistics": MixtureOfLogistics}

__all__ = ["DISTRIBUTIONS", "Distribution", "Grid", "LocationScale", "MixtureOfLogistics"]
