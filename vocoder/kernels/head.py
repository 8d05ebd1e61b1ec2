"""The head of a network with several samples per step, in training: forwards and backwards over blocks of time.

The equations of `vocoder.model.head`. A block of samples goes through all products while it is in the cache; nothing
but inputs is kept for the backward pass, which computes the block again.

B batch, T samples, S skip channels, W numbers that a sample's head hears, P parameters.
"""

import numpy as np

from vocoder.kernels.bfloat16 import unpaired
from vocoder.kernels.jit import borrowed, compiled, jitable, use_whole_vectors
from vocoder.kernels.math import f32
from vocoder.kernels.matmul import add_product, input_buffer
from vocoder.kernels.residual_layer import accumulate_outer
from vocoder.kernels.rows import axpy, copy, rectify, set_to_zero

TIME_BLOCK = 96  # samples: their rows stay in the second-level cache


@jitable
def head_forward(
    worker, workers, hidden, recent, recent_weights, recent_bias, mix_weights, mix_bias, output_weights, output_bias,
    params,
):  # fmt: skip
    """Write params.

    Args:
        hidden: [B, T, S], of the skips.
        recent: [B, T, W], the newest inputs of each sample.
        recent_weights, mix_weights, output_weights: packed weights, the first and last in float32.
        recent_bias, mix_bias, output_bias: padded to whole tiles.
        params: [B, T, P], written.
    """
    buffers = (
        np.empty((2, TIME_BLOCK, len(mix_bias)), f32),
        input_buffer(mix_weights, TIME_BLOCK),
        np.empty((TIME_BLOCK, len(output_bias)), f32),
    )
    first, mix = (recent_weights, recent_bias), (mix_weights, mix_bias)
    _head_forward(worker, workers, hidden, recent, first, mix, (output_weights, output_bias), params, buffers)


