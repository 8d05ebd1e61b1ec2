"""Discretized Gaussians, single and in mixtures; optionally their continuous density (ClariNet, Ping et al. 2018).

A density is not a probability: its logarithm has no upper bound. "Bits per sample" of a density can be negative and are
comparable only with those of other densities on the same data.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vocoder.distributions.mixture import Mixture
from vocoder.distributions.sampling import at_least_float32
from vocoder.distributions.standard import StandardDistribution, StandardNormal


@dataclass(frozen=True)
class MixtureOfGaussians(Mixture):
    """M Gaussians; params [B, 3M, T] are logits, means and log standard deviations."""

    standard: ClassVar[StandardDistribution] = StandardNormal()

    components: int = 10
    levels: int = 65536
    log_scale_min: float | None = None
    density: bool = False  # use the continuous density of a sample instead of the probability of its level

    @property
    def is_density(self) -> bool:
        return self.density


@dataclass(frozen=True)
class Gaussian(Mixture):
    """One Gaussian; params [B, 2, T] are mean and log standard deviation."""

    standard: ClassVar[StandardDistribution] = StandardNormal()
    components: ClassVar[int] = 1  # type: ignore[misc]

    levels: int = 65536
    log_scale_min: float | None = None
    density: bool = False

    @property
    def channels(self) -> int:
        return 2

    @property
    def uniforms(self) -> int:
        return 1

    @property
    def is_density(self) -> bool:
        return self.density

    def _chunks(self, params: Tensor) -> tuple[Tensor, ...]:
        return at_least_float32(params).chunk(2, 1)

    def _split(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_scale = self._chunks(params)
        return torch.zeros_like(mean), mean, log_scale.clamp(min=self.log_scale_min)

    def _join(self, logits: Tensor, means: Tensor, log_scales: Tensor) -> Tensor:
        return torch.cat((means, log_scales))

    def _split_uniforms(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return torch.full_like(u, 0.5), u  # one component: its Gumbel noise has no effect
