"""The residual layer in training, forwards and backwards: loops over blocks of time that fit in a core's cache.

Operation. The layer of `vocoder.model.residual_layer`; the dilated convolution by a `WinogradPlan` (`dilated.py`), and
every product by `matmul.py`, whose lanes are samples here. The gate and other elementwise work is done block by block,
while the products' results are still in the cache.

Layout. Arrays are [B, T, C], channels last. bfloat16 is uint16 here; accumulators are float32.

Knots (`vocoder.model.interpolation`). Sample t of the layer is sample s = (first_sample + t) % H of frame
(first_sample + t) // H. It lies between knots left[s] and left[s] + 1 of that frame, whose weights are knot_weights[s].

Threads. A worker takes every `workers`-th block of time; of a weight gradient, which is a sum over time, every
`workers`-th block of channels. Each number is computed by one worker from its first term to its last, so that results
do not depend on the number of workers.

B batch, T samples, N samples for which skips are summed, F frames of H samples, J knots of a frame, R residual, S skip,
G gate channels, Z = G / 2 (`half`), K taps, P products of the plan.
"""

import numpy as np

from vocoder.kernels.bfloat16 import to_dtype_of, to_float32, unpaired
from vocoder.kernels.dilated import (
    dilated_conv,
    group_count,
    group_start,
    transform_for_gradient,
    transform_tile,
)
from vocoder.kernels.jit import borrowed, compiled, jitable, use_whole_vectors
from vocoder.kernels.math import ROOT_HALF_F32, f32, gated_activation, tanh_and_sigmoid
from vocoder.kernels.matmul import TILE, add_product, input_buffer, round_up, swap_axes
from vocoder.kernels.rows import axpy, copy, scaled_copy, set_to_zero, weighted_sum
from vocoder.kernels.winograd import unpack_plan

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
    worker, workers, h, conv_input, dilation, plan_ints, plan_floats, conv_weights,
    knots, left, knot_weights, first_sample, out_weights, out_bias, conv_out, next_h, skips,
):  # fmt: skip
    """Write next_h; add the layer's skip output to skips.

    Args:
        h: [B, history + T, R], and `conv_input`, the same after dropout.
        conv_weights: weights of the dilated convolution, transformed and packed.
        knots: [B, F, J, G], projected conditioning.
        out_weights: packed weights of the product after the gate: R rows, padded to whole tiles, then S rows.
        out_bias: the bias of these rows.
        conv_out: [B, T, G], written for the backward pass: the convolution's outputs, without conditioning; or
            [B, 0, G].
        next_h: [B, T, R], written.
        skips: [B, N, S], for the last N samples; added to.
    """
    buffers = (
        input_buffer(conv_weights, TIME_BLOCK),
        np.empty((2, TIME_BLOCK, conv_weights.shape[1] * TILE), f32),
        input_buffer(out_weights, 2 * TIME_BLOCK),
        np.empty((2 * TIME_BLOCK, out_weights.shape[1] * TILE), f32),
        np.empty(2 * TIME_BLOCK, np.int64),
    )
    plan, knot_position = unpack_plan(plan_ints, plan_floats), (left, knot_weights, first_sample)
    conv, out = (plan, dilation, conv_weights), (out_weights, out_bias)
    _layer_forward(worker, workers, h, conv_input, conv, knots, knot_position, out, conv_out, next_h, skips, buffers)


