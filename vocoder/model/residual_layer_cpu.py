"""The residual layer in training on the CPU: the autograd function around the compiled loops of `vocoder.kernels`."""

from dataclasses import dataclass
from functools import cache
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from vocoder.kernels import parallel
from vocoder.kernels.math import ROOT_HALF
from vocoder.kernels.matmul import TILE, round_up
from vocoder.kernels.parallel import run_parallel
from vocoder.kernels.winograd import WinogradPlan, plain_plan, winograd_plan
from vocoder.model.compiled import as_numpy, gradient_block_like, on_matrix_units, pack, transform_and_pack
from vocoder.model.interpolation import Interpolation, PiecewiseLinear


@dataclass(frozen=True)
class LayerWeights:
    """Weights of a residual layer with R residual, S skip and G gate channels, K taps, and Z = G / 2."""

    conv_weight: Tensor  # [G, K R], oldest tap first
    out_weight: Tensor  # [R + S, Z]
    out_bias: Tensor  # [R + S]
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
        weights.conv_weight,
        weights.out_weight,
        weights.out_bias,
        projected.interpolation,
        weights.dilation,
        for_backward,
    )
    return cast(tuple[Tensor, Tensor], outputs)


def _check(h: Tensor, conv_input: Tensor, skips: Tensor, projected: PiecewiseLinear, weights: LayerWeights) -> None:
    knots, interpolation = projected.knots, projected.interpolation
    conv_weight, out_weight, out_bias = weights.conv_weight, weights.out_weight, weights.out_bias
    (batch, length, residual), gates, skip = h.shape, knots.shape[3], skips.shape[2]
    samples = length - (conv_weight.shape[1] // residual - 1) * weights.dilation
    fits = (
        conv_input.shape == h.shape
        and conv_input.dtype == h.dtype
        and len(skips) == len(knots) == batch
        and 0 < skips.shape[1] <= samples <= knots.shape[1] * len(interpolation.left)
        and knots.shape[2] > int(interpolation.left.max())
        and conv_weight.shape == (gates, conv_weight.shape[1] // residual * residual)
        and out_weight.shape == (residual + skip, gates // 2)
        and out_bias.shape == (residual + skip,)
        and all(tensor.dtype == torch.float32 for tensor in (skips, knots, conv_weight, out_weight, out_bias))
    )
    if not fits:
        named = {"h": h, "conv_input": conv_input, "skips": skips, "knots": knots}
        named |= {"conv_weight": conv_weight, "out_weight": out_weight, "out_bias": out_bias}
        shapes = ", ".join(f"{name} {list(tensor.shape)} {tensor.dtype}" for name, tensor in named.items())
        raise ValueError(f"a residual layer of dilation {weights.dilation} cannot take {shapes}")


class _ResidualLayer(torch.autograd.Function):
    """Saves h and conv_out, the convolution's outputs without conditioning.

    The gate's outputs are recomputed, which takes next to no time.
    """

    @staticmethod
    def forward(
        ctx: Any,
        conv_input: Tensor,
        h: Tensor,
        skips: Tensor,
        knots: Tensor,
        conv_weight: Tensor,
        out_weight: Tensor,
        out_bias: Tensor,
        interpolation: Interpolation,
        dilation: int,
        for_backward: bool,
    ) -> tuple[Tensor, Tensor]:
        ctx.mark_dirty(skips)
        (batch, length, residual), gates = h.shape, conv_weight.shape[0]
        conv = _dilated_conv(conv_weight.shape[1] // residual, h.dtype)
        samples = length - (conv.kernel_size - 1) * dilation
        next_h = h.new_empty(batch, samples, residual)
        conv_out = h.new_empty(batch, samples if for_backward else 0, gates)
        first_sample = knots.shape[1] * len(interpolation.left) - samples  # of the layer, counted from frame 0
        knot_position = (*as_numpy(interpolation.left, interpolation.weights), first_sample)
        rows, biases = (_scale_and_pad(TILE, part, residual) for part in (out_weight, out_bias))
        run_parallel(
            parallel.layer_forward,
            *as_numpy(h, conv_input),
            dilation,
            *conv.plan_arrays,
            conv.pack(conv_weight, h.dtype),
            *as_numpy(knots),
            *knot_position,
            pack(rows, h.dtype),
            biases,
            *as_numpy(conv_out, next_h, skips),
        )
        ctx.save_for_backward(h, conv_input, knots, conv_weight, out_weight, conv_out)
        ctx.knot_position, ctx.dilation, ctx.dropped = knot_position, dilation, conv_input is not h
        return next_h, skips

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dnext_h: Tensor, dskips: Tensor) -> tuple[Tensor | None, ...]:
        h, conv_input, knots, conv_weight, out_weight, conv_out = ctx.saved_tensors
        dnext_h, dskips, dilation = dnext_h.contiguous(), dskips.contiguous(), ctx.dilation
        (batch, samples, residual), gates = dnext_h.shape, conv_weight.shape[0]
        conv = _dilated_conv(conv_weight.shape[1] // residual, h.dtype)
        if not conv_out.shape[1]:  # not saved
            conv_out = h.new_empty(batch, samples, gates)
            _convolve(conv_out, conv_input, 0, dilation, conv, conv.pack(conv_weight, h.dtype))
        gated = h.new_empty(batch, samples, gates // 2)
        dconv_out, dknots = torch.empty_like(conv_out), torch.zeros_like(knots)
        packed_out_weight = pack(_scale_and_pad(2, out_weight, residual).T, h.dtype)
        inputs = (*as_numpy(dnext_h, dskips), packed_out_weight, *as_numpy(conv_out, knots), *ctx.knot_position)
        run_parallel(parallel.gate_backward, *inputs, *as_numpy(gated, dconv_out, dknots))
        del conv_out
        dconv_weight = _conv_weight_gradient(dconv_out, conv_input, dilation, conv)
        dout_weight, dout_bias = _out_weight_gradient(dnext_h, dskips, gated)
        del gated
        dconv_input, added = torch.empty_like(h), None if ctx.dropped else dnext_h
        weights = conv.pack_transposed(conv_weight, h.dtype)
        _convolve(dconv_input, dconv_out, samples - h.shape[1], dilation, conv, weights, added)
        dh = F.pad(dnext_h * ROOT_HALF, (0, 0, h.shape[1] - samples, 0)) if ctx.dropped else dconv_input
        dinputs = (dconv_input if ctx.dropped else None, dh, dskips, dknots)
        return *dinputs, dconv_weight, dout_weight, dout_bias, None, None, None


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
    arrays = (*conv.plan_arrays, weights, *as_numpy(result, added))
    run_parallel(parallel.convolve, *as_numpy(x), shift, dilation, *arrays, np.float32(ROOT_HALF))


def _conv_weight_gradient(dconv_out: Tensor, x: Tensor, dilation: int, conv: "_DilatedConv") -> Tensor:
    """The gradient of conv_weight [G, K R]."""
    products = len(conv.plan.weight_transform)
    total = torch.zeros(products, dconv_out.shape[2], round_up(x.shape[2], TILE))
    # The plain plan's products share their outputs, so a thread keeps to one block of channels; 16 fill a tile's rows.
    plain_blocks = min(_thread_count(), -(-dconv_out.shape[2] // 16))
    blocks = plain_blocks if conv.plan.group_size == 1 else -(-_thread_count() // products)
    arrays = (*conv.plan_arrays, blocks, gradient_block_like(x), *as_numpy(total))
    run_parallel(parallel.conv_weight_gradient, *as_numpy(dconv_out, x), dilation, *arrays)
    return conv.gradient(total[..., : x.shape[2]])


def _out_weight_gradient(dnext_h: Tensor, dskips: Tensor, gated: Tensor) -> tuple[Tensor, Tensor]:
    """The gradients of the weights after the gate [R + S, Z] and of their bias [R + S]."""
    residual, blocks = dnext_h.shape[2], -(-_thread_count() // 2)
    totals = [torch.zeros(x.shape[2], round_up(gated.shape[2], TILE)) for x in (dnext_h, dskips)]
    dout_bias = torch.zeros(residual + dskips.shape[2])
    arrays = (blocks, gradient_block_like(gated), *as_numpy(*totals, dout_bias))
    run_parallel(parallel.out_weight_gradient, *as_numpy(dnext_h, dskips, gated), *arrays)
    dout_weight = torch.cat(totals)[:, : gated.shape[2]]
    for gradient in (dout_weight, dout_bias):
        gradient[:residual] *= ROOT_HALF
    return dout_weight, dout_bias


def _thread_count() -> int:
    return torch.get_num_threads()


# Weights


@dataclass(frozen=True)
class _DilatedConv:
    """A convolution of K taps by a Winograd plan: transforms of its weights, and of their gradient."""

    plan: WinogradPlan
    plan_arrays: tuple[np.ndarray, np.ndarray]

    @property
    def kernel_size(self) -> int:
        return self.plan.weight_transform.shape[1]

    def pack(self, conv_weight: Tensor, dtype: torch.dtype) -> np.ndarray:
        """conv_weight [G, K R], transformed and packed: from R channels to G."""
        kernels = self._taps(conv_weight).transpose(1, 2, 0)  # [K, R, G]
        return transform_and_pack(kernels, self.plan.weight_transform, dtype)

    def pack_transposed(self, conv_weight: Tensor, dtype: torch.dtype) -> np.ndarray:
        """The same for the transposed convolution, which propagates gradients: from G channels to R."""
        kernels = self._taps(conv_weight).transpose(1, 0, 2)  # [K, G, R]
        reversed_taps = np.ascontiguousarray(self.plan.weight_transform[:, ::-1])
        return transform_and_pack(kernels, reversed_taps, dtype)

    def gradient(self, products: Tensor) -> Tensor:
        """The gradient of conv_weight [G, K R], from that of the transformed weights [P, G, R]."""
        if self.plan.group_size == 1:  # one product for each tap
            return products.transpose(0, 1).flatten(1)
        return torch.einsum("pk,pgr->gkr", torch.from_numpy(self.plan.weight_transform), products).flatten(1)

    def _taps(self, conv_weight: Tensor) -> np.ndarray:
        """[G, K R] -> [G, K, R]."""
        return conv_weight.detach().numpy().reshape(len(conv_weight), self.kernel_size, -1)


@cache
def _dilated_conv(kernel_size: int, dtype: torch.dtype) -> _DilatedConv:
    """By the fewest products; where matrix units make these cheap, by the plain ones, without sums of inputs."""
    plan = plain_plan(kernel_size) if on_matrix_units(dtype) else winograd_plan(kernel_size)
    return _DilatedConv(plan, plan.arrays())


def _scale_and_pad(unit: int, weights: Tensor, residual: int) -> np.ndarray:
    """Rows [R + S, ...] of the product after the gate, R rows times sqrt(1/2), with R and S padded to the unit."""
    rows, first_skip = weights.detach().numpy(), round_up(residual, unit)
    skip = len(rows) - residual
    padded = np.zeros((first_skip + round_up(skip, unit), *rows.shape[1:]), np.float32)
    np.multiply(rows[:residual], np.float32(ROOT_HALF), out=padded[:residual])
    padded[first_skip : first_skip + skip] = rows[residual:]
    return padded
