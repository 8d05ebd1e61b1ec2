"""A residual layer in training on the CPU: torch's tensors for the loops of `kernels`, forwards and backwards."""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from vocoder.kernels import matmul
from vocoder.kernels import threads as kernels
from vocoder.kernels.dilated import DEPTH
from vocoder.kernels.matmul import TILE
from vocoder.kernels.winograd import Filtering, filtering
from vocoder.model.interpolation import Interpolation, PiecewiseLinear

ROOT_HALF = math.sqrt(0.5)
ONE = np.ones((1, 1), np.float32)  # of a single product


@dataclass(frozen=True)
class LayerWeights:
    """Of a residual layer with R residual, S skip and G gate channels, K taps, and Z = G / 2."""

    taps: Tensor  # [G, K R], oldest first
    out: Tensor  # [R + S, Z]
    bias: Tensor  # [R + S]
    dilation: int


def residual_layer_cpu(
    h: Tensor, conv_input: Tensor, skips: Tensor, projected: PiecewiseLinear, weights: LayerWeights, recompute: bool
) -> tuple[Tensor, Tensor]:
    """`residual_layer` by compiled loops; skips are overwritten.

    Raises:
        ValueError: shapes or precisions do not fit together, which the loops do not check.
    """
    _check(h, conv_input, skips, projected, weights)
    for_backward = torch.is_grad_enabled() and not recompute
    inputs = h.contiguous(), skips.contiguous(), projected.knots.contiguous()  # as the loops write them, too
    conv_input = inputs[0] if conv_input is h else conv_input
    outputs = _ResidualLayer.apply(
        conv_input,
        *inputs,
        weights.taps,
        weights.out,
        weights.bias,
        projected.interpolation,
        weights.dilation,
        for_backward,
    )
    return cast(tuple[Tensor, Tensor], outputs)


