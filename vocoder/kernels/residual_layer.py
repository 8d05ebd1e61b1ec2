"""A residual layer in training, forwards and backwards, as compiled loops over stretches of time that fit in a cache.

Products are those of `matmul.py`, with samples for lanes; the dilated filter takes as few as there can be
(`dilated.py`). What lies between them, above all the gate, finds its numbers where the products left them. Arrays are
as they lie, time before channels; bfloat16 comes as uint16, and sums are float32 always.

Every worker takes its share of the stretches, or of the weights where gradients of weights are sums over time, and each
number is computed by one of them from its first term to its last: results do not depend on how many there are.

B batch, T samples, N of them for which skips are summed, F frames, J knots of a frame, R residual, S skip channels,
G gate channels, Z = G / 2, P products of the filter.
"""

import math

import numpy as np

from vocoder.kernels.dilated import DEPTH, beginning, filtered, gather, groups_of, way_of
from vocoder.kernels.math import LOG2_E, compiled, exp2, gated
from vocoder.kernels.matmul import TILE, add_product
from vocoder.kernels.rows import F, add_times, combine, halves, inlined, keep, narrow, pack_tile, scratch, wide

ROOT_HALF = F(math.sqrt(0.5))
STRETCH = 96  # groups, or samples, that are done at once: their sums stay in the second cache, weights in the first


# Weights as the products read them


@inlined
def pack(worker, workers, weights, taps, packed):
    """packed [P, tile, k, rows of the tile] = taps [P, K] @ weights [K, k, rows]."""
    for part in range(worker, packed.shape[0] * packed.shape[1], workers):
        p, tile = part // packed.shape[1], part % packed.shape[1]
        pack_tile(packed[p, tile], weights[:, :, tile * TILE : (tile + 1) * TILE], taps[p])


# A layer, forwards


