"""A residual layer in one pass over time, forwards and backwards.

On the CPU in float32, and in bfloat16 where the processor multiplies it, compiled loops run (`kernels.py`); elsewhere
the same equations in torch, which are also what the loops are tested against. Signals are [B, T, C].
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import numba
import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from vocoder import products
from vocoder.model import kernels
from vocoder.model.conditioning import Motion
from vocoder.model.filtering import Filtering, filtering
from vocoder.products import TILE

ROOT_HALF = math.sqrt(0.5)
ONE = np.ones((1, 1), np.float32)  # the only product there is


@dataclass(frozen=True)
class Weights:
    """Of a residual layer, R residual, S skip, G gate channels, K taps, Z = G / 2."""

    taps: Tensor  # [G, K R], oldest first
    out: Tensor  # [R + S, Z]
    bias: Tensor  # [R + S]


def residual_layer(
    h: Tensor,
    heard: Tensor,
    skips: Tensor,
    knots: Tensor,
    weights: Weights,
    motion: Motion,
    dilation: int,
    recompute: bool = False,
) -> tuple[Tensor, Tensor]:
    """Gated dilated convolution with residual and skip outputs (van den Oord et al. 2016, sections 2.3 and 2.4).

    Args:
        h: [B, history + T, R].
        heard: the same, or what dropout left of it for the convolution.
        skips: [B, N, S] float32, sums of the layers before, for the last N samples; may be overwritten.
        knots: the conditioning [B, F, J, G] between its knots, float32, projected already and with the gate's bias;
            its last sample is that of h.
        motion: how the conditioning goes between the knots of a frame.
        recompute: keep nothing but h for the backward pass.

    Returns:
        What the next layer hears [B, T, R], in the precision of h, and the sums [B, N, S].
    """
    if _is_compiled_for(h):
        return _Layer.apply(h, heard, skips, knots, weights.taps, weights.out, weights.bias, motion, dilation, recompute)
    if recompute:
        return checkpoint(plain_layer, h, heard, skips, knots, weights, motion, dilation, use_reentrant=False)
    return plain_layer(h, heard, skips, knots, weights, motion, dilation)


def plain_layer(
    h: Tensor, heard: Tensor, skips: Tensor, knots: Tensor, weights: Weights, motion: Motion, dilation: int
) -> tuple[Tensor, Tensor]:
    """`residual_layer` in torch."""
    kernel = weights.taps.unflatten(1, (-1, h.shape[2])).transpose(1, 2)[:, :, None]  # [G, R, 1, K]
    image = heard.transpose(1, 2)[:, :, None]  # one pixel high, and its channels last in memory: no copies
    z = F.conv2d(image, kernel, dilation=(1, dilation))[:, :, 0].transpose(1, 2)
    filter, opening = (z + spread(knots, motion, z.shape[1]).to(z.dtype)).chunk(2, 2)
    out = F.linear(filter.tanh() * opening.sigmoid(), weights.out, weights.bias)
    added, skip = out.split((h.shape[2], skips.shape[2]), 2)
    following = (h[:, h.shape[1] - z.shape[1] :] + added) * ROOT_HALF
    return following, skips + skip[:, skip.shape[1] - skips.shape[1] :]


def spread(knots: Tensor, motion: Motion, samples: int) -> Tensor:
    """Conditioning at each of the last so many samples [B, T, G], of its knots [B, F, J, G]."""
    left, weights = motion.left.to(knots.device), motion.weights.to(knots.device)
    following = (left + 1).clamp(max=knots.shape[2] - 1)
    moving = weights[:, :1] * knots[:, :, left] + weights[:, 1:] * knots[:, :, following]
    return moving.flatten(1, 2)[:, -samples:]


def _is_compiled_for(signal: Tensor) -> bool:
    dtypes = (torch.float32, torch.bfloat16) if products.HAS_BF16 else (torch.float32,)
    return signal.device.type == "cpu" and signal.dtype in dtypes


class _Layer(torch.autograd.Function):
    """Keeps h and z: what the gate lets through is computed anew in no time."""

    @staticmethod
    def forward(
        ctx: Any,
        h: Tensor,
        heard: Tensor,
        skips: Tensor,
        knots: Tensor,
        taps: Tensor,
        out: Tensor,
        bias: Tensor,
        motion: Motion,
        dilation: int,
        recompute: bool,
    ) -> tuple[Tensor, Tensor]:
        h, heard, skips = h.contiguous(), heard.contiguous(), skips.contiguous()
        way, (batch, length, residual) = _way(taps.shape[1] // h.shape[2]), h.shape
        samples, gates = length - (way.kernel_size - 1) * dilation, taps.shape[0]
        ctx.mark_dirty(skips)
        following, z = h.new_empty(batch, samples, residual), h.new_empty(batch, 0 if recompute else samples, gates)
        moving = _Moving.of(motion, knots.shape[1] * len(motion.left) - samples)
        arrays = (_array(h), _array(heard), dilation, *way.numbers, way.packed(taps, h.dtype), _array(knots), *moving)
        rows, biases = (_in_tiles(part, residual) for part in (out, bias))
        single = _packed(rows.t().contiguous()[None], ONE, h.dtype)
        _run(kernels.layer, *arrays, single, _array(biases), *map(_array, (z, following, skips)))
        ctx.save_for_backward(h, heard, knots, taps, out, z)
        ctx.moving, ctx.dilation, ctx.same = moving, dilation, heard is h
        return following, skips

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dfollowing: Tensor, dsums: Tensor) -> tuple[Tensor | None, ...]:
        h, heard, knots, taps, out, z = ctx.saved_tensors
        dfollowing, dsums, dilation = dfollowing.contiguous(), dsums.contiguous(), ctx.dilation
        (batch, samples, residual), gates = dfollowing.shape, taps.shape[0]
        way, nothing = _way(taps.shape[1] // residual), h.new_empty(batch, 0, residual)
        if not z.shape[1]:
            z = h.new_empty(batch, samples, gates)
            _convolve(z, heard, 0, dilation, way, way.packed(taps, h.dtype), nothing)
        y, dz, dknots = h.new_empty(batch, samples, gates // 2), torch.empty_like(z), torch.zeros_like(knots)
        back = _packed(_by_pairs(out, residual)[None], ONE, h.dtype)
        arrays = (*map(_array, (dfollowing, dsums)), back, *map(_array, (z, knots)), *ctx.moving)
        _run(kernels.gate_backward, *arrays, *map(_array, (y, dz, dknots)))
        dtaps = _gradient_of_filter(dz, heard, dilation, way)
        dout, dbias = _gradient_of_out(dfollowing, dsums, y)
        dheard, dh = torch.empty_like(h), None
        reversed, added = way.reversed(taps, h.dtype), dfollowing if ctx.same else nothing
        _convolve(dheard, dz, samples - h.shape[1], dilation, way, reversed, added)
        if not ctx.same:
            dh = F.pad(dfollowing * ROOT_HALF, (0, 0, h.shape[1] - samples, 0))
        return (dheard if ctx.same else dh, None if ctx.same else dheard, dsums, dknots, dtaps, dout, dbias, None, None, None)


def _convolve(
    result: Tensor, x: Tensor, shift: int, dilation: int, way: "_Way", filter: np.ndarray, added: Tensor
) -> None:
    arrays = (*way.numbers, filter, _array(result), _array(added))
    _run(kernels.convolve, _array(x), shift, dilation, *arrays, kernels.ROOT_HALF)


def _gradient_of_filter(dz: Tensor, x: Tensor, dilation: int, way: "_Way") -> Tensor:
    products = len(way.filtering.taps)
    total = torch.zeros(products, dz.shape[2], _whole(x.shape[2], TILE))
    blocks = -(-torch.get_num_threads() // products)
    _run(kernels.filter_gradient, _array(dz), _array(x), dilation, *way.numbers, blocks, _like(x), total.numpy())
    return way.gradient(total[..., : x.shape[2]])


def _gradient_of_out(dfollowing: Tensor, dsums: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    residual = dfollowing.shape[2]
    dbias = torch.zeros(residual + dsums.shape[2])
    totals = [torch.zeros(x.shape[2], _whole(y.shape[2], TILE)) for x in (dfollowing, dsums)]
    blocks = -(-torch.get_num_threads() // 2)
    _run(kernels.out_gradient, *map(_array, (dfollowing, dsums, y)), blocks, _like(y), *map(_array, (*totals, dbias)))
    dout = torch.cat(totals)[:, : y.shape[2]]
    for gradient in (dout, dbias):
        gradient[:residual] *= ROOT_HALF
    return dout, dbias


def _like(x: Tensor) -> np.ndarray:
    """Says how many groups, and in what, a sum over time takes at once."""
    if x.dtype == torch.bfloat16:
        return np.zeros(kernels.DEPTH // 2, np.uint32)
    return np.zeros(kernels.DEPTH, np.float32)


@dataclass(frozen=True)
class _Way:
    """How taps are applied, and what that makes of their weights."""

    filtering: Filtering
    numbers: kernels.Way

    @property
    def kernel_size(self) -> int:
        return self.filtering.taps.shape[1]

    def packed(self, taps: Tensor, dtype: torch.dtype) -> np.ndarray:
        """The weights [G, K R] of the taps as those of the products."""
        each = taps.detach().t().contiguous().unflatten(0, (self.kernel_size, -1))
        return _packed(each, self.filtering.taps, dtype)

    def reversed(self, taps: Tensor, dtype: torch.dtype) -> np.ndarray:
        """The same for the filter that brings gradients back: later taps first, from G channels to R."""
        each = taps.detach().contiguous().unflatten(1, (self.kernel_size, -1)).transpose(0, 1)
        return _packed(each, np.ascontiguousarray(self.filtering.taps[:, ::-1]), dtype)

    def gradient(self, products: Tensor) -> Tensor:
        """Of the taps [G, K R], of the weights of the products [P, G, R or more]."""
        residual = products.shape[2]
        return torch.einsum("pk,pgr->gkr", torch.from_numpy(self.filtering.taps), products).reshape(-1, self.kernel_size * residual)


@cache
def _way(kernel_size: int) -> _Way:
    way = filtering(kernel_size)
    return _Way(way, kernels.Way(way.samples, way.inputs, way.signs, way.outputs, way.shared, way.target))


class _Moving(NamedTuple):
    left: np.ndarray
    spread: np.ndarray
    first: int  # which sample of frame 0 is the first

    @classmethod
    def of(cls, motion: Motion, first: int) -> "_Moving":
        return cls(motion.left.numpy(), motion.weights.numpy(), first)


def _packed(weights: Tensor, taps: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    """taps [P, K] @ weights [K, k, rows] as the products read them, [P, tile, k, rows of the tile]; in bfloat16 by
    pairs of k."""
    shape, pairs = (len(taps), _whole(weights.shape[2], TILE) // TILE), dtype == torch.bfloat16
    depth = -(-weights.shape[1] // 2) if pairs else weights.shape[1]
    packed = products.aligned_zeros((*shape, depth, TILE), np.uint32 if pairs else np.float32)
    _run(kernels.pack, weights.numpy(), taps, packed)
    return packed


def _in_tiles(weights: Tensor, residual: int) -> Tensor:
    """Rows for residual channels, which are halved in power, and for skips, each filled up to whole tiles."""
    parts = weights.detach()[:residual] * ROOT_HALF, weights.detach()[residual:]
    pad = (0, 0) * (weights.dim() - 1)
    return torch.cat([F.pad(part, (*pad, 0, -len(part) % TILE)) for part in parts])


def _by_pairs(out: Tensor, residual: int) -> Tensor:
    """The same, each filled up to whole pairs."""
    parts = out.detach()[:residual] * ROOT_HALF, out.detach()[residual:]
    return torch.cat([F.pad(part, (0, 0, 0, len(part) % 2)) for part in parts])


def _whole(channels: int, unit: int) -> int:
    return -(-channels // unit) * unit


def _array(signal: Tensor) -> np.ndarray:
    signal = signal.detach().contiguous()
    return signal.view(torch.uint16).numpy() if signal.dtype == torch.bfloat16 else signal.numpy()


def _run(loops: Any, *arguments: Any) -> None:
    """On as many threads as torch has. Both share an OpenMP runtime, in which numba sets its own number when it is first
    used."""
    threads = torch.get_num_threads()
    most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    numba.set_num_threads(min(threads, most))
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    loops(min(threads, most), *arguments)
