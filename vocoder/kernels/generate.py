"""One frame of generation for many lanes: the WaveNet's equations, sample by sample, as compiled loops.

A lane is one utterance in progress; all lanes of a call are at the same sample of their frames. The loops do not check
shapes, which are those of `arrays.py`, with J knots of a frame and U updates of the linear prediction.

    project    knots of conditioning [J, n, C] into every layer, V c + b
    inputs     of sample t: x[t - 1], and with linear prediction p[t] and e[t - 1]; or the class of x[t - 1], one-hot
    embed      the inputs of a step's first sample and of those before it -> h
    each layer z = W [h[t - history] | ... | h[t - d] | h[t]] + V c[t] + b,   history = (kernel_size - 1) d
               gated = tanh(z_signal) sigmoid(z_gate)
               h <- (h + W' gated) / sqrt 2,   skip <- skip + W'' gated
    head       of the skips, and of the newest inputs of a sample -> P parameters
    draw       a sample from them (`drawing.py`)

The layers run once for a step of one or several samples, and the head once for a sample.
In `layers`, times and positions count steps.

V c + b is computed once for each knot, and interpolated between two knots at each sample.

Few lanes leave little work for each weight that is read, and reading takes most of the time. But all taps except the
newest are known a dilation ahead. So with few lanes a layer computes them for a block of samples at once, up to its
dilation, from one reading of their weights (`state.blocks`). Each z is still the same sum, in the same order.
"""

from numba import types

from vocoder.kernels.bfloat16 import pack_bf16_pair
from vocoder.kernels.drawing import take_samples
from vocoder.kernels.jit import cached_jit, compiled, implements, inlined, jitable, use_whole_vectors
from vocoder.kernels.math import ROOT_HALF_F32, f32, fma, gated_activation, tanh
from vocoder.kernels.matmul import add_product
from vocoder.kernels.rows import copy, rectify, scaled_copy, weighted_sum


