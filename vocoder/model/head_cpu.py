"""The head in training on the CPU: the autograd function around the compiled loops of `vocoder.kernels.head`."""

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from vocoder.kernels import parallel
from vocoder.kernels.matmul import TILE, round_up
from vocoder.kernels.parallel import run_parallel
from vocoder.model.compiled import as_numpy, gradient_block_like, pack


def head_cpu(hidden: Tensor, recent: Tensor, weights: Sequence[Tensor]) -> Tensor:
    """`head` by compiled loops; there is no gradient with respect to recent.

    Args:
        weights: weight and bias of the layers `recent`, `mix` and `output`, in float32.

    Raises:
        ValueError: shapes do not fit together. The loops do not check and would read beyond the arrays.
    """
    skip, width, params = hidden.shape[2], recent.shape[2], len(weights[4])
    shapes = [(skip, width), (skip,), (skip, skip), (skip,), (params, skip), (params,)]
    if recent.shape[:2] != hidden.shape[:2] or [tuple(part.shape) for part in weights] != shapes:
        found = ", ".join(str(list(part.shape)) for part in (hidden, recent, *weights))
        raise ValueError(f"a head cannot take {found}")
    return cast(Tensor, _Head.apply(hidden.contiguous(), recent, *weights))


class _Head(torch.autograd.Function):
    """Keeps nothing for the backward pass, which computes each block of samples again."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, recent: Tensor, *weights: Tensor) -> Tensor:
        params = recent.new_empty(*recent.shape[:2], len(weights[4]))
        run_parallel(
            parallel.head_forward,
            *as_numpy(hidden),
            recent.detach().numpy(),
            *_layer(weights[:2], torch.float32),
            *_layer(weights[2:4], hidden.dtype),
            *_layer(weights[4:], torch.float32),
            *as_numpy(params),
        )
        ctx.save_for_backward(hidden, recent, *weights)
        return params

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dparams: Tensor) -> tuple[Tensor | None, ...]:
        hidden, recent, *weights = ctx.saved_tensors
        dparams = dparams.contiguous()
        mix_input, dmixed = torch.empty_like(hidden), torch.empty_like(hidden)  # in the precision of the product
        output_input, dsum = (recent.new_empty(hidden.shape) for _ in range(2))
        run_parallel(
            parallel.head_backward,
            *as_numpy(hidden),
            recent.detach().numpy(),
            *_layer(weights[:2], torch.float32),
            *_layer(weights[2:4], hidden.dtype),
            pack(weights[2].detach().numpy().T, hidden.dtype),
            pack(weights[4].detach().numpy().T, torch.float32),
            *as_numpy(dparams, mix_input, output_input, dsum, dmixed),
        )
        sums = [torch.zeros(len(part), round_up(part.shape[1], TILE)) for part in weights[::2]]
        dbiases = [torch.zeros_like(part) for part in weights[1::2]]
        run_parallel(
            parallel.head_weight_gradient,
            *as_numpy(dsum),
            recent.detach().numpy(),
            *as_numpy(dmixed, mix_input, dparams, output_input),
            -(-torch.get_num_threads() // 3),
            gradient_block_like(recent),
            gradient_block_like(mix_input),
            *as_numpy(*sums, *dbiases),
        )
        dweights = [total[:, : part.shape[1]] for total, part in zip(sums, weights[::2], strict=True)]
        return dsum.to(hidden.dtype), None, *(part for pair in zip(dweights, dbiases, strict=True) for part in pair)


def _layer(weight_and_bias: Sequence[Tensor], dtype: torch.dtype) -> tuple[np.ndarray, np.ndarray]:
    """The packed weight of a layer, and its bias with zeros up to whole tiles."""
    weight, bias = (part.detach().numpy() for part in weight_and_bias)
    return pack(weight, dtype), np.pad(bias, (0, -len(bias) % TILE))
