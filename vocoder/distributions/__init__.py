"""Output distributions: an exact probability of the next sample, and exact draws from it."""

from vocoder.distributions.base import Distribution, LocationScale, SamplerSpec
from vocoder.distributions.categorical import Categorical, MuLawGrid
from vocoder.distributions.gaussian import Gaussian, MixtureOfGaussians
from vocoder.distributions.grid import Grid
from vocoder.distributions.mixture_of_logistics import MixtureOfLogistics

# The closed table from which a config's `kind` picks.
DISTRIBUTIONS: dict[str, type[Distribution]] = {
    "mixture_of_logistics": MixtureOfLogistics,
    "gaussian": Gaussian,
    "mixture_of_gaussians": MixtureOfGaussians,
    "categorical": Categorical,
}

__all__ = [
    "DISTRIBUTIONS",
    "Categorical",
    "Distribution",
    "Gaussian",
    "Grid",
    "LocationScale",
    "MixtureOfGaussians",
    "MixtureOfLogistics",
    "MuLawGrid",
    "SamplerSpec",
]
