"""Discretized mixture of logistics (Salimans et al. 2017, PixelCNN++)."""

from dataclasses import dataclass
from typing import ClassVar, cast

import torch
from torch import Tensor

from vocoder.distributions.mixture import Mixture
from vocoder.distributions.mixture_of_logistics_cpu import mixture_log_prob_cpu
from vocoder.distributions.sampling import at_least_float32
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

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Exact log-probability in nats: params [B, P, T], x [B, T] on the grid -> [B, T].

        On a CPU in float32 by compiled loops, otherwise in plain torch.
        """
        params = at_least_float32(params)
        if _is_compiled_for(params, x):
            return self._log_prob_cpu(params, x)
        return super().log_prob(params, x)

    def affine_log_prob(self, params: Tensor, shift: Tensor, log_scale: Tensor, x: Tensor) -> Tensor:
        params = at_least_float32(params)
        if _is_compiled_for(params, x, shift, log_scale):
            return self._log_prob_cpu(params, x, shift, log_scale)
        return super().affine_log_prob(params, shift, log_scale, x)

    def _log_prob_cpu(self, params: Tensor, x: Tensor, *affine: Tensor) -> Tensor:
        return mixture_log_prob_cpu(params, x, self.grid.half_bin, cast(float, self.log_scale_min), *affine)


def _is_compiled_for(params: Tensor, x: Tensor, *affine: Tensor) -> bool:
    """Whether compiled loops can compute the likelihood.

    They do not broadcast, and have no gradient with respect to x and the affine map.
    """
    given = (x, *affine)
    return (
        all(part.device.type == "cpu" and part.dtype == torch.float32 for part in (params, *given))
        and all(part.shape == (params.shape[0], params.shape[2]) for part in given)
        and not (torch.is_grad_enabled() and any(part.requires_grad for part in given))
    )