@jitable
def _generate_frame(network, state, frame_layout, sampler, time, knots, lpc, noise, forced, samples, recorded):
    """Generate the H samples of a frame in every lane.

    Args:
        network, state, frame_layout, sampler: see `arrays.py`.
        time: samples that these lanes generated before; it gives the position in the rings.
        knots: conditioning channels [J, n, C].
        lpc: [U, K + 1, n], coefficients of the linear prediction, oldest sample first, and the logarithm of the gain;
            [0, 1, n] without linear prediction.
        noise: [H, choices + 1, n], for each choice, and for the value.
        forced: [n], lanes whose samples are given, not drawn.
        samples: [H, n], read where forced, else written.
        recorded: [H, P, n] to record the parameters of every sample, or [0, P, n].
    """
    use_whole_vectors()
    frame, lanes = samples.shape
    order = state.past.shape[0] - frame
    steps = len(frame_layout.left)
    samples_per_step = frame // steps
    last_knot, longest_block = -1, state.blocks.max()
    for t in range(frame):
        update = t * frame_layout.updates // frame
        step, within = t // samples_per_step, t % samples_per_step
        _append_inputs(lanes, network, state, lpc, update, order, t)
        if within == 0:
            if step % longest_block == 0:
                last_step = min(step + longest_block, steps) - 1
                last_knot = _project_knots(lanes, network, state, frame_layout, knots, last_knot, step, last_step)
            _embed(lanes, network, state)
            _layers(lanes, network, state, frame_layout, time // samples_per_step + step, step)
            _rectify_skips(lanes, network, state)
        _head(lanes, network, state, within)
        take_samples(lanes, state, sampler, lpc, noise, forced, samples, recorded, update, order, t)
    for k in range(order):
        copy(state.past[k], state.past[frame + k])


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
def _append_inputs(lanes, network, state, lpc, update, order, t):
    """Append the network's inputs at sample t to the newest: scaled as in `network_inputs`, or a class, one-hot."""
    use_whole_vectors()
    inputs, prediction = state.inputs[0], state.prediction
    has_lpc = lpc.shape[0] > 0
    newest = len(inputs) - network.inputs_per_sample
    for k in range(newest):
        copy(inputs[k], inputs[k + network.inputs_per_sample])
    if len(network.class_boundaries):
        _write_one_hot(lanes, inputs, newest, network.class_boundaries, state.past[order + t - 1])
        return
    scaled_copy(inputs[newest, :lanes], f32(4), state.past[order + t - 1, :lanes])
    if has_lpc:
        _predict(lanes, prediction, state.past, lpc[update], order, t)
        scaled_copy(inputs[newest + 1, :lanes], f32(4), prediction[:lanes])
        _bound(inputs[newest + 2, :lanes], state.excitation)


@compiled
def _write_one_hot(lanes, inputs, first, boundaries, sample):
    """inputs[first + class, lane] = 1 for the class of the lane's sample, and 0 for the others."""
    for k in range(len(boundaries) + 1):
        for lane in range(lanes):
            inputs[first + k, lane] = f32(0)
    for lane in range(lanes):
        low, high = 0, len(boundaries)
        while low < high:
            middle = (low + high) // 2
            if boundaries[middle] < sample[lane]:
                low = middle + 1
            else:
                high = middle
        inputs[first + low, lane] = f32(1)


@compiled
def _predict(lanes, prediction, past, coefficients, order, t):
    """prediction = the weighted sum of the last `order` samples before t."""
    use_whole_vectors()
    for lane in range(lanes):
        prediction[lane] = f32(0)
    for k in range(order):
        coefficient, sample = coefficients[k], past[t + k]
        for lane in range(lanes):
            prediction[lane] = fma(coefficient[lane], sample[lane], prediction[lane])


@compiled
def _bound(bounded, excitation):
    """The excitation as the network hears it."""
    use_whole_vectors()
    for lane in range(len(bounded)):
        bounded[lane] = f32(2) * tanh(f32(0.25) * excitation[lane])


@compiled
def _embed(lanes, network, state):
    """The newest inputs into the residual stream; the skips start at their bias."""
    h = state.h_and_skips
    residual_channels = len(network.embed_bias)
    for lane in range(lanes):
        copy(h[lane], network.embed_bias)
        copy(h[lane, residual_channels:], network.skip_bias)
    _add_inputs(lanes, h, network.embed, state.inputs)


@compiled
def _add_inputs(lanes, sums, weights, inputs):
    """sums[lane] += the product of packed weights [1, tiles, k, TILE] with the newest k inputs of the lane."""
    first = inputs.shape[1] - weights.shape[2]
    add_product(lanes, sums, weights, 0, inputs[:, first:].transpose(0, 2, 1), 0)


@compiled
def _layers(lanes, network, state, frame_layout, time, t):
    """All residual layers at one sample: h and the skips are updated, h is appended to the rings."""
    use_whole_vectors()
    gated, h = state.gated, state.h_and_skips
    layers, residual_channels = network.dilations.shape[0], len(network.embed_bias)
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
def _rectify_skips(lanes, network, state):
    """s[0] = the rectified sum of a step's skips."""
    use_whole_vectors()
    for lane in range(lanes):
        rectify(state.s[0, lane], state.h_and_skips[lane, len(network.embed_bias) :])


@compiled
def _head(lanes, network, state, within):
    """A step's skips and the newest inputs -> parameters of sample `within` of the step."""
    use_whole_vectors()
    s, params = state.s, state.params
    for lane in range(lanes):
        copy(s[1, lane], network.hidden_bias[within])
    add_product(lanes, s[1], network.hidden, within, s, 0)
    if network.recent.shape[0]:
        _add_inputs(lanes, s[1], network.recent, state.inputs)
    for lane in range(lanes):
        rectify(s[1, lane], s[1, lane])
    if network.mix.shape[0]:
        for lane in range(lanes):
            weighted_sum(s[2, lane], f32(1), s[1, lane], f32(1), network.mix_bias)
        add_product(lanes, s[2], network.mix, 0, s, 1)
        for lane in range(lanes):
            rectify(s[1, lane], s[2, lane])
    for lane in range(lanes):
        copy(params[lane], network.output_bias)
    add_product(lanes, params, network.output, 0, s, 1)
