"""One frame of generation for many lanes: the WaveNet's equations, sample by sample, as compiled loops.

A lane is one utterance in progress; all lanes of a call are at the same sample of their frames. The loops do not check
shapes, which are those of `arrays.py`, with J knots of a frame and U updates of the linear prediction.

    project    knots of conditioning [J, n, C] into every layer, V c + b
    inputs     of sample t: x[t - 1], and with linear prediction p[t] and e[t - 1]
    embed      the inputs of a step's first sample and of those before it -> h
    each layer z = W [h[t - history] | ... | h[t - d] | h[t]] + V c[t] + b,   history = (kernel_size - 1) d
               gated = tanh(z_signal) sigmoid(z_gate)
               h <- (h + W' gated) / sqrt 2,   skip <- skip + W'' gated
    head       of the skips, and of the newest inputs of a sample -> P parameters
    draw       Gumbel-max, location and scale, the nearest level

The layers run once for a step of one or several samples (`embed` has a row for each), and the head once for a sample.
In `layers`, times and positions count steps.

V c + b is computed once for each knot, and interpolated between two knots at each sample.

Few lanes leave little work for each weight that is read, and reading takes most of the time. But all taps except the
newest are known a dilation ahead. So with few lanes a layer computes them for a block of samples at once, up to its
dilation, from one reading of their weights (`state.blocks`). Each z is still the same sum, in the same order.
"""

import numpy as np
from numba import types

from vocoder.kernels.bfloat16 import pack_bf16_pair
from vocoder.kernels.jit import cached_jit, compiled, implements, inlined, jitable, use_whole_vectors
from vocoder.kernels.math import ROOT_HALF_F32, exp, f32, fma, gated_activation, rint, tanh
from vocoder.kernels.matmul import add_product
from vocoder.kernels.rows import copy, scaled_copy, weighted_sum

LARGEST = f32(1e30)


