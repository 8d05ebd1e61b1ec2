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
from vocoder.functions import LOG2_E, compiled, exp2, fma, gated, half_bits, of_bits, paired, rounded_up, upper_halves
from vocoder.products import TILE, add_product

F = np.float32
ROOT_HALF = F(math.sqrt(0.5))
ONLY_PRANGE = dict.fromkeys(("comprehension", "reduction", "inplace_binop", "setitem", "numpy", "stencil", "fusion"), False) | {"prange": True}
inlined = njit(nogil=True, error_model="numpy", inline="always")  # what is done for single rows
STRETCH = 96  # groups, or samples, that are done at once: their sums lie in the second cache, and a product's in the first
DEPTH = 128  # groups that a gradient of weights is summed over at once; even


def wide(x):
    """The float32 of a float32, or of the uint16 that a bfloat16 is."""


def narrow(x, like):
    """The other way round, for an array of such."""


def half(x):
    """The bits of a bfloat16, or of the nearest one to a float32."""


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
        return lambda x, like: half_bits(x)
    return lambda x, like: x


@overload(half, inline="always")
def _half(x):
    if x == types.uint16:
        return lambda x: x
    return lambda x: half_bits(x)


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
    shared: int
    target: np.ndarray


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
    samples = x.shape[1]
    for i in range(n):
        t = _beginning(q + i, count, dilation) + shift
        one, a = _placed(t + inputs[0] * dilation, samples, signs[0])
        two, c = _placed(t + inputs[1] * dilation, samples, signs[1])
        _add(target[i], x[b, one], a, x[b, two], c)


@inlined
def _add(target, one, a, two, c):
    for j in range(len(one)):
        target[j] = narrow(fma(c, wide(two[j]), a * wide(one[j])), target)


@inlined
def _filter(sums, combined, x, b, q, n, shift, weights, dilation, way):
    """sums [P, n, rows]: the products of n groups from q on."""
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


@inlined
def _add_times(row, other, factor):
    for k in range(len(other)):
        row[k] += factor * wide(other[k])


# Weights as the products read them


@inlined
def _pack(worker, workers, weights, taps, packed):
    """packed [P, tile, k, rows of the tile] = taps [P, K] @ weights [K, k, rows], in float32 or in pairs of bfloat16."""
    for part in range(worker, packed.shape[0] * packed.shape[1], workers):
        p, tile = part // packed.shape[1], part % packed.shape[1]
        pack_tile(packed[p, tile], weights[:, :, tile * TILE : (tile + 1) * TILE], taps[p])


def pack_tile(target, weights, taps):
    pass


