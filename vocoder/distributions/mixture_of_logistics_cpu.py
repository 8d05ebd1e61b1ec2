"""The likelihood of a mixture of logistics on the CPU: the autograd function around the compiled loops."""

import math
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vocoder.kernels import parallel
from vocoder.kernels.parallel import run_parallel


def mixture_log_prob_cpu(
    params: Tensor,
    x: Tensor,
    half_bin: float,
    log_scale_min: float,
    shift: Tensor | None = None,
    log_scale: Tensor | None = None,
) -> Tensor:
    """The log-probability [B, T] in nats of shift + exp(log_scale) y at x, where y has params [B, 3M, T].

    Differentiable in params alone. All is float32; x, shift and log_scale are [B, T].
    """
    none = params.new_empty(0)
    shift, log_scale = (none if part is None else part for part in (shift, log_scale))
    return cast(Tensor, _MixtureLogProb.apply(params, x, shift, log_scale, half_bin, log_scale_min))


class _MixtureLogProb(torch.autograd.Function):
    """Computes the gradient with the value, which takes little more time than the value alone."""

    @staticmethod
    def forward(
        ctx: Any, params: Tensor, x: Tensor, shift: Tensor, log_scale: Tensor, half_bin: float, log_scale_min: float
    ) -> Tensor:
        rows = params.transpose(1, 2).flatten(0, 1).contiguous()  # of the network, which emits them like this, a view
        log_prob = torch.empty_like(x, memory_format=torch.contiguous_format)
        gradient = rows.new_empty(len(rows) if ctx.needs_input_grad[0] else 0, rows.shape[1])
        constants = (np.float32(half_bin), np.float32(math.log(2 * half_bin)), np.float32(log_scale_min))
        arrays = (part.detach().reshape(-1).numpy() for part in (x, shift, log_scale))
        run_parallel(
            parallel.mixture_log_prob,
            rows.detach().numpy(), *arrays, *constants, log_prob.view(-1).numpy(), gradient.numpy(),
        )  # fmt: skip
        ctx.save_for_backward(gradient)
        return log_prob

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dlog_prob: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        batch, samples = dlog_prob.shape
        dparams = (gradient.view(batch, samples, -1) * dlog_prob.unsqueeze(2)).transpose(1, 2)
        return dparams, None, None, None, None, None
