"""The residual layer in training on the CPU: the autograd function around the compiled loops of `vocoder.kernels`."""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from vocoder.kernels import threads
from vocoder.kernels.dilated import GRADIENT_BLOCK
from vocoder.kernels.matmul import TILE, aligned_zeros, round_up
from vocoder.kernels.threads import run_parallel
from vocoder.kernels.winograd import WinogradPlan, winograd_plan
from vocoder.model.interpolation import Interpolation, PiecewiseLinear

ROOT_HALF = math.sqrt(0.5)
NO_TRANSFORM = np.ones((1, 1), np.float32)  # [P, K] of a plain product


@dataclass(frozen=True)
class LayerWeights:
    """Weights of a residual layer with R residual, S skip and G gate channels, K taps, and Z = G / 2."""

    taps: Tensor  # [G, K R], oldest first
    out: Tensor  # [R + S, Z]
    bias: Tensor  # [R + S]
    dilation: int


def residual_layer_cpu(
    h: Tensor, conv_input: Tensor, skips: Tensor, projected: PiecewiseLinear, weights: LayerWeights, recompute: bool
) -> tuple[Tensor, Tensor]:
    """`residual_layer` by compiled loops; skips are overwritten.

    Raises:
        ValueError: shapes or dtypes do not fit together. The loops check neither and would read beyond the arrays.
    """
    _check(h, conv_input, skips, projected, weights)
    for_backward = torch.is_grad_enabled() and not recompute
    inputs = (
        h.contiguous(),
        skips.contiguous(),
        projected.knots.contiguous(),
    )  # results are laid out like these
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
    """Saves h and z, the outputs of the convolution; the gate's outputs are recomputed, which takes next to no time."""

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
        conv = _dilated_conv(taps.shape[1] // residual)
        samples = length - (conv.kernel_size - 1) * dilation
        next_h, z = h.new_empty(batch, samples, residual), h.new_empty(batch, samples if for_backward else 0, gates)
        first = knots.shape[1] * len(interpolation.left) - samples  # the layer's first sample, counted from frame 0
        position = (*_as_numpy(interpolation.left, interpolation.weights), first)
        rows, biases = (_pad_to(TILE, part, residual) for part in (out, bias))
        packed_out = _transform_and_pack(rows.t().contiguous()[None], NO_TRANSFORM, h.dtype)
        run_parallel(
            threads.layer_forward,
            *_as_numpy(h, conv_input),
            dilation,
            *conv.plan_arrays,
            conv.pack(taps, h.dtype),
            *_as_numpy(knots),
            *position,
            packed_out,
            *_as_numpy(biases, z, next_h, skips),
        )
        ctx.save_for_backward(h, conv_input, knots, taps, out, z)
        ctx.position, ctx.dilation, ctx.dropped = position, dilation, conv_input is not h
        return next_h, skips

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dnext_h: Tensor, dskips: Tensor) -> tuple[Tensor | None, ...]:
        h, conv_input, knots, taps, out, z = ctx.saved_tensors
        dnext_h, dskips, dilation = dnext_h.contiguous(), dskips.contiguous(), ctx.dilation
        (batch, samples, residual), gates = dnext_h.shape, taps.shape[0]
        conv = _dilated_conv(taps.shape[1] // residual)
        if not z.shape[1]:  # not saved
            z = h.new_empty(batch, samples, gates)
            _convolve(z, conv_input, 0, dilation, conv, conv.pack(taps, h.dtype))
        y, dz, dknots = h.new_empty(batch, samples, gates // 2), torch.empty_like(z), torch.zeros_like(knots)
        packed_out = _transform_and_pack(_pad_to(2, out, residual)[None], NO_TRANSFORM, h.dtype)
        inputs = (*_as_numpy(dnext_h, dskips), packed_out, *_as_numpy(z, knots), *ctx.position)
        run_parallel(threads.gate_backward, *inputs, *_as_numpy(y, dz, dknots))
        del z
        dtaps = _conv_weight_gradient(dz, conv_input, dilation, conv)
        dout, dbias = _out_weight_gradient(dnext_h, dskips, y)
        del y
        dconv_input, added = torch.empty_like(h), None if ctx.dropped else dnext_h
        _convolve(dconv_input, dz, samples - h.shape[1], dilation, conv, conv.pack_transposed(taps, h.dtype), added)
        dh = F.pad(dnext_h * ROOT_HALF, (0, 0, h.shape[1] - samples, 0)) if ctx.dropped else dconv_input
        return dconv_input if ctx.dropped else None, dh, dskips, dknots, dtaps, dout, dbias, None, None, None


def _convolve(
    result: Tensor,
    x: Tensor,
    shift: int,
    dilation: int,
    conv: "_DilatedConv",
    weights: np.ndarray,
    added: Tensor | None = None,
) -> None:
    """result = the convolution of x with packed weights, + sqrt(1/2) added at its end.

    The taps of output t are x[t + shift + k dilation]; x counts as zero outside of its samples.
    """
    added = result.new_empty(len(result), 0, result.shape[2]) if added is None else added
    arrays = (*conv.plan_arrays, weights, *_as_numpy(result, added))
    run_parallel(threads.convolve, *_as_numpy(x), shift, dilation, *arrays, np.float32(ROOT_HALF))


def _conv_weight_gradient(dz: Tensor, x: Tensor, dilation: int, conv: "_DilatedConv") -> Tensor:
    """The gradient of the taps [G, K R]."""
    products = len(conv.plan.weight_transform)
    total = torch.zeros(products, dz.shape[2], round_up(x.shape[2], TILE))
    blocks = -(-_thread_count() // products)
    arrays = (*conv.plan_arrays, blocks, _gradient_layout(x), *_as_numpy(total))
    run_parallel(threads.conv_weight_gradient, *_as_numpy(dz, x), dilation, *arrays)
    return conv.gradient(total[..., : x.shape[2]])


def _out_weight_gradient(dnext_h: Tensor, dskips: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of the weights after the gate [R + S, Z] and of their bias [R + S]."""
    residual, blocks = dnext_h.shape[2], -(-_thread_count() // 2)
    totals = [torch.zeros(x.shape[2], round_up(y.shape[2], TILE)) for x in (dnext_h, dskips)]
    dbias = torch.zeros(residual + dskips.shape[2])
    arrays = (blocks, _gradient_layout(y), *_as_numpy(*totals, dbias))
    run_parallel(threads.out_weight_gradient, *_as_numpy(dnext_h, dskips, y), *arrays)
    dout = torch.cat(totals)[:, : y.shape[2]]
    for gradient in (dout, dbias):
        gradient[:residual] *= ROOT_HALF
    return dout, dbias


def _thread_count() -> int:
    return torch.get_num_threads()


def _gradient_layout(x: Tensor) -> np.ndarray:
    """Its length and dtype set the block size and the precision of a sum over time."""
    pairs = x.dtype == torch.bfloat16
    return np.zeros(GRADIENT_BLOCK // 2, np.uint32) if pairs else np.zeros(GRADIENT_BLOCK, np.float32)


# Weights


@dataclass(frozen=True)
class _DilatedConv:
    """A convolution of K taps by a Winograd plan: transforms of its weights, and of their gradient."""

    plan: WinogradPlan
    plan_arrays: tuple[np.ndarray, np.ndarray]

    @property
    def kernel_size(self) -> int:
        return self.plan.weight_transform.shape[1]

    def pack(self, taps: Tensor, dtype: torch.dtype) -> np.ndarray:
        """Taps [G, K R], transformed and packed: from R channels to G."""
        kernels = taps.detach().t().contiguous().unflatten(0, (self.kernel_size, -1))  # [K, R, G]
        return _transform_and_pack(kernels, self.plan.weight_transform, dtype)

    def pack_transposed(self, taps: Tensor, dtype: torch.dtype) -> np.ndarray:
        """The same for the transposed convolution, which propagates gradients: taps reversed, from G channels to R."""
        kernels = taps.detach().contiguous().unflatten(1, (self.kernel_size, -1)).transpose(0, 1)  # [K, G, R]
        return _transform_and_pack(kernels, np.ascontiguousarray(self.plan.weight_transform[:, ::-1]), dtype)

    def gradient(self, products: Tensor) -> Tensor:
        """The gradient of the taps [G, K R], from that of the transformed weights [P, G, R]."""
        return torch.einsum("pk,pgr->gkr", torch.from_numpy(self.plan.weight_transform), products).flatten(1)


@cache
def _dilated_conv(kernel_size: int) -> _DilatedConv:
    plan = winograd_plan(kernel_size)
    return _DilatedConv(plan, plan.arrays())


def _transform_and_pack(weights: Tensor, transform: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    """transform [P, K] @ weights [K, k, rows] -> [P, tile, k, TILE]; in bfloat16, pairs of neighbouring k."""
    tiles, pairs = round_up(weights.shape[2], TILE) // TILE, dtype == torch.bfloat16
    depth = round_up(weights.shape[1], 2) // 2 if pairs else weights.shape[1]
    packed = aligned_zeros((len(transform), tiles, depth, TILE), np.uint32 if pairs else np.float32)
    run_parallel(threads.transform_weights, weights.numpy(), transform, packed)
    return packed


def _pad_to(unit: int, weights: Tensor, residual: int) -> Tensor:
    """Rows [R + S, ...] of the product after the gate, with R and S padded to the unit; R rows are times sqrt(1/2)."""
    parts = weights.detach()[:residual] * ROOT_HALF, weights.detach()[residual:]
    return torch.cat([F.pad(rows, (*(0, 0) * (rows.dim() - 1), 0, -len(rows) % unit)) for rows in parts])


def _as_numpy(*tensors: Tensor) -> tuple[np.ndarray, ...]:
    """Contiguous arrays that share memory with contiguous tensors; bfloat16 becomes uint16."""
    contiguous = (tensor.detach().contiguous() for tensor in tensors)
    return tuple((x.view(torch.uint16) if x.dtype == torch.bfloat16 else x).numpy() for x in contiguous)