@overload(pack_tile, jit_options={"nogil": True, "error_model": "numpy"})
def _pack_tile(target, weights, taps):
    def as_they_are(target, weights, taps):
        for k in range(weights.shape[1]):
            target[k] = F(0)
            for c in range(len(taps)):
                _add_times(target[k], weights[c, k], taps[c])

    def in_pairs(target, weights, taps):
        pair = np.zeros((2, TILE), F)
        for k in range(0, weights.shape[1], 2):
            pair[:] = F(0)
            for c in range(len(taps)):
                for i in range(min(2, weights.shape[1] - k)):
                    _add_times(pair[i], weights[c, k + i], taps[c])
            _add_pairs(target[k // 2], pair[0], F(1), pair[0], F(0), pair[1], F(1), pair[1], F(0))

    return in_pairs if target.dtype == types.uint32 else as_they_are


# A layer, forwards


@inlined
def _layer(
    worker, workers, h, heard, dilation, count, inputs, signs, outputs, shared, target, filter,
    knots, left, spread, first, out, bias, z, following, skips,
):  # fmt: skip
    way, motion = Way(count, inputs, signs, outputs, shared, target), (left, spread, first)
    samples, residual, skip_channels = following.shape[1], following.shape[2], skips.shape[2]
    history, before, first_skip = h.shape[1] - samples, samples - skips.shape[1], _padded(residual)
    combined, sums = scratch(filter, STRETCH), np.empty((2, STRETCH, filter.shape[1] * TILE), F)
    y, outs = scratch(out, 2 * STRETCH), np.empty((2 * STRETCH, out.shape[1] * TILE), F)
    times = np.empty(2 * STRETCH, np.int64)
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
                    if z.shape[1]:  # there is room for it
                        _keep(z[b, t], sums[j, i])
                    _gate(sums[j, i], knots, motion, b, t, halves(y[0])[found])
                    _keep(outs[found], bias)
                    times[found] = t
                    found += 1
        add_product(found, outs, out, 0, y, 0)
        for i in range(found):
            t = times[i]
            _add(following[b, t], h[b, history + t], ROOT_HALF, outs[i], F(1))
            if t >= before:
                _add_times(skips[b, t - before], outs[i, first_skip : first_skip + skip_channels], F(1))


@inlined
def _keep(target, row):
    for j in range(len(target)):
        target[j] = narrow(row[j], target)


@compiled
def _gate(z, knots, motion, b, t, y):
    """y = tanh(a) sigmoid(o), where a and o are the halves of z and the conditioning at sample t."""
    left, spread, first = motion
    f, s, half = (first + t) // len(left), (first + t) % len(left), knots.shape[3] // 2
    p, r = knots[b, f, left[s]], knots[b, f, min(left[s] + 1, knots.shape[2] - 1)]
    v, w = spread[s, 0], spread[s, 1]
    z_open, p_open, r_open = z[half:], p[half:], r[half:]  # slices, so that no index can be negative
    for j in range(half):
        a = z[j] + v * p[j] + w * r[j]
        o = z_open[j] + v * p_open[j] + w * r_open[j]
        y[j] = narrow(gated(a, o), y)


# Backwards


@inlined
def _convolve(worker, workers, x, shift, dilation, count, inputs, signs, outputs, shared, target, filter, result, added, factor):
    way = Way(count, inputs, signs, outputs, shared, target)
    samples, width, lag = result.shape[1], result.shape[2], result.shape[1] - added.shape[1]
    combined, sums = scratch(filter, STRETCH), np.empty((2, STRETCH, filter.shape[1] * TILE), F)
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
                    if t >= lag:
                        _add_times(sums[j, i], added[b, t - lag], factor)
                    _keep(result[b, t], sums[j, i])


@inlined
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
                _add(dout, dfollowing[b, t], F(1), dfollowing[b, t], F(0))
                skipped = dsums[b, max(t - before, 0)]
                _add(dout[first_skip:], skipped, F(t >= before), skipped, F(0))
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
    z_open, p_open, r_open, dz_open, dp_open, dr_open = z[half:], p[half:], r[half:], dz[half:], dp[half:], dr[half:]
    for j in range(half):
        a = wide(z[j]) + v * p[j] + w * r[j]
        o = wide(z_open[j]) + v * p_open[j] + w * r_open[j]
        ea = exp2(min(max(a * (F(-2) * LOG2_E), F(-60)), F(60)))
        eo = exp2(min(max(o * -LOG2_E, F(-60)), F(60)))
        quotient = F(1) / ((F(1) + ea) * (F(1) + eo))
        tanh, sigmoid = (F(1) - ea) * (F(1) + eo) * quotient, (F(1) + ea) * quotient
        g = dy[j] * sigmoid
        da = g * (F(1) - tanh * tanh)
        do = g * tanh * (F(1) - sigmoid)
        y[j] = narrow(tanh * sigmoid, y)
        dz[j] = narrow(da, dz)
        dz_open[j] = narrow(do, dz)
        dp[j] += v * da
        dp_open[j] += v * do
        if w != F(0):
            dr[j] += w * da
            dr_open[j] += w * do


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
            for tile in range(len(target)):
                start = begin + tile * target.shape[2]
                stop = min(start + target.shape[2], end)
                _add(target[tile, i], x[b, one, start:stop], a, x[b, two, start:stop], c)

    def in_pairs(target, x, b, q, shift, count, dilation, inputs, signs, begin, end):
        samples = x.shape[1]
        for i in range(DEPTH // 2):
            t = _beginning(q + 2 * i, count, dilation) + shift
            u = _beginning(q + 2 * i + 1, count, dilation) + shift
            one, a = _placed(t + inputs[0] * dilation, samples, signs[0])
            two, c = _placed(t + inputs[1] * dilation, samples, signs[1])
            three, d = _placed(u + inputs[0] * dilation, samples, signs[0])
            four, e = _placed(u + inputs[1] * dilation, samples, signs[1])
            for tile in range(len(target)):
                start = begin + tile * target.shape[2]
                stop = min(start + target.shape[2], end)
                first, second = x[b, one, start:stop], x[b, two, start:stop]
                _add_pairs(target[tile, i], first, a, second, c, x[b, three, start:stop], d, x[b, four, start:stop], e)

    return in_pairs if target.dtype == types.uint32 else as_they_are


@inlined
def _add_pairs(target, one, a, two, c, three, d, four, e):
    if a == F(1) and d == F(1) and c == F(0) and e == F(0):
        for j in range(len(one)):
            target[j] = paired(half(one[j]), half(three[j]))
    else:
        for j in range(len(one)):
            low, high = fma(c, wide(two[j]), a * wide(one[j])), fma(e, wide(four[j]), d * wide(three[j]))
            target[j] = upper_halves(rounded_up(low), rounded_up(high))


@inlined
def _filter_gradient(
    worker, workers, dz, x, dilation, count, inputs, signs, outputs, shared, target, blocks, like, total
):  # fmt: skip
    products, gates = total.shape[:2]
    rows, groups, ends = -(-gates // blocks), _groups(dz.shape[1], count, dilation), np.array([0, 1])
    left, right = _sides(like, rows, total.shape[2])
    for b in range(len(dz)):
        for q in range(0, groups, DEPTH):
            for part in range(worker, products * blocks, workers):
                p, begin = part // blocks, part % blocks * rows
                end = min(gates, begin + rows)
                gather(left, dz, b, q, 0, count, dilation, ends, outputs[p], begin, end)
                gather(right[0], x, b, q, 0, count, dilation, inputs[p], signs[p], 0, x.shape[2])
                add_product(end - begin, total[p, begin:end], right, 0, left.transpose(0, 2, 1), 0)


@inlined
def _out_gradient(worker, workers, dfollowing, dsums, y, blocks, like, dfollowing_total, dsums_total, dbias):
    for part in range(worker, 2 * blocks, workers):
        if part % 2:
            _outer(dsums, y, y.shape[1] - dsums.shape[1], part // 2, blocks, like, dsums_total, dbias[dfollowing.shape[2] :])
        else:
            _outer(dfollowing, y, 0, part // 2, blocks, like, dfollowing_total, dbias[: dfollowing.shape[2]])


@compiled
def _outer(x, y, shift, block, blocks, like, total, sums):
    rows, ends, alone = -(-x.shape[2] // blocks), np.array([0, 0]), np.array([1, 0], F)
    begin = block * rows
    end = min(x.shape[2], begin + rows)
    left, right = _sides(like, rows, total.shape[1])
    part = np.zeros(end - begin, F)  # sums over DEPTH samples: adding all of them up one by one would round more
    for b in range(len(x)):
        for t in range(0, x.shape[1], DEPTH):
            part[:] = F(0)
            for u in range(t, min(t + DEPTH, x.shape[1])):
                _add_times(part, x[b, u, begin:end], F(1))
            _add_times(sums[begin:end], part, F(1))
            gather(left, x, b, t, 0, 1, 1, ends, alone, begin, end)
            gather(right[0], y, b, t, shift, 1, 1, ends, alone, 0, y.shape[2])
            add_product(end - begin, total[begin:end], right, 0, left.transpose(0, 2, 1), 0)


@compiled
def _sides(like, lanes, width):
    """Room for DEPTH groups of lanes and of rows; lanes of different groups are kept from sharing a set of the cache."""
    left = np.zeros((1, len(like), lanes + 16), like.dtype)
    return left, np.zeros((1, width // TILE, len(like), TILE), like.dtype)


@compiled
def _padded(channels):
    """Up to whole tiles."""
    return -(-channels // TILE) * TILE


@compiled
def _even(channels):
    """Up to whole pairs."""
    return channels + channels % 2


def _kept(sources: int) -> tuple[Callable[..., None], ...]:
    """The loops that share out the work, kept on disk. numba looks at this file and at what they close over, that is at
    the CRC, to see whether what it kept is still true."""

    def loop(function):
        try:
            return njit(nogil=True, error_model="numpy", parallel=True, cache=True)(function)
        except RuntimeError:  # there is no folder that they could be kept in
            return njit(nogil=True, error_model="numpy", parallel=True)(function)

    @loop
    def pack(workers, weights, taps, packed):
        some = workers if sources else 0
        for worker in prange(some):
            _pack(worker, workers, weights, taps, packed)

    @loop
    def layer(workers, h, heard, dilation, count, inputs, signs, outputs, shared, target, filter, knots, left, spread, first, out, bias, z, following, skips):
        some = workers if sources else 0
        for worker in prange(some):
            _layer(worker, workers, h, heard, dilation, count, inputs, signs, outputs, shared, target, filter, knots, left, spread, first, out, bias, z, following, skips)

    @loop
    def convolve(workers, x, shift, dilation, count, inputs, signs, outputs, shared, target, filter, result, added, factor):
        some = workers if sources else 0
        for worker in prange(some):
            _convolve(worker, workers, x, shift, dilation, count, inputs, signs, outputs, shared, target, filter, result, added, factor)

    @loop
    def gate_backward(workers, dfollowing, dsums, out, z, knots, left, spread, first, y, dz, dknots):
        some = workers if sources else 0
        for worker in prange(some):
            _gate_backward(worker, workers, dfollowing, dsums, out, z, knots, left, spread, first, y, dz, dknots)

    @loop
    def filter_gradient(workers, dz, x, dilation, count, inputs, signs, outputs, shared, target, blocks, like, total):
        some = workers if sources else 0
        for worker in prange(some):
            _filter_gradient(worker, workers, dz, x, dilation, count, inputs, signs, outputs, shared, target, blocks, like, total)

    @loop
    def out_gradient(workers, dfollowing, dsums, y, blocks, like, dfollowing_total, dsums_total, dbias):
        some = workers if sources else 0
        for worker in prange(some):
            _out_gradient(worker, workers, dfollowing, dsums, y, blocks, like, dfollowing_total, dsums_total, dbias)

    return pack, layer, convolve, gate_backward, filter_gradient, out_gradient


FILES = (Path(__file__), Path(functions.__file__), Path(products.__file__))
pack, layer, convolve, gate_backward, filter_gradient, out_gradient = _kept(
    sum(zlib.crc32(file.read_bytes()) for file in FILES)
)