def _check(h: Tensor, conv_input: Tensor, skips: Tensor, projected: PiecewiseLinear, weights: LayerWeights) -> None:
    knots, interpolation = projected.knots, projected.interpolation
    taps, out, bias = weights.taps, weights.out, weights.bias
    (batch, length, residual), gates, skip = h.shape, knots.shape[3], skips.shape[2]
    samples = length - (taps.shape[1] // residual - 1) * weights.dilation
    fits = (
        conv_input.shape == h.shape
        and conv_input.dtype == h.dtype
        and len(skips) == len(knots) == batch
        and 0 < skips.shape[1] <= samples <= knots.shape[1] * len(interpolation.left)
        and knots.shape[2] > int(interpolation.left.max())
        and taps.shape == (gates, taps.shape[1] // residual * residual)
        and out.shape == (residual + skip, gates // 2)
        and bias.shape == (residual + skip,)
        and all(tensor.dtype == torch.float32 for tensor in (skips, knots, taps, out, bias))
    )
    if not fits:
        named = {"h": h, "conv_input": conv_input, "skips": skips, "knots": knots}
        named |= {"taps": taps, "out": out, "bias": bias}
        shapes = ", ".join(f"{name} {list(tensor.shape)} {tensor.dtype}" for name, tensor in named.items())
        raise ValueError(f"a residual layer of dilation {weights.dilation} cannot take {shapes}")


class _ResidualLayer(torch.autograd.Function):
    """Keeps h, and z, the filter's outputs; what the gate lets through is computed anew in no time."""

    @staticmethod
    def forward(
        ctx: Any,
        conv_input: Tensor,
        h: Tensor,
        skips: Tensor,
        knots: Tensor,
        taps: Tensor,
        out: Tensor,
        bias: Tensor,
        interpolation: Interpolation,
        dilation: int,
        for_backward: bool,
    ) -> tuple[Tensor, Tensor]:
        ctx.mark_dirty(skips)
        (batch, length, residual), gates = h.shape, taps.shape[0]
        filter = _filter(taps.shape[1] // residual)
        samples = length - (filter.kernel_size - 1) * dilation
        following, z = h.new_empty(batch, samples, residual), h.new_empty(batch, samples if for_backward else 0, gates)
        first = knots.shape[1] * len(interpolation.left) - samples  # which sample of frame 0 is the layer's first
        position = (*_arrays(interpolation.left, interpolation.weights), first)
        rows, biases = (_in_tiles(part, residual) for part in (out, bias))
        single = _packed(rows.t().contiguous()[None], ONE, h.dtype)
        inputs = (
            *_arrays(h, conv_input),
            dilation,
            *filter.numbers,
            filter.packed(taps, h.dtype),
            *_arrays(knots),
            *position,
        )
        kernels.run(kernels.layer, *inputs, single, *_arrays(biases, z, following, skips))
        ctx.save_for_backward(h, conv_input, knots, taps, out, z)
        ctx.position, ctx.dilation, ctx.dropped = position, dilation, conv_input is not h
        return following, skips

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dfollowing: Tensor, dsums: Tensor) -> tuple[Tensor | None, ...]:
        h, conv_input, knots, taps, out, z = ctx.saved_tensors
        dfollowing, dsums, dilation = dfollowing.contiguous(), dsums.contiguous(), ctx.dilation
        (batch, samples, residual), gates = dfollowing.shape, taps.shape[0]
        filter = _filter(taps.shape[1] // residual)
        if not z.shape[1]:
            z = h.new_empty(batch, samples, gates)
            _convolve(z, conv_input, 0, dilation, filter, filter.packed(taps, h.dtype))
        y, dz, dknots = h.new_empty(batch, samples, gates // 2), torch.empty_like(z), torch.zeros_like(knots)
        back = _packed(_by_pairs(out, residual)[None], ONE, h.dtype)
        inputs = (*_arrays(dfollowing, dsums), back, *_arrays(z, knots), *ctx.position)
        kernels.run(kernels.gate_backward, *inputs, *_arrays(y, dz, dknots))
        del z
        dtaps = _gradient_of_filter(dz, conv_input, dilation, filter)
        dout, dbias = _gradient_of_out(dfollowing, dsums, y)
        del y
        dconv_input, added = torch.empty_like(h), None if ctx.dropped else dfollowing
        _convolve(dconv_input, dz, samples - h.shape[1], dilation, filter, filter.reversed(taps, h.dtype), added)
        dh = F.pad(dfollowing * ROOT_HALF, (0, 0, h.shape[1] - samples, 0)) if ctx.dropped else dconv_input
        return dconv_input if ctx.dropped else None, dh, dsums, dknots, dtaps, dout, dbias, None, None, None


def _convolve(
    result: Tensor,
    x: Tensor,
    shift: int,
    dilation: int,
    filter: "_Filter",
    weights: np.ndarray,
    added: Tensor | None = None,
) -> None:
    """result = the filter over x, from a sample before or after its first on, and what comes past it."""
    added = result.new_empty(len(result), 0, result.shape[2]) if added is None else added
    arrays = (*filter.numbers, weights, *_arrays(result, added))
    kernels.run(kernels.convolve, *_arrays(x), shift, dilation, *arrays, np.float32(ROOT_HALF))


def _gradient_of_filter(dz: Tensor, x: Tensor, dilation: int, filter: "_Filter") -> Tensor:
    """[G, K R]."""
    count = len(filter.way.taps)
    total = torch.zeros(count, dz.shape[2], matmul.whole(x.shape[2]))
    blocks = -(-_threads() // count)
    kernels.run(kernels.filter_gradient, *_arrays(dz, x), dilation, *filter.numbers, blocks, _like(x), *_arrays(total))
    return filter.gradient(total[..., : x.shape[2]])


def _gradient_of_out(dfollowing: Tensor, dsums: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Of the weights [R + S, Z] and of the bias [R + S]."""
    residual, blocks = dfollowing.shape[2], -(-_threads() // 2)
    totals = [torch.zeros(x.shape[2], matmul.whole(y.shape[2])) for x in (dfollowing, dsums)]
    dbias = torch.zeros(residual + dsums.shape[2])
    kernels.run(kernels.out_gradient, *_arrays(dfollowing, dsums, y), blocks, _like(y), *_arrays(*totals, dbias))
    dout = torch.cat(totals)[:, : y.shape[2]]
    for gradient in (dout, dbias):
        gradient[:residual] *= ROOT_HALF
    return dout, dbias


def _threads() -> int:
    return torch.get_num_threads()


def _like(x: Tensor) -> np.ndarray:
    """Says how many groups, and in what, a sum over time takes at once."""
    return np.zeros(DEPTH // 2, np.uint32) if x.dtype == torch.bfloat16 else np.zeros(DEPTH, np.float32)


# Weights


@dataclass(frozen=True)
class _Filter:
    """How K taps are applied, and what that makes of their weights."""

    way: Filtering
    numbers: tuple[np.ndarray, np.ndarray]  # the same for the loops

    @property
    def kernel_size(self) -> int:
        return self.way.taps.shape[1]

    def packed(self, taps: Tensor, dtype: torch.dtype) -> np.ndarray:
        """The weights [G, K R] of the taps as those of the products."""
        each = taps.detach().t().contiguous().unflatten(0, (self.kernel_size, -1))
        return _packed(each, self.way.taps, dtype)

    def reversed(self, taps: Tensor, dtype: torch.dtype) -> np.ndarray:
        """The same for the filter that brings gradients back: later taps first, from G channels to R."""
        each = taps.detach().contiguous().unflatten(1, (self.kernel_size, -1)).transpose(0, 1)
        return _packed(each, np.ascontiguousarray(self.way.taps[:, ::-1]), dtype)

    def gradient(self, products: Tensor) -> Tensor:
        """Of the taps [G, K R], from those of the products [P, G, R]."""
        return torch.einsum("pk,pgr->gkr", torch.from_numpy(self.way.taps), products).flatten(1)


@cache
def _filter(kernel_size: int) -> _Filter:
    way = filtering(kernel_size)
    whole = np.array([(way.samples, way.shared, 0), *np.column_stack([way.inputs, way.target])])
    return _Filter(way, (whole, np.column_stack([way.signs, way.outputs]).astype(np.float32)))


def _packed(weights: Tensor, taps: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    """taps [P, K] @ weights [K, k, rows] as the products read them, [P, tile, k, rows of the tile]; in bfloat16 by
    pairs of k."""
    count, pairs = matmul.whole(weights.shape[2]) // TILE, dtype == torch.bfloat16
    depth = -(-weights.shape[1] // 2) if pairs else weights.shape[1]
    packed = matmul.aligned_zeros((len(taps), count, depth, TILE), np.uint32 if pairs else np.float32)
    kernels.run(kernels.pack, weights.numpy(), taps, packed)
    return packed


def _in_tiles(weights: Tensor, residual: int) -> Tensor:
    """Rows for residual channels, which are halved in power, and for skips, each filled up to whole tiles."""
    return torch.cat([_filled(part, TILE) for part in _scaled(weights, residual)])


def _by_pairs(out: Tensor, residual: int) -> Tensor:
    """The same, each filled up to whole pairs."""
    return torch.cat([_filled(part, 2) for part in _scaled(out, residual)])


def _scaled(weights: Tensor, residual: int) -> tuple[Tensor, Tensor]:
    return weights.detach()[:residual] * ROOT_HALF, weights.detach()[residual:]


def _filled(rows: Tensor, unit: int) -> Tensor:
    return F.pad(rows, (*(0, 0) * (rows.dim() - 1), 0, -len(rows) % unit))


# Loops


def _arrays(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    contiguous = (tensor.detach().contiguous() for tensor in tensors)
    return tuple((x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy() for x in contiguous)