@jitable
def _generate_frame(network, state, frame_layout, sampler, time, knots, lpc, noise, forced, samples, recorded):
    """Generate the H samples of a frame in every lane.

    Args:
        network, state, frame_layout, sampler: see `arrays.py`.
        time: samples that these lanes generated before; it gives the position in the rings.
        knots: conditioning channels [J, n, C].
        lpc: [U, n, K + 1], coefficients of the linear prediction, oldest sample first, and the logarithm of the gain;
            [0, n, 1] without linear prediction.
        noise: [H, n, choices + 1], for each choice, and for the value.
        forced: [n], lanes whose samples are given, not drawn.
        samples: [n, H], read where forced, else written.
        recorded: [H, n, P] to record the parameters of every sample, or [0, n, P].
    """
    use_whole_vectors()
    lanes, frame = samples.shape
    order = state.past.shape[1] - frame
    steps, samples_per_step = len(frame_layout.left), network.embed.shape[0]
    last_knot, longest_block = -1, state.blocks.max()
    for t in range(frame):
        update = t * frame_layout.updates // frame
        step, within = t // samples_per_step, t % samples_per_step
        _append_inputs(lanes, state, lpc, update, order, t)
        if within == 0:
            if step % longest_block == 0:
                last_step = min(step + longest_block, steps) - 1
                last_knot = _project_knots(lanes, network, state, frame_layout, knots, last_knot, step, last_step)
            _embed(lanes, network, state)
            _layers(lanes, network, state, frame_layout, time // samples_per_step + step, step)
            _head_step(lanes, network, state)
        _head(lanes, network, state)
        for lane in range(lanes):
            _take_sample(state, sampler, lpc, noise, forced, samples, recorded, lane, update, order, t)
    for lane in range(lanes):
        for k in range(order):
            state.past[lane, k] = state.past[lane, frame + k]


@compiled
def _take_sample(state, sampler, lpc, noise, forced, samples, recorded, lane, update, order, t):
    """Draw sample t of a lane from its parameters, unless it is forced, and remember it."""
    has_lpc = lpc.shape[0] > 0
    prediction, log_gain = f32(0), f32(0)
    if has_lpc:
        prediction = f32(0.25) * state.inputs[lane, state.inputs.shape[1] - 1, 1]  # an input is four times it
        log_gain = lpc[update, lane, order]
        _shift_and_scale(state.params, sampler, lane, prediction, log_gain)
    if recorded.shape[0]:
        for k in range(recorded.shape[2]):
            recorded[t, lane, k] = state.params[lane, k]
    if not forced[lane]:
        samples[lane, t] = _draw_sample(state.params, sampler, noise, t, lane)
    x = samples[lane, t]
    if has_lpc:
        # Where full scale clips the prediction, the unclipped prediction is remembered.
        x = prediction if x == min(max(prediction, f32(-1)), f32(1)) else x
        state.excitation[lane] = (x - prediction) * exp(-log_gain)
    state.past[lane, order + t] = x


generate_frame = cached_jit(_generate_frame)


# The inputs of products, in float32 or in pairs of bfloat16. With `count` pairs, pair j holds channels j and
# j + count, as in `pack_weights_bf16`, so that loops over j vectorise.


def write_channels(lanes, target, slot, source):
    """target[slot, lane] = the first channels of source[lane], in the precision of the target."""


def write_gated(lanes, target, z):
    """target[0, lane] = tanh(signal) sigmoid(gate) of the halves of z[lane], in the precision of the target."""


@implements(write_channels)
def _write_channels(lanes, target, slot, source):
    def float32(lanes, target, slot, source):
        use_whole_vectors()
        for lane in range(lanes):
            for j in range(target.shape[2]):
                target[slot, lane, j] = source[lane, j]

    def pairs(lanes, target, slot, source):
        use_whole_vectors()
        count = target.shape[2]
        for lane in range(lanes):
            for j in range(count):
                target[slot, lane, j] = pack_bf16_pair(source[lane, j], source[lane, count + j])

    return pairs if target.dtype == types.uint32 else float32


@implements(write_gated)
def _write_gated(lanes, target, z):
    def float32(lanes, target, z):
        use_whole_vectors()
        half = target.shape[2]
        for lane in range(lanes):
            for j in range(half):
                target[0, lane, j] = gated_activation(z[lane, j], z[lane, half + j])

    def pairs(lanes, target, z):
        use_whole_vectors()
        count = target.shape[2]
        for lane in range(lanes):
            for j in range(count):
                low = gated_activation(z[lane, j], z[lane, 2 * count + j])
                high = gated_activation(z[lane, count + j], z[lane, 3 * count + j])
                target[0, lane, j] = pack_bf16_pair(low, high)

    return pairs if target.dtype == types.uint32 else float32


@compiled
def _project_knots(lanes, network, state, frame_layout, knots, last_knot, first_step, last_step):
    """Project the knots around steps first_step ... last_step, those after `last_knot`; returns the last one."""
    needed = frame_layout.left[last_step] + (frame_layout.weights[last_step, 1] != 0)
    for knot in range(max(frame_layout.left[first_step], last_knot + 1), needed + 1):
        _project_knot(lanes, network, state, knots, knot)
    return max(last_knot, needed)


@compiled
def _project_knot(lanes, network, state, knots, knot):
    """projected[knot % slots] = V c + b of every layer."""
    sums = state.z[0]  # free here
    for layer in range(network.gate_bias.shape[0]):
        for lane in range(lanes):
            copy(sums[lane], network.gate_bias[layer])
        if knots.shape[2]:
            add_product(lanes, sums, network.conditioning, layer, knots, knot)
        projected = state.projected[knot % state.projected.shape[0], layer]
        for lane in range(lanes):
            copy(projected[lane], sums[lane])


@compiled
def _append_inputs(lanes, state, lpc, update, order, t):
    """Append the network's inputs at sample t to the newest ones, scaled as in `network_inputs`."""
    inputs = state.inputs
    newest = inputs.shape[1] - 1
    for lane in range(lanes):
        for i in range(newest):
            for k in range(inputs.shape[2]):
                inputs[lane, i, k] = inputs[lane, i + 1, k]
        inputs[lane, newest, 0] = f32(4) * state.past[lane, order + t - 1]
        if lpc.shape[0] > 0:
            inputs[lane, newest, 1] = f32(4) * _lpc_prediction(state.past, lpc, update, lane, order, t)
            inputs[lane, newest, 2] = f32(2) * tanh(f32(0.25) * state.excitation[lane])


@compiled
def _embed(lanes, network, state):
    """The newest inputs into the residual stream; the skips start at their bias."""
    h = state.h_and_skips
    residual_channels = network.embed.shape[2]
    for lane in range(lanes):
        for j in range(residual_channels):
            h[lane, j] = network.embed_bias[j]
        _add_inputs(h[lane], network.embed, state.inputs[lane])
        for j in range(residual_channels, h.shape[1]):
            h[lane, j] = network.skip_bias[j - residual_channels]


@compiled
def _add_inputs(sums, weights, inputs):
    """sums += the product of weights [n, I, rows] with the newest n of inputs [..., I]."""
    first = inputs.shape[0] - weights.shape[0]
    for i in range(weights.shape[0]):
        for k in range(weights.shape[1]):
            x = inputs[first + i, k]
            for j in range(weights.shape[2]):
                sums[j] = fma(weights[i, k, j], x, sums[j])


@compiled
def _lpc_prediction(past, lpc, update, lane, order, t):
    """The weighted sum of the last `order` samples before t."""
    prediction = f32(0)
    for k in range(order):
        prediction = fma(lpc[update, lane, k], past[lane, t + k], prediction)
    return prediction


@compiled
def _layers(lanes, network, state, frame_layout, time, t):
    """All residual layers at one sample: h and the skips are updated, h is appended to the rings."""
    use_whole_vectors()
    gated, h = state.gated, state.h_and_skips
    layers, residual_channels = network.dilations.shape[0], network.embed.shape[2]
    kernel_size = network.gate.shape[0] // layers
    for layer in range(layers):
        first, block = network.ring_starts[layer], state.blocks[layer]
        now = first + time % (network.ring_starts[layer + 1] - first)
        write_channels(lanes, state.ring, now, h)
        if t % block == 0:
            _begin_block(lanes, network, state, frame_layout, layer, min(block, len(frame_layout.left) - t), time, t)
        z = state.z[state.z_starts[layer] + t % block]
        add_product(lanes, z, network.gate, layer * kernel_size + kernel_size - 1, state.ring, now)
        write_gated(lanes, gated, z)
        for lane in range(lanes):
            for j in range(residual_channels):
                h[lane, j] = fma(h[lane, j], ROOT_HALF_F32, network.out_bias[layer, j])
        add_product(lanes, h, network.out, layer, gated, 0)


@compiled
def _begin_block(lanes, network, state, frame_layout, layer, samples, time, t):
    """z = V c + b, and all taps but the newest, for so many samples from t on."""
    first, first_z = network.ring_starts[layer], state.z_starts[layer]
    slots = network.ring_starts[layer + 1] - first
    kernel_size = network.gate.shape[0] // network.dilations.shape[0]
    for i in range(samples):
        _interpolate_conditioning(lanes, state.z[first_z + i], state.projected, layer, frame_layout, t + i)
    for tap in range(kernel_size - 1):
        weights, i = layer * kernel_size + tap, 0
        slot = (time + slots - (kernel_size - 1 - tap) * network.dilations[layer]) % slots
        while i < samples:
            # Neighbouring samples are one product where all lanes are in use, since their lanes follow each other.
            together = min(samples - i, slots - slot) if lanes == state.ring.shape[1] else 1
            inputs, sums = _rows_from(state.ring, first + slot), _rows_from(state.z, first_z + i)
            add_product(together * lanes, sums[0], network.gate, weights, inputs, 0)
            i, slot = i + together, (slot + together) % slots


@inlined
def _rows_from(array, slot):
    """The lanes of an array [slots, lanes, channels] from a slot on, as [1, remaining lanes, channels]."""
    remaining = (array.shape[0] - slot) * array.shape[1]
    return array[slot:].reshape((1, remaining, array.shape[2]))


@compiled
def _interpolate_conditioning(lanes, z, projected, layer, frame_layout, t):
    """z = V c + b at sample t, between the knots on either side."""
    knot, slots = frame_layout.left[t], projected.shape[0]
    left_weight, right_weight = frame_layout.weights[t, 0], frame_layout.weights[t, 1]
    at_left, at_right = projected[knot % slots, layer], projected[(knot + 1) % slots, layer]
    for lane in range(lanes):
        if right_weight == 0:
            scaled_copy(z[lane], left_weight, at_left[lane])
        else:
            weighted_sum(z[lane], left_weight, at_left[lane], right_weight, at_right[lane])


@compiled
def _head_step(lanes, network, state):
    """The head's part that the samples of a step share: skips -> s[0]."""
    h_and_skips, s = state.h_and_skips, state.s
    residual_channels = network.embed.shape[2]
    for lane in range(lanes):
        for j in range(s.shape[2]):
            s[1, lane, j] = max(h_and_skips[lane, residual_channels + j], f32(0))
            s[0, lane, j] = network.hidden_bias[j]
    add_product(lanes, s[0], network.hidden, 0, s, 1)


@compiled
def _head(lanes, network, state):
    """What the samples of a step share, and the newest inputs -> parameters."""
    s, params = state.s, state.params
    for lane in range(lanes):
        for j in range(s.shape[2]):
            s[1, lane, j] = s[0, lane, j]
        _add_inputs(s[1, lane], network.recent, state.inputs[lane])
        for j in range(s.shape[2]):
            s[1, lane, j] = max(s[1, lane, j], f32(0))
    if network.mix.shape[0]:
        for lane in range(lanes):
            for j in range(s.shape[2]):
                s[2, lane, j] = s[1, lane, j] + network.mix_bias[j]
        add_product(lanes, s[2], network.mix, 0, s, 1)
        for lane in range(lanes):
            for j in range(s.shape[2]):
                s[1, lane, j] = max(s[2, lane, j], f32(0))
    for lane in range(lanes):
        for j in range(params.shape[1]):
            params[lane, j] = network.output_bias[j]
    add_product(lanes, params, network.output, 0, s, 1)


@compiled
def _shift_and_scale(params, sampler, lane, prediction, log_gain):
    """Parameters of the sample from those of the excitation: x = p + g e."""
    gain = exp(log_gain)
    for k in range(sampler.choices):
        params[lane, sampler.first_location + k] = fma(gain, params[lane, sampler.first_location + k], prediction)
        params[lane, sampler.first_log_scale + k] += log_gain


@compiled
def _draw_sample(params, sampler, noise, t, lane):
    """A choice by the Gumbel-max trick, then its value, or location + scale * noise, at the nearest level."""
    best = 0
    if sampler.choices > 1:
        highest = f32(-np.inf)
        for k in range(sampler.choices):
            score = params[lane, k] / sampler.temperature + noise[t, lane, k]
            if score > highest:
                highest, best = score, k
    if sampler.first_location < 0:
        return sampler.values[best]
    scale = sampler.temperature * exp(max(params[lane, sampler.first_log_scale + best], sampler.log_scale_min))
    return _nearest_level(
        params[lane, sampler.first_location + best], scale * noise[t, lane, sampler.choices], sampler.levels
    )


@compiled
def _nearest_level(location, offset, levels):
    """The level nearest to location + offset, as `Grid.round`.

    The distance from the level next to the location is rounded, not the sum: from 0.5 on float32 has too few values for
    the sum in 16 bits.
    """
    highest = f32(levels - 1) * f32(0.5)
    between = f32(0) if levels % 2 else f32(0.5)
    y = min(max(location * highest, -LARGEST), LARGEST)
    level = rint(y - between) + between
    level += rint(fma(offset, highest, y - level))
    return min(max(level, -highest), highest) / highest