@compiled
def _layer_forward(
    worker, workers, h, conv_input, conv, knots, knot_position, out, conv_out, next_h, skips, owned_buffers
):  # fmt: skip
    """`layer_forward` with its buffers."""
    use_whole_vectors()
    combined, sums, gated, out_rows, times = borrowed(owned_buffers)
    plan, dilation, conv_weights = conv
    out_weights, out_bias = out
    samples, residual, skip_channels = next_h.shape[1], next_h.shape[2], skips.shape[2]
    history, first_skip_sample, skip_row = h.shape[1] - samples, samples - skips.shape[1], round_up(residual, TILE)
    groups = group_count(samples, plan.group_size, dilation)
    blocks = -(-groups // TIME_BLOCK)
    for block in range(worker, len(h) * blocks, workers):
        b, q = block // blocks, block % blocks * TIME_BLOCK
        n, count = min(TIME_BLOCK, groups - q), 0
        dilated_conv(sums, combined, conv_input, b, q, n, 0, conv_weights, dilation, plan)
        for i in range(n):
            for j in range(plan.group_size):
                t = group_start(q + i, plan.group_size, dilation) + j * dilation
                if t < samples:
                    if conv_out.shape[1]:
                        copy(conv_out[b, t], sums[j, i])
                    _gate(sums[j, i], knots, knot_position, b, t, unpaired(gated[0])[count])
                    copy(out_rows[count], out_bias)
                    times[count] = t
                    count += 1
        add_product(count, out_rows, out_weights, 0, gated, 0)
        for i in range(count):
            t = times[i]
            weighted_sum(next_h[b, t], ROOT_HALF_F32, h[b, history + t], f32(1), out_rows[i])
            if t >= first_skip_sample:
                skip = out_rows[i, skip_row : skip_row + skip_channels]
                axpy(f32(1), skip, skips[b, t - first_skip_sample])


@compiled
def _gate(conv_out, knots, knot_position, b, t, gated):
    """gated = tanh(signal) sigmoid(gate), the halves of conv_out plus the conditioning at sample t."""
    use_whole_vectors()
    left, knot_weights, first_sample = knot_position
    f, s, half = (first_sample + t) // len(left), (first_sample + t) % len(left), knots.shape[3] // 2
    left_knot, right_knot = knots[b, f, left[s]], knots[b, f, min(left[s] + 1, knots.shape[2] - 1)]
    left_weight, right_weight = knot_weights[s, 0], knot_weights[s, 1]
    # slices, so that no index can be negative
    conv_gate, left_gate, right_gate = conv_out[half:], left_knot[half:], right_knot[half:]
    for j in range(half):
        signal = conv_out[j] + left_weight * left_knot[j] + right_weight * right_knot[j]
        gate = conv_gate[j] + left_weight * left_gate[j] + right_weight * right_gate[j]
        gated[j] = to_dtype_of(gated, gated_activation(signal, gate))


# Backwards


@jitable
def convolve(worker, workers, x, shift, dilation, plan_ints, plan_floats, conv_weights, result, added, factor):
    """result [B, T, rows] = the dilated convolution of x[b, shift ...] + factor * added.

    `added` has the last samples of the result, or none.
    """
    use_whole_vectors()
    plan = unpack_plan(plan_ints, plan_floats)
    samples, first_added = result.shape[1], result.shape[1] - added.shape[1]
    combined = input_buffer(conv_weights, TIME_BLOCK)
    sums = np.empty((2, TIME_BLOCK, conv_weights.shape[1] * TILE), f32)
    groups = group_count(samples, plan.group_size, dilation)
    blocks = -(-groups // TIME_BLOCK)
    for block in range(worker, len(x) * blocks, workers):
        b, q = block // blocks, block % blocks * TIME_BLOCK
        n = min(TIME_BLOCK, groups - q)
        dilated_conv(sums, combined, x, b, q, n, shift, conv_weights, dilation, plan)
        for i in range(n):
            for j in range(plan.group_size):
                t = group_start(q + i, plan.group_size, dilation) + j * dilation
                if t < samples:
                    if t >= first_added:
                        axpy(factor, added[b, t - first_added], sums[j, i])
                    copy(result[b, t], sums[j, i])


@jitable
def gate_backward(
    worker, workers, dnext_h, dskips, out_weights, conv_out, knots, left, knot_weights, first_sample,
    gated, dconv_out, dknots,
):  # fmt: skip
    """Write the gate's outputs and the gradient of conv_out; add the gradient of the knots to dknots.

    Args:
        dnext_h: [B, T, R].
        dskips: [B, N, S].
        out_weights: packed weights of the product after the gate, transposed: k is R, padded to whole pairs, then S.
        conv_out: [B, T, G], the convolution's outputs, without conditioning.
        knots: [B, F, J, G], projected conditioning.
        gated: [B, T, Z], written: the gate's outputs, recomputed.
        dconv_out: [B, T, G], written.
        dknots: [B, F, J, G], added to.
    """
    buffers = input_buffer(out_weights, TIME_BLOCK), np.empty((TIME_BLOCK, out_weights.shape[1] * TILE), f32)
    _gate_backward(
        worker, workers, dnext_h, dskips, out_weights, conv_out, knots, left, knot_weights, first_sample,
        gated, dconv_out, dknots, buffers,
    )  # fmt: skip


@compiled
def _gate_backward(
    worker, workers, dnext_h, dskips, out_weights, conv_out, knots, left, knot_weights, first_sample,
    gated, dconv_out, dknots, owned_buffers,
):  # fmt: skip
    """`gate_backward` with its buffers."""
    use_whole_vectors()
    dout_rows, dgated = borrowed(owned_buffers)
    samples, frames, hop = dnext_h.shape[1], knots.shape[1], len(left)
    first_skip_sample, skip_row = samples - dskips.shape[1], round_up(dnext_h.shape[2], 2)
    for frame in range(worker, len(conv_out) * frames, workers):
        b, f = frame // frames, frame % frames
        end = min(samples, f * hop + hop - first_sample)
        for begin in range(max(0, f * hop - first_sample), end, TIME_BLOCK):
            n = min(TIME_BLOCK, end - begin)
            for i in range(n):
                t, dout_row = begin + i, unpaired(dout_rows[0])[i]
                scaled_copy(dout_row, f32(1), dnext_h[b, t])
                # Samples without skips get zeros: some row of dskips, times 0.
                has_skip, dskip = f32(t >= first_skip_sample), dskips[b, max(t - first_skip_sample, 0)]
                scaled_copy(dout_row[skip_row:], has_skip, dskip)
                set_to_zero(dgated[i])
            add_product(n, dgated, out_weights, 0, dout_rows, 0)
            for i in range(n):
                t, s = begin + i, first_sample + begin + i - f * hop
                j, k = left[s], min(left[s] + 1, knots.shape[2] - 1)
                _gate_backward_row(
                    conv_out[b, t], knots[b, f, j], knots[b, f, k], knot_weights[s], dgated[i],
                    gated[b, t], dconv_out[b, t], dknots[b, f, j], dknots[b, f, k],
                )  # fmt: skip


@compiled
def _gate_backward_row(
    conv_out, left_knot, right_knot, knot_weights, dgated, gated, dconv_out, dleft_knot, dright_knot
):  # fmt: skip
    """`_gate` at one sample, and the gradients of conv_out and of the knots on either side."""
    use_whole_vectors()
    half, left_weight, right_weight = len(conv_out) // 2, knot_weights[0], knot_weights[1]
    conv_gate, left_gate, right_gate = conv_out[half:], left_knot[half:], right_knot[half:]
    dconv_gate, dleft_gate, dright_gate = dconv_out[half:], dleft_knot[half:], dright_knot[half:]
    for j in range(half):
        tanh, sigmoid = tanh_and_sigmoid(
            to_float32(conv_out[j]) + left_weight * left_knot[j] + right_weight * right_knot[j],
            to_float32(conv_gate[j]) + left_weight * left_gate[j] + right_weight * right_gate[j],
        )
        dtanh = dgated[j] * sigmoid
        dsignal = dtanh * (f32(1) - tanh * tanh)
        dgate = dtanh * tanh * (f32(1) - sigmoid)
        gated[j] = to_dtype_of(gated, tanh * sigmoid)
        dconv_out[j] = to_dtype_of(dconv_out, dsignal)
        dconv_gate[j] = to_dtype_of(dconv_out, dgate)
        dleft_knot[j] += left_weight * dsignal
        dleft_gate[j] += left_weight * dgate
        if right_weight != f32(0):
            dright_knot[j] += right_weight * dsignal
            dright_gate[j] += right_weight * dgate


# Gradients of weights, sums over time. `block_like` is a dummy array whose length and dtype set the block size and the
# precision of such a sum: so many float32, or uint32 for pairs of bfloat16.


@jitable
def conv_weight_gradient(worker, workers, dconv_out, x, dilation, plan_ints, plan_floats, blocks, block_like, total):
    """total [P, G, R in whole tiles] += the gradients of the transformed weights, from dconv_out [B, T, G] and x."""
    use_whole_vectors()
    plan, (products, gates, columns) = unpack_plan(plan_ints, plan_floats), total.shape
    group_size, both_outputs = plan.group_size, np.array([0, 1])
    groups, block_length = group_count(dconv_out.shape[1], group_size, dilation), len(unpaired(block_like))
    douts, by_channel, inputs = _gradient_buffers(block_like, -(-gates // blocks), columns)
    lanes = swap_axes(douts, by_channel)  # zeros; numba wants the variable before the loop
    for b in range(len(dconv_out)):
        for q in range(0, groups, block_length):
            transformed = -1
            for part in range(worker, products * blocks, workers):
                p, block = part // blocks, part % blocks
                begin, end, _ = _channel_block(gates, block, blocks)
                if group_size > 1 or block != transformed:  # without groups, all products have the same outputs
                    transform_for_gradient(
                        douts, dconv_out, b, q, 0, group_size, dilation, both_outputs, plan.outputs[p], begin, end
                    )
                    lanes, transformed = swap_axes(douts, by_channel), block
                transform_for_gradient(
                    inputs[0], x, b, q, 0, group_size, dilation, plan.inputs[p], plan.signs[p], 0, x.shape[2]
                )
                add_product(end - begin, total[p, begin:end], inputs, 0, lanes, 0)


@jitable
def out_weight_gradient(
    worker, workers, dnext_h, dskips, gated, blocks, block_like, dnext_h_total, dskips_total, dbias
):
    """`..._total` += the gradients of the weights after the gate, and dbias [R + S] += those of the bias.

    dnext_h_total is [R, Z in whole tiles], dskips_total [S, Z in whole tiles].
    """
    residual = dnext_h.shape[2]
    for part in range(worker, 2 * blocks, workers):
        if part % 2:
            accumulate_outer(dskips, gated, part // 2, blocks, block_like, dskips_total, dbias[residual:])
        else:
            accumulate_outer(dnext_h, gated, part // 2, blocks, block_like, dnext_h_total, dbias[:residual])


@compiled
def accumulate_outer(x, y, block, blocks, block_like, total, sums):
    """total [channels of x, channels of y in whole tiles] += outer products of x and y, summed over time; sums += x.

    x has the last samples of y. Only one block of the channels of x is computed.
    """
    use_whole_vectors()
    shift, no_offset, first_only = y.shape[1] - x.shape[1], np.array([0, 0]), np.array([1, 0], f32)
    begin, end, channels = _channel_block(x.shape[2], block, blocks)
    x_block, by_channel, y_block = _gradient_buffers(block_like, channels, total.shape[1])
    block_length = len(unpaired(block_like))
    part = np.zeros(end - begin, f32)  # sums over a block first: one running sum over all samples would round more
    for b in range(len(x)):
        for t in range(0, x.shape[1], block_length):
            set_to_zero(part)
            for u in range(t, min(t + block_length, x.shape[1])):
                axpy(f32(1), x[b, u, begin:end], part)
            axpy(f32(1), part, sums[begin:end])
            transform_for_gradient(x_block, x, b, t, 0, 1, 1, no_offset, first_only, begin, end)
            transform_for_gradient(y_block[0], y, b, t, shift, 1, 1, no_offset, first_only, 0, y.shape[2])
            add_product(end - begin, total[begin:end], y_block, 0, swap_axes(x_block, by_channel), 0)


@compiled
def _channel_block(channels, block, blocks):
    """(begin, end, channels of a full block) of one of `blocks` blocks of channels."""
    size = -(-channels // blocks)
    return min(block * size, channels), min(block * size + size, channels), size


@compiled
def _gradient_buffers(block_like, lanes, rows):
    """Zeros for `transform_for_gradient` and `swap_axes`: the product's inputs twice, and its weights.

    These are [1, len(block_like), lanes + 16], [1, lanes + 16, len(block_like)] and [1, rows / TILE, len(block_like),
    TILE]. Without the 16 extra lanes the values of one lane would all fall into few sets of the cache, and blocks of 16
    lanes would not be whole.
    """
    depth, dtype = len(block_like), block_like.dtype
    inputs, by_channel = np.zeros((1, depth, lanes + 16), dtype), np.zeros((1, lanes + 16, depth), dtype)
    return inputs, by_channel, np.zeros((1, rows // TILE, depth, TILE), dtype)
