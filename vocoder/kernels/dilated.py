"""The dilated filter in as few products as there can be (`vocoder.model.filtering`), for many groups at once.

A group is the outputs, a dilation apart each, that the filter gives at once. Group q begins at sample
(q // dilation) samples dilation + q % dilation, if it has `samples` outputs.
"""

from typing import NamedTuple

import numpy as np
from numba import types
from numba.extending import overload

from vocoder.kernels.math import compiled
from vocoder.kernels.matmul import add_product
from vocoder.kernels.rows import F, combine, combine_pairs, halves, inlined

DEPTH = 128  # groups that a gradient of weights is summed over at once; even


class Way(NamedTuple):
    """A `Filtering` with P products."""

    samples: int
    shared: int
    inputs: np.ndarray  # [P, 2]
    target: np.ndarray  # [P]
    signs: np.ndarray  # [P, 2]
    outputs: np.ndarray  # [P, 2]


@inlined
def way_of(whole, factors):
    """Of two arrays, since loops that are shared out take no tuples: [1 + P, 3], samples and shared before inputs and
    target; and [P, 4], signs and outputs."""
    return Way(whole[0, 0], whole[0, 1], whole[1:, :2], whole[1:, 2], factors[:, :2], factors[:, 2:])


@compiled
def groups_of(samples, count, dilation):
    """How many cover so many samples."""
    return -(-samples // (count * dilation)) * dilation


@compiled
def beginning(q, count, dilation):
    return (q // dilation) * (count * dilation) + q % dilation


@compiled
def placed(t, samples, factor):
    """(t, factor), or zero times something where nothing is."""
    return (t, factor) if 0 <= t < samples else (0, F(0))


@inlined
def filtered(sums, combined, x, b, q, n, shift, weights, dilation, way):
    """sums [2, n, rows] = the outputs of n groups from q on, of inputs x[b, shift ...]."""
    sums[:, :n] = F(0)
    for p in range(len(weights)):
        if p == way.shared:
            _share(sums, n, p)
        _combine(halves(combined[0]), x, b, q, n, shift, way.samples, dilation, way.inputs[p], way.signs[p])
        add_product(n, sums[way.target[p]], weights, p, combined, 0)


@compiled
def _share(sums, n, shared):
    """The products so far are in both outputs, the second with its sign changed in one of them."""
    for i in range(n if shared else 0):
        for k in range(sums.shape[2]):
            one, two = sums[0, i, k], sums[1, i, k]
            sums[0, i, k] = one + two
            sums[1, i, k] = one - two


@compiled
def _combine(target, x, b, q, n, shift, count, dilation, inputs, signs):
    """target[i] = two of the inputs of group q + i with their signs, for n groups."""
    for i in range(n):
        t = beginning(q + i, count, dilation) + shift
        one, a = placed(t + inputs[0] * dilation, x.shape[1], signs[0])
        two, c = placed(t + inputs[1] * dilation, x.shape[1], signs[1])
        combine(target[i], x[b, one], a, x[b, two], c)


def gather(target, x, b, q, shift, count, dilation, inputs, signs, begin, end):
    """target [tiles, DEPTH, channels of a tile] = the same of channels begin ... end, for DEPTH groups; or, where it
    holds pairs, [tiles, DEPTH / 2, channels], of two groups each."""


@overload(gather, jit_options={"nogil": True, "error_model": "numpy"})
def _gather(target, x, b, q, shift, count, dilation, inputs, signs, begin, end):
    def as_they_are(target, x, b, q, shift, count, dilation, inputs, signs, begin, end):
        for i in range(DEPTH):
            t = beginning(q + i, count, dilation) + shift
            one, a = placed(t + inputs[0] * dilation, x.shape[1], signs[0])
            two, c = placed(t + inputs[1] * dilation, x.shape[1], signs[1])
            for tile in range(len(target)):
                start = begin + tile * target.shape[2]
                stop = min(start + target.shape[2], end)
                combine(target[tile, i], x[b, one, start:stop], a, x[b, two, start:stop], c)

    def in_pairs(target, x, b, q, shift, count, dilation, inputs, signs, begin, end):
        for i in range(DEPTH // 2):
            t = beginning(q + 2 * i, count, dilation) + shift
            u = beginning(q + 2 * i + 1, count, dilation) + shift
            one, a = placed(t + inputs[0] * dilation, x.shape[1], signs[0])
            two, c = placed(t + inputs[1] * dilation, x.shape[1], signs[1])
            three, d = placed(u + inputs[0] * dilation, x.shape[1], signs[0])
            four, e = placed(u + inputs[1] * dilation, x.shape[1], signs[1])
            for tile in range(len(target)):
                start = begin + tile * target.shape[2]
                stop = min(start + target.shape[2], end)
                first, second = x[b, one, start:stop], x[b, two, start:stop]
                third, fourth = x[b, three, start:stop], x[b, four, start:stop]
                combine_pairs(target[tile, i], first, a, second, c, third, d, fourth, e)

    return in_pairs if target.dtype == types.uint32 else as_they_are