@compiled
def _head_forward(worker, workers, hidden, recent, first, mix, output, params, owned_buffers):
    """`head_forward` with its buffers."""
    use_whole_vectors()
    rows, mix_inputs, out_rows = borrowed(owned_buffers)
    output_weights, output_bias = output
    samples, channels = recent.shape[1], output_weights.shape[2]
    blocks = -(-samples // TIME_BLOCK)
    for block in range(worker, len(recent) * blocks, workers):
        b, t = block // blocks, block % blocks * TIME_BLOCK
        n = min(TIME_BLOCK, samples - t)
        _mixed(n, hidden, recent, b, t, first, mix, rows, mix_inputs)
        for i in range(n):
            rectify(rows[1, i], rows[1, i])
            copy(out_rows[i], output_bias)
        add_product(n, out_rows, output_weights, 0, rows[1:, :, :channels], 0)
        for i in range(n):
            copy(params[b, t + i], out_rows[i])


@compiled
def _mixed(n, hidden, recent, b, t, first, mix, rows, mix_inputs):
    """For n samples from t on, rows[0] = sums of the first layer, and rows[1] = those of the second."""
    use_whole_vectors()
    (recent_weights, recent_bias), (mix_weights, mix_bias) = first, mix
    channels = hidden.shape[2]
    for i in range(n):
        copy(rows[0, i], recent_bias)
        axpy(f32(1), hidden[b, t + i], rows[0, i])
    add_product(n, rows[0], recent_weights, 0, recent[b : b + 1, t:], 0)
    for i in range(n):
        row, mixed, mix_input = rows[0, i], rows[1, i], unpaired(mix_inputs[0])[i]
        copy(mixed, mix_bias)
        for j in range(channels):
            mixed[j] += max(row[j], f32(0))
        rectify(mix_input, row[:channels])
    add_product(n, rows[1], mix_weights, 0, mix_inputs, 0)


@jitable
def head_backward(
    worker, workers, hidden, recent, recent_weights, recent_bias, mix_weights, mix_bias, transposed_mix_weights,
    transposed_output_weights, dparams, mix_input, output_input, dsum, dmixed,
):  # fmt: skip
    """Write what the products had as inputs, and the gradients of what they gave.

    Args:
        hidden, recent, recent_weights, recent_bias, mix_weights, mix_bias: as in `head_forward`.
        transposed_mix_weights, transposed_output_weights: packed.
        dparams: [B, T, P].
        mix_input, output_input: [B, T, S], written: the inputs of the second layer and of the last.
        dsum, dmixed: [B, T, S], written: gradients of the sums of the first layer and of the second.
    """
    buffers = (
        np.empty((4, TIME_BLOCK, len(mix_bias)), f32),
        input_buffer(mix_weights, TIME_BLOCK),
        input_buffer(transposed_mix_weights, TIME_BLOCK),
    )
    first, mix = (recent_weights, recent_bias), (mix_weights, mix_bias)
    transposed, inputs, gradients = (
        (transposed_mix_weights, transposed_output_weights),
        (mix_input, output_input),
        (dsum, dmixed),
    )
    _head_backward(worker, workers, hidden, recent, first, mix, transposed, dparams, inputs, gradients, buffers)


@compiled
def _head_backward(worker, workers, hidden, recent, first, mix, transposed, dparams, inputs, gradients, owned_buffers):
    """`head_backward` with its buffers."""
    use_whole_vectors()
    rows, mix_inputs, dmix_inputs = borrowed(owned_buffers)
    transposed_mix_weights, transposed_output_weights = transposed
    mix_input, output_input = inputs
    dsum, dmixed = gradients
    samples, channels = recent.shape[1], hidden.shape[2]
    blocks = -(-samples // TIME_BLOCK)
    for block in range(worker, len(recent) * blocks, workers):
        b, t = block // blocks, block % blocks * TIME_BLOCK
        n = min(TIME_BLOCK, samples - t)
        _mixed(n, hidden, recent, b, t, first, mix, rows, mix_inputs)
        for i in range(n):
            set_to_zero(rows[2, i])
        add_product(n, rows[2], transposed_output_weights, 0, dparams[b : b + 1, t:], 0)
        for i in range(n):
            mixed, dmixed_row = rows[1, i, :channels], rows[2, i, :channels]
            _zero_where_negative(mixed, dmixed_row)
            copy(rows[3, i], rows[2, i])
            rectify(output_input[b, t + i], mixed)
            copy(dmixed[b, t + i], dmixed_row)
            copy(unpaired(dmix_inputs[0])[i], dmixed_row)
        add_product(n, rows[3], transposed_mix_weights, 0, dmix_inputs, 0)
        for i in range(n):
            row, drow = rows[0, i, :channels], rows[3, i, :channels]
            _zero_where_negative(row, drow)
            rectify(mix_input[b, t + i], row)
            copy(dsum[b, t + i], drow)


@compiled
def _zero_where_negative(x, dx):
    """dx = 0 where x <= 0: the gradient before a rectifier."""
    use_whole_vectors()
    for j in range(len(x)):
        dx[j] = dx[j] if x[j] > f32(0) else f32(0)


@jitable
def head_weight_gradient(
    worker, workers, dsum, recent, dmixed, mix_input, dparams, output_input, blocks, float32_like, block_like,
    recent_total, mix_total, output_total, drecent_bias, dmix_bias, doutput_bias,
):  # fmt: skip
    """`..._total` [out, in, in whole tiles] += the gradients of the three layers' weights, and `d..._bias` theirs.

    The second is in the precision of `block_like`; see `accumulate_outer`.
    """
    for part in range(worker, 3 * blocks, workers):
        if part % 3 == 0:
            accumulate_outer(dsum, recent, part // 3, blocks, float32_like, recent_total, drecent_bias)
        elif part % 3 == 1:
            accumulate_outer(dmixed, mix_input, part // 3, blocks, block_like, mix_total, dmix_bias)
        else:
            accumulate_outer(dparams, output_input, part // 3, blocks, float32_like, output_total, doutput_bias)
