"""Discretized mixture of logistics (Salimans et al. 2017, PixelCNN++)."""

from dataclasses import dataclass
from typing import ClassVar

from vocoder.distributions.mixture import Mixture
from vocoder.distributions.standard import StandardDistribution, StandardLogistic


@dataclass(frozen=True)
class MixtureOfLogistics(Mixture):
    """M discretized logistics; params [B, 3M, T] are logits, means and log-scales. M = 1 is a single logistic.

    At the default `log_scale_min`, one level can hold 98.7 % of a component.
    """

    standard: ClassVar[StandardDistribution] = StandardLogistic()

    components: int = 10
    levels: int = 65536
    log_scale_min: float | None = None
