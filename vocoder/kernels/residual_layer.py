"""The residual layer in training, forwards and backwards: loops over blocks of time that fit in a core's cache.

Operation. The layer of `vocoder.model.residual_layer`; the dilated convolution by a `WinogradPlan` (`dilated.py`), and
every product by `matmul.py`, with samples for lanes. The gate and other elementwise work is done block by block, while
the products' results are still in the cache.

Layout. Time before channels, as torch has them. bfloat16 is uint16 here; accumulators are float32. Samples and knots
(`vocoder.model.interpolation`): sample t of the layer is sample (first + t) % H of frame (first + t) // H; it lies
between knots left[s] and left[s] + 1 of its frame, with knot_weights[s].

Threads. A worker takes every `workers`-th block of time; of a weight gradient, which is a sum over time, every
`workers`-th block of channels. Each number is computed by one worker from its first term to its last, so that results
do not depend on the number of workers.

B batch, T samples, N samples for which skips are summed, F frames of H samples, J knots of a frame, R residual, S skip,
G gate channels, Z = G / 2, K taps, P products of the plan.
"""

import math

import numpy as np

from vocoder.kernels.bfloat16 import to_dtype_of, to_float32, unpaired
from vocoder.kernels.dilated import GRADIENT_BLOCK, dilated_conv, gather, group_count, group_start
from vocoder.kernels.jit import compiled, jitable
from vocoder.kernels.math import f32, gated, tanh_and_sigmoid
from vocoder.kernels.matmul import TILE, add_product, round_up
from vocoder.kernels.rows import axpy, copy, input_buffer, transform_tile, weighted_sum
from vocoder.kernels.winograd import unpack_plan

ROOT_HALF = f32(math.sqrt(0.5))
TIME_BLOCK = 96  # groups, or samples: their sums stay in the second-level cache, weights in the first


@jitable
def transform_weights(worker, workers, weights, transform, packed):
    """packed [P, tile, k, TILE] = transform [P, K] @ weights [K, k, rows]."""
    for part in range(worker, packed.shape[0] * packed.shape[1], workers):
        p, tile = part // packed.shape[1], part % packed.shape[1]
        transform_tile(packed[p, tile], weights[:, :, tile * TILE : (tile + 1) * TILE], transform[p])


# Forwards


