"""Discretized Gaussians, single and in mixtures; or their continuous density, as ClariNet has it (Ping et al. 2018).

A density is no probability: its logarithm has no upper bound, so "bits per sample" of it can be negative, and compare
with nothing but themselves.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from vocoder.distributions.mixture import Mixture, in_full_precision
from vocoder.distributions.standard import Law, Normal


@dataclass(frozen=True)
class MixtureOfGaussians(Mixture):
    """M Gaussians; params [B, 3M, T] are logits, means and logarithms of standard deviations."""

    law: ClassVar[Law] = Normal()

    components: int = 10
    levels: int = 65536
    log_scale_min: float | None = None
    density: bool = False  # the continuous density of a sample instead of the probability of its level

    @property
    def is_density(self) -> bool:
        return self.density


@dataclass(frozen=True)
class Gaussian(Mixture):
    """One Gaussian; params [B, 2, T] are mean and logarithm of the standard deviation."""

    law: ClassVar[Law] = Normal()
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

    def _parts(self, params: Tensor) -> tuple[Tensor, ...]:
        return in_full_precision(params).chunk(2, 1)

    def _split(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        mean, log_scale = self._parts(params)
        return torch.zeros_like(mean), mean, log_scale.clamp(min=self.log_scale_min)

    def _join(self, logits: Tensor, means: Tensor, log_scales: Tensor) -> Tensor:
        return torch.cat((means, log_scales))

    def _split_noise(self, u: Tensor) -> tuple[Tensor, Tensor]:
        return torch.full_like(u, 0.5), u  # there is nothing to choose
