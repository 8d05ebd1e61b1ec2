"""Discretized mixture of logistics (Salimans et al. 2017, PixelCNN++)."""

from dataclasses import dataclass
from typing import ClassVar

from vocoder.distributions.mixture import Mixture
from vocoder.distributions.standard import Law, Logistic


@dataclass(frozen=True)
class MixtureOfLogistics(Mixture):
    """M discretized logistics; params [B, 3M, T] are logits, means and log-scales. One component is the single one.

    At the default floor on log-scales one level holds 98.7 % of a component.
    """

    law: ClassVar[Law] = Logistic()

    components: int = 10
    levels: int = 65536
    log_scale_min: float | None = None