@jitable
def layer_forward(
    worker, workers, h, conv_input, dilation, plan_ints, plan_floats, conv,
    knots, left, knot_weights, first, out, bias, z, next_h, skips,
):  # fmt: skip
    """next_h and skips += of a layer.

    Args:
        h: [B, history + T, R], and `conv_input`, the same after dropout.
        conv: weights of the dilated convolution, transformed and packed.
        knots: [B, F, J, G], projected conditioning.
        out: packed weights of the product after the gate, with `bias`: R rows, padded to whole tiles, then S rows.
        z: [B, T, G], written for the backward pass: the convolution's outputs, without conditioning; or [B, 0, G].
        next_h: [B, T, R], written.
        skips: [B, N, S], for the last N samples; added to.
    """
    plan, interpolation = unpack_plan(plan_ints, plan_floats), (left, knot_weights, first)
    samples, residual, skip_channels = next_h.shape[1], next_h.shape[2], skips.shape[2]
    history, skipless, first_skip = h.shape[1] - samples, samples - skips.shape[1], round_up(residual, TILE)
    combined, sums = input_buffer(conv, TIME_BLOCK), np.empty((2, TIME_BLOCK, conv.shape[1] * TILE), f32)
    y, outs = input_buffer(out, 2 * TIME_BLOCK), np.empty((2 * TIME_BLOCK, out.shape[1] * TILE), f32)
    times = np.empty(2 * TIME_BLOCK, np.int64)
    groups = group_count(samples, plan.group_size, dilation)
    blocks = -(-groups // TIME_BLOCK)
    for block in range(worker, len(h) * blocks, workers):
        b, q = block // blocks, block % blocks * TIME_BLOCK
        n, count = min(TIME_BLOCK, groups - q), 0
        dilated_conv(sums, combined, conv_input, b, q, n, 0, conv, dilation, plan)
        for i in range(n):
            for j in range(plan.group_size):
                t = group_start(q + i, plan.group_size, dilation) + j * dilation
                if t < samples:
                    if z.shape[1]:
                        copy(z[b, t], sums[j, i])
                    _gate(sums[j, i], knots, interpolation, b, t, unpaired(y[0])[count])
                    copy(outs[count], bias)
                    times[count] = t
                    count += 1
        add_product(count, outs, out, 0, y, 0)
        for i in range(count):
            t = times[i]
            weighted_sum(next_h[b, t], ROOT_HALF, h[b, history + t], f32(1), outs[i])
            if t >= skipless:
                axpy(f32(1), outs[i, first_skip : first_skip + skip_channels], skips[b, t - skipless])


@compiled
def _gate(z, knots, interpolation, b, t, y):
    """y = tanh(signal) sigmoid(gate), the halves of z plus the conditioning at sample t."""
    left, knot_weights, first = interpolation
    f, s, half = (first + t) // len(left), (first + t) % len(left), knots.shape[3] // 2
    p, r = knots[b, f, left[s]], knots[b, f, min(left[s] + 1, knots.shape[2] - 1)]
    v, w = knot_weights[s, 0], knot_weights[s, 1]
    z_gate, p_gate, r_gate = z[half:], p[half:], r[half:]  # slices, so that no index can be negative
    for j in range(half):
        signal = z[j] + v * p[j] + w * r[j]
        gate = z_gate[j] + v * p_gate[j] + w * r_gate[j]
        y[j] = to_dtype_of(y, gated(signal, gate))


# Backwards


@jitable
def convolve(worker, workers, x, shift, dilation, plan_ints, plan_floats, conv, result, added, factor):
    """result [B, T, rows] = the dilated convolution of x[b, shift ...] + factor * added.

    `added` has the last samples of the result, or none.
    """
    plan = unpack_plan(plan_ints, plan_floats)
    samples, lag = result.shape[1], result.shape[1] - added.shape[1]
    combined, sums = input_buffer(conv, TIME_BLOCK), np.empty((2, TIME_BLOCK, conv.shape[1] * TILE), f32)
    groups = group_count(samples, plan.group_size, dilation)
    blocks = -(-groups // TIME_BLOCK)
    for block in range(worker, len(x) * blocks, workers):
        b, q = block // blocks, block % blocks * TIME_BLOCK
        n = min(TIME_BLOCK, groups - q)
        dilated_conv(sums, combined, x, b, q, n, shift, conv, dilation, plan)
        for i in range(n):
            for j in range(plan.group_size):
                t = group_start(q + i, plan.group_size, dilation) + j * dilation
                if t < samples:
                    if t >= lag:
                        axpy(factor, added[b, t - lag], sums[j, i])
                    copy(result[b, t], sums[j, i])


@jitable
def gate_backward(worker, workers, dnext_h, dskips, out, z, knots, left, knot_weights, first, y, dz, dknots):
    """The gate's outputs y [B, T, Z], recomputed; gradients dz [B, T, G]; dknots [B, F, J, G] += theirs.

    `out` has the packed weights of the product after the gate, transposed: k is R, padded to whole pairs, then S.
    """
    samples, frames, hop = dnext_h.shape[1], knots.shape[1], len(left)
    skipless, first_skip = samples - dskips.shape[1], round_up(dnext_h.shape[2], 2)
    douts, dy = input_buffer(out, TIME_BLOCK), np.empty((TIME_BLOCK, out.shape[1] * TILE), f32)
    for frame in range(worker, len(z) * frames, workers):
        b, f = frame // frames, frame % frames
        end = min(samples, f * hop + hop - first)
        for begin in range(max(0, f * hop - first), end, TIME_BLOCK):
            n = min(TIME_BLOCK, end - begin)
            for i in range(n):
                t, dout = begin + i, unpaired(douts[0])[i]
                weighted_sum(dout, f32(1), dnext_h[b, t], f32(0), dnext_h[b, t])
                dskip = dskips[b, max(t - skipless, 0)]
                weighted_sum(dout[first_skip:], f32(t >= skipless), dskip, f32(0), dskip)
            dy[:n] = f32(0)
            add_product(n, dy, out, 0, douts, 0)
            for i in range(n):
                t, s = begin + i, first + begin + i - f * hop
                j, k = left[s], min(left[s] + 1, knots.shape[2] - 1)
                _gate_backward_row(
                    z[b, t], knots[b, f, j], knots[b, f, k], knot_weights[s], dy[i],
                    y[b, t], dz[b, t], dknots[b, f, j], dknots[b, f, k],
                )  # fmt: skip


@compiled
def _gate_backward_row(z, p, r, knot_weights, dy, y, dz, dp, dr):
    """`_gate` at one sample, and the gradients of z and of the knots p and r at either side."""
    half, v, w = len(z) // 2, knot_weights[0], knot_weights[1]
    z_gate, p_gate, r_gate, dz_gate, dp_gate, dr_gate = z[half:], p[half:], r[half:], dz[half:], dp[half:], dr[half:]
    for j in range(half):
        tanh, sigmoid = tanh_and_sigmoid(
            to_float32(z[j]) + v * p[j] + w * r[j], to_float32(z_gate[j]) + v * p_gate[j] + w * r_gate[j]
        )
        g = dy[j] * sigmoid
        dsignal = g * (f32(1) - tanh * tanh)
        dgate = g * tanh * (f32(1) - sigmoid)
        y[j] = to_dtype_of(y, tanh * sigmoid)
        dz[j] = to_dtype_of(dz, dsignal)
        dz_gate[j] = to_dtype_of(dz, dgate)
        dp[j] += v * dsignal
        dp_gate[j] += v * dgate
        if w != f32(0):
            dr[j] += w * dsignal
            dr_gate[j] += w * dgate


# Gradients of weights. `layout` is an array whose length and dtype set the block size and the precision of a sum over
# time: GRADIENT_BLOCK float32, or half as many uint32 for pairs of bfloat16.


@jitable
def conv_weight_gradient(worker, workers, dz, x, dilation, plan_ints, plan_floats, blocks, layout, total):
    """total [P, G, R in whole tiles] += the gradients of the transformed weights, from dz [B, T, G] and x."""
    plan, (products, gates, width) = unpack_plan(plan_ints, plan_floats), total.shape
    groups, both = group_count(dz.shape[1], plan.group_size, dilation), np.array([0, 1])
    left, right = _gradient_buffers(layout, -(-gates // blocks), width)
    for b in range(len(dz)):
        for q in range(0, groups, GRADIENT_BLOCK):
            for part in range(worker, products * blocks, workers):
                p = part // blocks
                begin, end, _ = _channel_block(gates, part % blocks, blocks)
                gather(left, dz, b, q, 0, plan.group_size, dilation, both, plan.outputs[p], begin, end)
                gather(right[0], x, b, q, 0, plan.group_size, dilation, plan.inputs[p], plan.signs[p], 0, x.shape[2])
                add_product(end - begin, total[p, begin:end], right, 0, left.transpose(0, 2, 1), 0)


@jitable
def out_weight_gradient(worker, workers, dnext_h, dskips, y, blocks, layout, dnext_h_total, dskips_total, dbias):
    """`..._total` += the gradients of the weights after the gate, and dbias [R + S] += those of the bias.

    dnext_h_total is [R, Z in whole tiles], dskips_total [S, Z in whole tiles].
    """
    residual = dnext_h.shape[2]
    for part in range(worker, 2 * blocks, workers):
        if part % 2:
            _accumulate_outer(dskips, y, part // 2, blocks, layout, dskips_total, dbias[residual:])
        else:
            _accumulate_outer(dnext_h, y, part // 2, blocks, layout, dnext_h_total, dbias[:residual])


@compiled
def _accumulate_outer(x, y, block, blocks, layout, total, sums):
    """total [channels of x, channels of y in whole tiles] += outer products of x and y, summed over time; sums += x.

    x has the last samples of y. One block of the channels of x is done.
    """
    shift, copied, nothing = y.shape[1] - x.shape[1], np.array([1, 0], f32), np.array([0, 0])
    begin, end, rows = _channel_block(x.shape[2], block, blocks)
    left, right = _gradient_buffers(layout, rows, total.shape[1])
    part = np.zeros(end - begin, f32)  # sums over a block first: one running sum over all samples would round more
    for b in range(len(x)):
        for t in range(0, x.shape[1], GRADIENT_BLOCK):
            part[:] = f32(0)
            for u in range(t, min(t + GRADIENT_BLOCK, x.shape[1])):
                axpy(f32(1), x[b, u, begin:end], part)
            axpy(f32(1), part, sums[begin:end])
            gather(left, x, b, t, 0, 1, 1, nothing, copied, begin, end)
            gather(right[0], y, b, t, shift, 1, 1, nothing, copied, 0, y.shape[2])
            add_product(end - begin, total[begin:end], right, 0, left.transpose(0, 2, 1), 0)


@compiled
def _channel_block(channels, block, blocks):
    """(begin, end, channels of a full block) of one of `blocks` blocks of channels."""
    rows = -(-channels // blocks)
    return min(block * rows, channels), min(block * rows + rows, channels), rows


@compiled
def _gradient_buffers(layout, lanes, width):
    """Zeros for `gather`: lanes [1, len(layout), lanes + 16] and rows [1, tiles, len(layout), TILE].

    The 16 more lanes keep one lane of many groups from sharing a set of the cache.
    """
    left = np.zeros((1, len(layout), lanes + 16), layout.dtype)
    return left, np.zeros((1, width // TILE, len(layout), TILE), layout.dtype)
