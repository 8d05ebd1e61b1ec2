"""A residual layer in training, forwards and backwards, as compiled loops over stretches of time that fit in a cache.

Products are those of `products.py`, with the samples of an utterance for lanes; the dilated filter takes the fewest
that it can (`filtering.py`). What lies between them, the gate above all, finds its numbers where the products left
them. Arrays are as they lie, time before channels; bfloat16 comes as uint16, and sums are float32 always.

Every worker takes its share of the stretches, or of the weights where gradients of weights are sums over time, and each
number is computed by one of them from its first term to its last: results do not depend on how many there are.

B batch, T samples, F frames, J knots of a frame, R residual, S skip channels, G gate channels, Z = G / 2, P products of
the filter, D dilation. A group is the `samples` outputs, D apart each, that the filter gives at once: group q begins at
sample (q // D) samples D + q % D.
"""

import math
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba import njit, prange, types
from numba.extending import overload

from vocoder import functions, products
from vocoder.functions import LOG2_E, bfloat16, compiled, exp2, gated, of_bits
from vocoder.products import TILE, add_product

F = np.float32
ROOT_HALF = F(math.sqrt(0.5))
STRETCH = 96  # groups, or samples, that are done at once: their sums lie in the second cache, and a product's in the first
DEPTH = 128  # groups that a gradient of weights is summed over at once; even


def wide(x):
    """The float32 of a float32, or of the uint16 that a bfloat16 is."""


def narrow(x, like):
    """The other way round, for an array of such; in uint32 the upper half is left for another."""


def halves(array):
    """The bfloat16 in an array of uint32, neighbours in pairs; a float32 array as it is."""


@overload(wide, inline="always")
def _wide(x):
    if x == types.uint16:
        return lambda x: of_bits(np.uint32(x) << np.uint32(16))
    return lambda x: x


@overload(narrow, inline="always")
def _narrow(x, like):
    if like.dtype == types.uint16:
        return lambda x, like: np.uint16(bfloat16(x) >> np.uint32(16))
    return lambda x, like: x


@overload(halves)
def _halves(array):
    if array.dtype == types.uint32:
        return lambda array: array.view(np.uint16)
    return lambda array: array


def scratch(weights, lanes):
    """Zeros for so many lanes of channels that these weights [products, tiles, k, rows] multiply: [1, lanes, k]."""


@overload(scratch)
def _scratch(weights, lanes):
    dtype = np.uint32 if weights.dtype == types.uint32 else np.float32
    return lambda weights, lanes: np.zeros((1, lanes, weights.shape[2]), dtype)


# The filter


class Way(NamedTuple):
    """A `Filtering` as the loops take it."""

    samples: int
    inputs: np.ndarray
    signs: np.ndarray
    outputs: np.ndarray