@inlined
def layer(
    worker, workers, h, heard, dilation, whole, factors, filter,
    knots, left, spread, first, out, bias, z, following, skips,
):  # fmt: skip
    """`following` [B, T, R] of h [B, history + T, R] and of the same after dropout, `heard`; skips [B, N, S] += theirs.

    Kept for the backward pass is z [B, T, G] before the conditioning joins, if there is room for it.
    """
    way, motion = way_of(whole, factors), (left, spread, first)
    samples, residual, skip_channels = following.shape[1], following.shape[2], skips.shape[2]
    history, before, first_skip = h.shape[1] - samples, samples - skips.shape[1], _padded(residual)
    combined, sums = scratch(filter, STRETCH), np.empty((2, STRETCH, filter.shape[1] * TILE), F)
    y, outs = scratch(out, 2 * STRETCH), np.empty((2 * STRETCH, out.shape[1] * TILE), F)
    times = np.empty(2 * STRETCH, np.int64)
    groups = groups_of(samples, way.samples, dilation)
    stretches = -(-groups // STRETCH)
    for stretch in range(worker, len(h) * stretches, workers):
        b, q = stretch // stretches, stretch % stretches * STRETCH
        n, found = min(STRETCH, groups - q), 0
        filtered(sums, combined, heard, b, q, n, 0, filter, dilation, way)
        for i in range(n):
            for j in range(way.samples):
                t = beginning(q + i, way.samples, dilation) + j * dilation
                if t < samples:
                    if z.shape[1]:  # there is room for it
                        keep(z[b, t], sums[j, i])
                    _gate(sums[j, i], knots, motion, b, t, halves(y[0])[found])
                    keep(outs[found], bias)
                    times[found] = t
                    found += 1
        add_product(found, outs, out, 0, y, 0)
        for i in range(found):
            t = times[i]
            combine(following[b, t], h[b, history + t], ROOT_HALF, outs[i], F(1))
            if t >= before:
                add_times(skips[b, t - before], outs[i, first_skip : first_skip + skip_channels], F(1))


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
def convolve(worker, workers, x, shift, dilation, whole, factors, filter, result, added, factor):
    """result [B, T, rows] = the filter over x[b, shift ...] + factor added, which ends where the result does."""
    way = way_of(whole, factors)
    samples, lag = result.shape[1], result.shape[1] - added.shape[1]
    combined, sums = scratch(filter, STRETCH), np.empty((2, STRETCH, filter.shape[1] * TILE), F)
    groups = groups_of(samples, way.samples, dilation)
    stretches = -(-groups // STRETCH)
    for stretch in range(worker, len(x) * stretches, workers):
        b, q = stretch // stretches, stretch % stretches * STRETCH
        n = min(STRETCH, groups - q)
        filtered(sums, combined, x, b, q, n, shift, filter, dilation, way)
        for i in range(n):
            for j in range(way.samples):
                t = beginning(q + i, way.samples, dilation) + j * dilation
                if t < samples:
                    if t >= lag:
                        add_times(sums[j, i], added[b, t - lag], factor)
                    keep(result[b, t], sums[j, i])


@inlined
def gate_backward(worker, workers, dfollowing, dsums, out, z, knots, left, spread, first, y, dz, dknots):
    """The gate's outputs y [B, T, Z], and gradients dz [B, T, G] and dknots [B, F, J, G], which is added to."""
    samples, frames, hop = dfollowing.shape[1], knots.shape[1], len(left)
    before, first_skip = samples - dsums.shape[1], _even(dfollowing.shape[2])
    douts, dy = scratch(out, STRETCH), np.empty((STRETCH, out.shape[1] * TILE), F)
    for frame in range(worker, len(z) * frames, workers):
        b, f = frame // frames, frame % frames
        end = min(samples, f * hop + hop - first)
        for begin in range(max(0, f * hop - first), end, STRETCH):
            n = min(STRETCH, end - begin)
            for i in range(n):
                t, dout = begin + i, halves(douts[0])[i]
                combine(dout, dfollowing[b, t], F(1), dfollowing[b, t], F(0))
                skipped = dsums[b, max(t - before, 0)]
                combine(dout[first_skip:], skipped, F(t >= before), skipped, F(0))
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


# Gradients of weights


@inlined
def filter_gradient(worker, workers, dz, x, dilation, whole, factors, blocks, like, total):
    """total [P, G, tiles of R] += the sum over time of dz and x, for each of the filter's products."""
    way, (products, gates, width) = way_of(whole, factors), total.shape
    groups, both = groups_of(dz.shape[1], way.samples, dilation), np.array([0, 1])
    left, right = _sides(like, -(-gates // blocks), width)
    for b in range(len(dz)):
        for q in range(0, groups, DEPTH):
            for part in range(worker, products * blocks, workers):
                p = part // blocks
                begin, end, _ = _block(gates, part % blocks, blocks)
                gather(left, dz, b, q, 0, way.samples, dilation, both, way.outputs[p], begin, end)
                gather(right[0], x, b, q, 0, way.samples, dilation, way.inputs[p], way.signs[p], 0, x.shape[2])
                add_product(end - begin, total[p, begin:end], right, 0, left.transpose(0, 2, 1), 0)


@inlined
def out_gradient(worker, workers, dfollowing, dsums, y, blocks, like, dfollowing_total, dsums_total, dbias):
    """Of the products after the gate, and sums of the gradients alone, dbias [R + S]."""
    residual = dfollowing.shape[2]
    for part in range(worker, 2 * blocks, workers):
        if part % 2:
            _outer(dsums, y, part // 2, blocks, like, dsums_total, dbias[residual:])
        else:
            _outer(dfollowing, y, part // 2, blocks, like, dfollowing_total, dbias[:residual])


@compiled
def _outer(x, y, block, blocks, like, total, sums):
    """total [channels of x, tiles of those of y] += the sum over time of their products; x ends where y does."""
    shift, alone, nothing = y.shape[1] - x.shape[1], np.array([1, 0], F), np.array([0, 0])
    begin, end, rows = _block(x.shape[2], block, blocks)
    left, right = _sides(like, rows, total.shape[1])
    part = np.zeros(end - begin, F)  # sums over DEPTH samples: adding all of them up one by one would round more
    for b in range(len(x)):
        for t in range(0, x.shape[1], DEPTH):
            part[:] = F(0)
            for u in range(t, min(t + DEPTH, x.shape[1])):
                add_times(part, x[b, u, begin:end], F(1))
            add_times(sums[begin:end], part, F(1))
            gather(left, x, b, t, 0, 1, 1, nothing, alone, begin, end)
            gather(right[0], y, b, t, shift, 1, 1, nothing, alone, 0, y.shape[2])
            add_product(end - begin, total[begin:end], right, 0, left.transpose(0, 2, 1), 0)


@compiled
def _block(channels, block, blocks):
    """Where one of so many blocks of channels begins and ends, and how many are in most of them."""
    rows = -(-channels // blocks)
    return min(block * rows, channels), min(block * rows + rows, channels), rows


@compiled
def _sides(like, lanes, width):
    """Room for DEPTH groups of lanes and of rows, as `like` says they come; 16 lanes more keep the same lane of many
    groups from sharing a set of the cache."""
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
