"""The dilated convolution by a `WinogradPlan`, for many groups at once.

A group is the outputs that the plan gives together, `group_size` of them a dilation apart. Groups are numbered by their
first outputs: group q begins at sample (q // dilation) * group_size * dilation + q % dilation. Inputs outside of the
signal count as zeros, and outputs outside of it are the caller's to ignore.
"""

import numpy as np
from numba import types

from vocoder.kernels.bfloat16 import unpaired
from vocoder.kernels.jit import compiled, implements, inlined, use_whole_vectors
from vocoder.kernels.math import f32
from vocoder.kernels.matmul import TILE, add_product
from vocoder.kernels.rows import axpy, join_pairs, set_to_zero, weighted_sum, weighted_sum_pairs


@compiled
def group_count(samples, group_size, dilation):
    """Groups that cover the samples."""
    return -(-samples // (group_size * dilation)) * dilation


@compiled
def group_start(q, group_size, dilation):
    """The first sample of group q."""
    return (q // dilation) * (group_size * dilation) + q % dilation


@compiled
def zero_outside(t, samples, factor):
    """(t, factor), or where t is no sample, (0, 0): a sample that may be read, times zero."""
    return (t, factor) if 0 <= t < samples else (0, f32(0))


@inlined
def dilated_conv(sums, combined, x, b, q, n, shift, weights, dilation, plan):
    """sums [2, n, rows] = outputs 0 and 1 of groups q ... q + n, of x[b, shift ...]; without groups, only sums[0].

    Args:
        combined: room for the transformed inputs [1, n, k], in the precision of the weights.
        x: [B, T, channels].
        weights: transformed and packed, [P, tiles, k, TILE].
    """
    for j in range(plan.group_size):
        for i in range(n):
            set_to_zero(sums[j, i])
    if plan.group_size == 1 and x.shape[2] == len(unpaired(combined[0, 0])):
        for tap in range(len(weights)):
            first = q + shift + plan.inputs[tap, 0] * dilation
            begin, end = max(0, -first), min(n, x.shape[1] - first)  # of the outputs whose input is a sample
            if begin < end:
                inputs = paired_like(combined, x[b, first + begin : first + end])
                add_product(end - begin, sums[0, begin:], weights, tap, inputs, 0)
        return
    for p in range(len(weights)):
        if p == plan.shared:
            _add_shared(sums, n, plan.shared)
        _transform_inputs(
            unpaired(combined[0]), x, b, q, n, shift, plan.group_size, dilation, plan.inputs[p], plan.signs[p]
        )
        add_product(n, sums[plan.target[p]], weights, p, combined, 0)


def paired_like(buffer, rows):
    """Rows [n, channels] as the inputs of products, [1, n, k], without a copy: pairs of neighbouring channels, if the
    buffer holds pairs."""


@implements(paired_like, inline="always")
def _paired_like(buffer, rows):
    if buffer.dtype == types.uint32:
        return lambda buffer, rows: rows.view(np.uint32).reshape((1, rows.shape[0], rows.shape[1] // 2))
    return lambda buffer, rows: rows.reshape((1, rows.shape[0], rows.shape[1]))


@compiled
def _add_shared(sums, n, shared):
    """Replace (m0, m1) in sums [2, n, rows] by (m0 + m1, m0 - m1), where the plan has shared products."""
    if not shared:
        return
    for i in range(n):
        for k in range(sums.shape[2]):
            m0, m1 = sums[0, i, k], sums[1, i, k]
            sums[0, i, k] = m0 + m1
            sums[1, i, k] = m0 - m1


@compiled
def _transform_inputs(target, x, b, q, n, shift, group_size, dilation, inputs, signs):
    """target[i] = the signed sum of two inputs of group q + i, for n groups."""
    for i in range(n):
        t = group_start(q + i, group_size, dilation) + shift
        t0, sign0 = zero_outside(t + inputs[0] * dilation, x.shape[1], signs[0])
        t1, sign1 = zero_outside(t + inputs[1] * dilation, x.shape[1], signs[1])
        weighted_sum(target[i], sign0, x[b, t0], sign1, x[b, t1])


def transform_for_gradient(target, x, b, q, shift, group_size, dilation, inputs, signs, begin, end):
    """`_transform_inputs` of channels begin ... end for n groups, laid out for a sum over groups.

    target [tiles, n, channels of a tile] in float32; in bfloat16 [tiles, n / 2, channels of a tile], where a pair is
    two neighbouring groups.
    """


@implements(transform_for_gradient)
def _transform_for_gradient(target, x, b, q, shift, group_size, dilation, inputs, signs, begin, end):
    def float32(target, x, b, q, shift, group_size, dilation, inputs, signs, begin, end):
        for i in range(target.shape[1]):
            t = group_start(q + i, group_size, dilation) + shift
            t0, sign0 = zero_outside(t + inputs[0] * dilation, x.shape[1], signs[0])
            t1, sign1 = zero_outside(t + inputs[1] * dilation, x.shape[1], signs[1])
            for tile in range(len(target)):
                start = begin + tile * target.shape[2]
                stop = min(start + target.shape[2], end)
                weighted_sum(target[tile, i], sign0, x[b, t0, start:stop], sign1, x[b, t1, start:stop])

    def pairs(target, x, b, q, shift, group_size, dilation, inputs, signs, begin, end):
        first = q + shift + inputs[0] * dilation
        if group_size == 1 and first >= 0 and first + 2 * target.shape[1] <= x.shape[1]:
            _pair_neighbours(target, x[b, first:], begin, end)  # the plain plan's, away from the ends of the signal
            return
        for i in range(target.shape[1]):
            t = group_start(q + 2 * i, group_size, dilation) + shift
            u = group_start(q + 2 * i + 1, group_size, dilation) + shift
            t0, t_sign0 = zero_outside(t + inputs[0] * dilation, x.shape[1], signs[0])
            t1, t_sign1 = zero_outside(t + inputs[1] * dilation, x.shape[1], signs[1])
            u0, u_sign0 = zero_outside(u + inputs[0] * dilation, x.shape[1], signs[0])
            u1, u_sign1 = zero_outside(u + inputs[1] * dilation, x.shape[1], signs[1])
            for tile in range(len(target)):
                start = begin + tile * target.shape[2]
                stop = min(start + target.shape[2], end)
                xt0, xt1 = x[b, t0, start:stop], x[b, t1, start:stop]
                xu0, xu1 = x[b, u0, start:stop], x[b, u1, start:stop]
                weighted_sum_pairs(target[tile, i], t_sign0, xt0, t_sign1, xt1, u_sign0, xu0, u_sign1, xu1)

    return pairs if target.dtype == types.uint32 else float32


@compiled
def _pair_neighbours(target, x, begin, end):
    """target [tiles, n / 2, channels of a tile] = pairs of neighbouring samples of x [T, channels]."""
    use_whole_vectors()
    for tile in range(target.shape[0]):
        start = begin + tile * target.shape[2]
        stop = min(start + target.shape[2], end)
        for i in range(target.shape[1]):
            join_pairs(target[tile, i], x[2 * i, start:stop], x[2 * i + 1, start:stop])


def transform_tile(target, weights, coefficients):
    """target [k, TILE] = coefficients [K] @ weights [K, k, TILE], in float32 or in pairs of neighbouring k."""


@implements(transform_tile)
def _transform_tile(target, weights, coefficients):
    def float32(target, weights, coefficients):
        for k in range(weights.shape[1]):
            set_to_zero(target[k])
            for c in range(len(coefficients)):
                axpy(coefficients[c], weights[c, k], target[k])

    def pairs(target, weights, coefficients):
        pair = np.zeros((2, TILE), f32)
        for k in range(0, weights.shape[1], 2):
            set_to_zero(pair[0])
            set_to_zero(pair[1])
            for c in range(len(coefficients)):
                for i in range(min(2, weights.shape[1] - k)):
                    axpy(coefficients[c], weights[c, k + i], pair[i])
            weighted_sum_pairs(target[k // 2], f32(1), pair[0], f32(0), pair[0], f32(1), pair[1], f32(0), pair[1])

    return pairs if target.dtype == types.uint32 else float32