@compiled
def _groups(samples, count, dilation):
    """That cover so many samples."""
    return -(-samples // (count * dilation)) * dilation


@compiled
def _beginning(q, count, dilation):
    return (q // dilation) * (count * dilation) + q % dilation


@compiled
def _placed(t, samples, factor):
    """(t, factor), or zero times something where nothing is."""
    return (t, factor) if 0 <= t < samples else (0, F(0))


@compiled
def _combine(target, x, b, q, n, shift, count, dilation, inputs, signs):
    """target[i] = two of the inputs of group q + i with their signs, for n groups; inputs are x[b, shift ...]."""
    samples, width = x.shape[1:]
    for i in range(n):
        t = _beginning(q + i, count, dilation) + shift
        one, a = _placed(t + inputs[0] * dilation, samples, signs[0])
        two, c = _placed(t + inputs[1] * dilation, samples, signs[1])
        for j in range(width):
            target[i, j] = narrow(a * wide(x[b, one, j]) + c * wide(x[b, two, j]), target)


@compiled
def _filter(sums, combined, x, b, q, n, shift, weights, dilation, way):
    """sums [P, n, rows]: the products of n groups from q on."""
    for p in range(len(weights)):
        _combine(halves(combined[0]), x, b, q, n, shift, way.samples, dilation, way.inputs[p], way.signs[p])
        sums[p, :n] = F(0)
        add_product(n, sums[p], weights, p, combined, 0)


@compiled
def _collect(row, sums, i, outputs, j):
    """row = output j of group i."""
    row[:] = F(0)
    for p in range(len(sums)):
        factor = outputs[p, j]
        if factor != F(0):
            for k in range(len(row)):
                row[k] += factor * sums[p, i, k]


# A layer, forwards


@compiled
def _layer(
    worker, workers, h, heard, dilation, count, inputs, signs, outputs, filter,
    knots, left, spread, first, out, bias, z, following, skips,
):  # fmt: skip
    way, motion = Way(count, inputs, signs, outputs), (left, spread, first)
    samples, residual, skip_channels = following.shape[1], following.shape[2], skips.shape[2]
    history, before, first_skip = h.shape[1] - samples, samples - skips.shape[1], _padded(residual)
    combined, sums = scratch(filter, STRETCH), np.empty((len(filter), STRETCH, filter.shape[1] * TILE), F)
    y, outs = scratch(out, 2 * STRETCH), np.empty((2 * STRETCH, out.shape[1] * TILE), F)
    row, times = np.empty(sums.shape[2], F), np.empty(2 * STRETCH, np.int64)
    groups = _groups(samples, way.samples, dilation)
    stretches = -(-groups // STRETCH)
    for stretch in range(worker, len(h) * stretches, workers):
        b, q = stretch // stretches, stretch % stretches * STRETCH
        n, found = min(STRETCH, groups - q), 0
        _filter(sums, combined, heard, b, q, n, 0, filter, dilation, way)
        for i in range(n):
            for j in range(way.samples):
                t = _beginning(q + i, way.samples, dilation) + j * dilation
                if t < samples:
                    _collect(row, sums, i, way.outputs, j)
                    _keep(z, b, t, row)
                    _gate(row, knots, motion, b, t, halves(y[0])[found])
                    outs[found] = bias
                    times[found] = t
                    found += 1
        add_product(found, outs, out, 0, y, 0)
        for i in range(found):
            t = times[i]
            for j in range(residual):
                following[b, t, j] = narrow(wide(h[b, history + t, j]) * ROOT_HALF + outs[i, j], following)
            if t >= before:
                for j in range(skip_channels):
                    skips[b, t - before, j] += outs[i, first_skip + j]


@compiled
def _keep(z, b, t, row):
    """Where there is room for it."""
    if z.shape[1]:
        for j in range(z.shape[2]):
            z[b, t, j] = narrow(row[j], z)


@compiled
def _gate(z, knots, motion, b, t, y):
    """y = tanh(a) sigmoid(o), where a and o are the halves of z and the conditioning at sample t."""
    left, spread, first = motion
    f, s, half = (first + t) // len(left), (first + t) % len(left), knots.shape[3] // 2
    p, r = knots[b, f, left[s]], knots[b, f, min(left[s] + 1, knots.shape[2] - 1)]
    v, w = spread[s, 0], spread[s, 1]
    for j in range(half):
        a = z[j] + v * p[j] + w * r[j]
        o = z[half + j] + v * p[half + j] + w * r[half + j]
        y[j] = narrow(gated(a, o), y)


# Backwards


@compiled
def _convolve(worker, workers, x, shift, dilation, count, inputs, signs, outputs, filter, result, added, factor):
    way = Way(count, inputs, signs, outputs)
    samples, width, lag = result.shape[1], result.shape[2], result.shape[1] - added.shape[1]
    combined, sums = scratch(filter, STRETCH), np.empty((len(filter), STRETCH, filter.shape[1] * TILE), F)
    row = np.empty(sums.shape[2], F)
    groups = _groups(samples, way.samples, dilation)
    stretches = -(-groups // STRETCH)
    for stretch in range(worker, len(x) * stretches, workers):
        b, q = stretch // stretches, stretch % stretches * STRETCH
        n = min(STRETCH, groups - q)
        _filter(sums, combined, x, b, q, n, shift, filter, dilation, way)
        for i in range(n):
            for j in range(way.samples):
                t = _beginning(q + i, way.samples, dilation) + j * dilation
                if t < samples:
                    _collect(row, sums, i, way.outputs, j)
                    if t >= lag:
                        for k in range(width):
                            row[k] += factor * wide(added[b, t - lag, k])
                    _keep(result, b, t, row)


@compiled
def _gate_backward(worker, workers, dfollowing, dsums, out, z, knots, left, spread, first, y, dz, dknots):
    samples, residual, skip_channels = dfollowing.shape[1], dfollowing.shape[2], dsums.shape[2]
    frames, hop, before, first_skip = knots.shape[1], len(left), samples - dsums.shape[1], _even(residual)
    douts, dy = scratch(out, STRETCH), np.empty((STRETCH, out.shape[1] * TILE), F)
    for frame in range(worker, len(z) * frames, workers):
        b, f = frame // frames, frame % frames
        end = min(samples, f * hop + hop - first)
        for begin in range(max(0, f * hop - first), end, STRETCH):
            n = min(STRETCH, end - begin)
            for i in range(n):
                t, dout = begin + i, halves(douts[0])[i]
                for j in range(residual):
                    dout[j] = narrow(wide(dfollowing[b, t, j]), dout)
                for j in range(skip_channels):
                    dout[first_skip + j] = narrow(dsums[b, t - before, j] if t >= before else F(0), dout)
            dy[:n] = F(0)
            add_product(n, dy, out, 0, douts, 0)
            for i in range(n):
                t, s = begin + i, first + begin + i - f * hop
                l, m = left[s], min(left[s] + 1, knots.shape[2] - 1)  # noqa: E741
                _gate_step(
                    z[b, t], knots[b, f, l], knots[b, f, m], spread[s], dy[i],
                    y[b, t], dz[b, t], dknots[b, f, l], dknots[b, f, m],
                )  # fmt: skip


@compiled
def _gate_step(z, p, r, spread, dy, y, dz, dp, dr):
    """What the gate lets through of a sample, and the gradients of z and of the two knots around."""
    half, v, w = len(z) // 2, spread[0], spread[1]
    for j in range(half):
        k = half + j
        a = wide(z[j]) + v * p[j] + w * r[j]
        o = wide(z[k]) + v * p[k] + w * r[k]
        ea = exp2(min(max(a * (F(-2) * LOG2_E), F(-60)), F(60)))
        eo = exp2(min(max(o * -LOG2_E, F(-60)), F(60)))
        quotient = F(1) / ((F(1) + ea) * (F(1) + eo))
        tanh, sigmoid = (F(1) - ea) * (F(1) + eo) * quotient, (F(1) + ea) * quotient
        g = dy[j] * sigmoid
        da = g * (F(1) - tanh * tanh)
        do = g * tanh * (F(1) - sigmoid)
        y[j] = narrow(tanh * sigmoid, y)
        dz[j] = narrow(da, dz)
        dz[k] = narrow(do, dz)
        dp[j] += v * da
        dp[k] += v * do
        if w != F(0):
            dr[j] += w * da
            dr[k] += w * do


def gather(target, x, b, q, shift, count, dilation, inputs, signs, begin, end):
    """target[i] = what `_combine` makes of channels begin ... end, for DEPTH groups; where target holds pairs, of two
    groups each."""


@overload(gather, jit_options={"nogil": True, "error_model": "numpy"})
def _gather(target, x, b, q, shift, count, dilation, inputs, signs, begin, end):
    def as_they_are(target, x, b, q, shift, count, dilation, inputs, signs, begin, end):
        samples = x.shape[1]
        for i in range(DEPTH):
            t = _beginning(q + i, count, dilation) + shift
            one, a = _placed(t + inputs[0] * dilation, samples, signs[0])
            two, c = _placed(t + inputs[1] * dilation, samples, signs[1])
            for j in range(begin, end):
                target[i, j - begin] = a * wide(x[b, one, j]) + c * wide(x[b, two, j])

    def in_pairs(target, x, b, q, shift, count, dilation, inputs, signs, begin, end):
        samples = x.shape[1]
        for i in range(DEPTH // 2):
            t = _beginning(q + 2 * i, count, dilation) + shift
            u = _beginning(q + 2 * i + 1, count, dilation) + shift
            one, a = _placed(t + inputs[0] * dilation, samples, signs[0])
            two, c = _placed(t + inputs[1] * dilation, samples, signs[1])
            three, d = _placed(u + inputs[0] * dilation, samples, signs[0])
            four, e = _placed(u + inputs[1] * dilation, samples, signs[1])
            for j in range(begin, end):
                low = a * wide(x[b, one, j]) + c * wide(x[b, two, j])
                high = d * wide(x[b, three, j]) + e * wide(x[b, four, j])
                target[i, j - begin] = (bfloat16(low) >> np.uint32(16)) | (bfloat16(high) & np.uint32(0xFFFF0000))

    return in_pairs if target.dtype == types.uint32 else as_they_are


@compiled
def _correlate(worker, workers, left, right, shift, dilation, count, inputs, signs, outputs, blocks, like, total):
    way = Way(count, inputs, signs, outputs)
    products, lanes, width = total.shape
    rows = -(-lanes // blocks)
    deep = len(like)
    l, r = np.zeros((1, deep, rows), like.dtype), np.zeros((1, deep, width), like.dtype)  # noqa: E741
    tiles = r.reshape(1, deep, width // TILE, TILE).transpose(0, 2, 1, 3)
    groups = _groups(left.shape[1], way.samples, dilation)
    ends = np.array([0, 1])
    for part in range(worker, products * blocks, workers):
        p, begin = part // blocks, part % blocks * rows
        end = min(lanes, begin + rows)
        for b in range(len(left)):
            for q in range(0, groups, DEPTH):
                gather(l[0], left, b, q, 0, way.samples, dilation, ends, way.outputs[p], begin, end)
                gather(r[0], right, b, q, shift, way.samples, dilation, way.inputs[p], way.signs[p], 0, right.shape[2])
                add_product(end - begin, total[p, begin:end], tiles, 0, l.transpose(0, 2, 1), 0)


@compiled
def _padded(channels):
    """Up to whole tiles."""
    return -(-channels // TILE) * TILE


@compiled
def _even(channels):
    """Up to whole pairs."""
    return channels + channels % 2


def _shared(part: Callable[..., None], sources: int) -> Callable[..., None]:
    """The loops that share out a part's work, kept on disk. numba looks at this file and at what they close over, that
    is at the CRC, to see whether what it kept is still true."""

    def shared(workers, arguments):
        workers = workers if sources else 0
        for worker in prange(workers):
            part(worker, workers, *arguments)

    try:
        return njit(nogil=True, error_model="numpy", parallel=True, cache=True)(shared)
    except RuntimeError:  # there is no folder that they could be kept in
        return njit(nogil=True, error_model="numpy", parallel=True)(shared)


FILES = (Path(__file__), Path(functions.__file__), Path(products.__file__))
SOURCES = sum(zlib.crc32(file.read_bytes()) for file in FILES)
layer, convolve, gate_backward, correlate = (
    _shared(part, SOURCES) for part in (_layer, _convolve, _gate_backward, _correlate)
)
