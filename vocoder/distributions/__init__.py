"""Output distributions: an exact probability of the next sample, and exact draws from it."""

from vocoder.distributions.base import Distribution, Grid, LocationScale, SamplerSpec
from vocoder.distributions.categorical import Categorical, MuLawGrid
from vocoder.distributions.gaussian import Gaussian, MixtureOfGaussians
from vocoder.distributions.grid import UniformGrid
from vocoder.distributions.mixture_of_logistics import MixtureOfLogistics

# All values of `kind` that a config may name; nothing else can be instantiated from a config.
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
    "UniformGrid",
]
