"""The two steps of a residual layer between its matrix products, each in one pass, forwards and backwards.

On the CPU in float32 and bfloat16 compiled loops run (`kernels.py`); elsewhere the same equations in torch, which are
also what the loops are tested against.

Signals are [B, C, 1, T] in channels-last order: in memory [B, T, C], and to torch images that are one pixel high.
Their convolutions along the width are the fastest products there are, forwards and backwards, with no copy of taps.
"""

import math
from typing import Any

import numba
import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from vocoder.model import kernels
from vocoder.model.conditioning import Motion

ROOT_HALF = math.sqrt(0.5)


def gated_product(z: Tensor, knots: Tensor, weight: Tensor, bias: Tensor, motion: Motion, first: int) -> Tensor:
    """W tanh(a) sigmoid(o) + b, with a and o the halves of z plus the conditioning (van den Oord et al. 2016, eq. 2).

    Args:
        z: [B, G, 1, T].
        knots: the conditioning [B, F, J, G], float32, projected already.
        weight, bias: W [N, G / 2] and b [N].
        motion: how the conditioning goes between the knots of a frame.
        first: which sample of frame 0 is that of z's sample 0.

    Returns:
        [B, N, 1, T], in the precision of z.
    """
    weight, bias = weight.to(z.dtype)[:, :, None, None], bias.to(z.dtype)
    if _is_compiled_for(z):
        return _GatedProduct.apply(z, knots, weight, bias, motion, first)
    return F.conv2d(gate(z, knots, motion, first), weight, bias)


def gate(z: Tensor, knots: Tensor, motion: Motion, first: int) -> Tensor:
    """tanh(a) sigmoid(o) [B, G / 2, 1, T], as `gated_product`, in torch."""
    samples, left, weights = z.shape[3], motion.left.to(z.device), motion.weights.to(z.device)
    following = (left + 1).clamp(max=knots.shape[2] - 1)
    spread = weights[:, :1] * knots[:, :, left] + weights[:, 1:] * knots[:, :, following]
    condition = spread.flatten(1, 2)[:, first : first + samples].transpose(1, 2)[:, :, None]  # [B, G, 1, T]
    filter, opening = (z + condition.to(z.dtype)).chunk(2, 1)
    return filter.tanh() * opening.sigmoid()


def residual(h: Tensor, out: Tensor, skips: Tensor) -> tuple[Tensor, Tensor]:
    """(what the next layer hears, the sum of skips so far).

    Args:
        h: [B, R, 1, history + T].
        out: [B, R + S, 1, T], of this layer.
        skips: [B, S, 1, N] float32, of the layers before it; the last N of the T samples.

    Returns:
        [B, R, 1, T] in the precision of h, and [B, S, 1, N].
    """
    if _is_compiled_for(h):
        return _Residual.apply(h, out, skips)
    return plain_residual(h, out, skips)


def plain_residual(h: Tensor, out: Tensor, skips: Tensor) -> tuple[Tensor, Tensor]:
    """`residual` in torch."""
    samples = out.shape[3]
    added, skip = out.split((h.shape[1], skips.shape[1]), 1)
    following = (h[..., h.shape[3] - samples :] + added) * ROOT_HALF
    return following, skips + skip[..., samples - skips.shape[3] :]


def _is_compiled_for(signal: Tensor) -> bool:
    return signal.device.type == "cpu" and signal.dtype in (torch.float32, torch.bfloat16)


class _GatedProduct(torch.autograd.Function):
    """Keeps z alone: what the gate lets through is a quarter of a layer's activations, and computed anew in no time."""

    @staticmethod
    def forward(ctx: Any, z: Tensor, knots: Tensor, weight: Tensor, bias: Tensor, motion: Motion, first: int) -> Tensor:
        ctx.save_for_backward(z, knots, weight)
        ctx.motion, ctx.first = motion, first
        return F.conv2d(_compiled_gate(z, knots, motion, first), weight, bias)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dout: Tensor) -> tuple[Tensor | None, ...]:
        z, knots, weight = ctx.saved_tensors
        y = _compiled_gate(z, knots, ctx.motion, ctx.first)
        plain = ([weight.shape[0]], [1, 1], [0, 0], [1, 1], False, [0, 0], 1)  # bias, stride, padding, dilation …
        dy, dweight, dbias = torch.ops.aten.convolution_backward(dout, y, weight, *plain, [True, True, True])
        del y
        dz, dknots = _empty(z, z.shape[1], z.shape[3]), torch.zeros_like(knots, memory_format=torch.contiguous_format)
        _use_torchs_threads()
        arguments = (_array(z), _knots(knots), *_arrays(ctx.motion), ctx.first)
        kernels.gate_backward(*arguments, _array(dy), _array(dz), dknots.numpy())
        return dz, dknots, dweight, dbias, None, None


def _compiled_gate(z: Tensor, knots: Tensor, motion: Motion, first: int) -> Tensor:
    y = _empty(z, z.shape[1] // 2, z.shape[3])
    _use_torchs_threads()
    kernels.gate(_array(z), _knots(knots), *_arrays(motion), first, _array(y))
    return y


class _Residual(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, h: Tensor, out: Tensor, skips: Tensor) -> tuple[Tensor, Tensor]:
        ctx.shape = h.shape
        following, sums = _empty(h, h.shape[1], out.shape[3]), _empty(skips, skips.shape[1], skips.shape[3])
        _use_torchs_threads()
        kernels.residual(_array(h), _array(out), _array(skips), _array(following), _array(sums))
        return following, sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dfollowing: Tensor, dsums: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        dsums = dsums.contiguous(memory_format=torch.channels_last)  # once for all layers: each passes it on
        dh = _empty(dfollowing, ctx.shape[1], ctx.shape[3])
        dout = _empty(dfollowing, ctx.shape[1] + dsums.shape[1], dfollowing.shape[3])
        _use_torchs_threads()
        kernels.residual_backward(_array(dfollowing), _array(dsums), _array(dh), _array(dout))
        return dh, dout, dsums


def _empty(like: Tensor, channels: int, samples: int) -> Tensor:
    """[B, C, 1, T] with channels last in memory."""
    return like.new_empty(like.shape[0], 1, samples, channels).permute(0, 3, 1, 2)


def _array(signal: Tensor) -> np.ndarray:
    """[B, C, 1, T] as [B, T, C], with no copy where it lies like that."""
    rows = signal.detach()[:, :, 0].transpose(1, 2).contiguous()
    return rows.view(torch.uint16).numpy() if rows.dtype == torch.bfloat16 else rows.numpy()


def _knots(knots: Tensor) -> np.ndarray:
    return knots.detach().contiguous().numpy()


def _arrays(motion: Motion) -> tuple[np.ndarray, np.ndarray]:
    return motion.left.numpy(), motion.weights.numpy()


def _use_torchs_threads() -> None:
    """As many as torch has. Both share an OpenMP runtime, in which numba sets its own number when it is first used."""
    threads = torch.get_num_threads()
    most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    numba.set_num_threads(min(threads, most))
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
