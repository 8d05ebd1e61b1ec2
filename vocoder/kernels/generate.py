"""One frame of generation for many lanes: the WaveNet's equations, sample after sample, as compiled loops.

A lane is one utterance in progress; all lanes of a call are at the same sample of their frames. Arrays only; whoever
calls has seen to their shapes. n lanes, H samples a frame, R residual and S skip channels, 2 Z gate channels, C
conditioning channels, P parameters, K order of the linear prediction, all channels padded to whole tiles of rows.

    known      the frame's knots of conditioning [J, n, C], the filters and gains of its predictors [U, n, K + 1]
    inputs     x[t - 1], p[t] and e[t - 1]            -> h
    each layer z = W [h[t - 2 d] | h[t - d] | h[t]] + V c[t],   g = tanh(z_filter) sigmoid(z_gate)
               h <- (h + W' g) / sqrt 2,   skip <- skip + W'' g
    head       two products of the skips             -> P parameters
    draw       Gumbel-max, location and scale, the nearest level

V c is computed once for each knot and interpolated between two of them.
"""

from pathlib import Path

import numpy as np
from numba import types
from numba.extending import overload

from vocoder.kernels.jit import checksum, kept_on_disk
from vocoder.kernels.math import F, compiled, exp, fma, gated, nearest, rounded_up, tanh, upper_halves
from vocoder.kernels.matmul import add_product

SQRT_HALF, FAR = F(np.sqrt(0.5)), F(1e30)


@compiled
def _generate_frame(network, state, timing, draw, time, knots, filters, noise, forced, samples, recorded):
    """Draw the H samples of a frame in every lane.

    Args:
        time: samples generated before by these lanes, which says where in the rings they are.
        knots: conditioning channels [J, n, C].
        filters: [U, n, K + 1], weights of the past and logarithm of the gain; [0, n, 1] without linear prediction.
        noise: [H, n, choices + 1], of each choice, and of the value.
        forced: [n], lanes whose samples are forced, and not drawn.
        samples: [n, H], forced and drawn.
        recorded: [H, n, P] for the parameters of every sample, or [0, n, P].
    """
    lanes, frame = samples.shape
    order = state.past.shape[1] - frame
    known = -1
    for t in range(frame):
        known = _know(lanes, network, state, timing, knots, known, t)
        predicted = filters.shape[0] > 0
        update = t * timing.updates // frame
        _embed(lanes, network, state, filters, update, predicted, order, t)
        _layers(lanes, network, state, timing, time + t, t)
        _head(lanes, network, state)
        for lane in range(lanes):
            prediction, log_gain = F(0), F(0)
            if predicted:
                prediction = _predict(state.past, filters, update, lane, order, t)
                log_gain = filters[update, lane, order]
                _relative(state.params, draw, lane, prediction, log_gain)
            if recorded.shape[0]:
                recorded[t, lane, :] = state.params[lane, : recorded.shape[2]]
            if not forced[lane]:
                samples[lane, t] = _drawn(state.params, draw, noise, t, lane)
            x = samples[lane, t]
            if predicted:
                # Beyond full scale the prediction is remembered, and not what full scale left of it.
                x = prediction if x == min(max(prediction, F(-1)), F(1)) else x
                state.residual[lane] = (x - prediction) * exp(-log_gain)
            state.past[lane, order + t] = x
    for lane in range(lanes):
        for k in range(order):
            state.past[lane, k] = state.past[lane, frame + k]


def store(lanes, target, slot, source):
    """target[slot, lane] = the first channels of source[lane], in the precision of the target."""


def store_gated(lanes, target, z):
    """target[0, lane] = the first half of z[lane], let through by the second, in the precision of the target."""


@overload(store, jit_options={"nogil": True, "error_model": "numpy"})
def _store(lanes, target, slot, source):
    def as_they_are(lanes, target, slot, source):
        for lane in range(lanes):
            for j in range(target.shape[2]):
                target[slot, lane, j] = source[lane, j]

    def in_pairs(lanes, target, slot, source):
        half = target.shape[2]
        for lane in range(lanes):
            for j in range(half):
                target[slot, lane, j] = _pair(source[lane, j], source[lane, half + j])

    return in_pairs if target.dtype == types.uint32 else as_they_are


@overload(store_gated, jit_options={"nogil": True, "error_model": "numpy"})
def _store_gated(lanes, target, z):
    def as_they_are(lanes, target, z):
        gates = target.shape[2]
        for lane in range(lanes):
            for j in range(gates):
                target[0, lane, j] = gated(z[lane, j], z[lane, gates + j])

    def in_pairs(lanes, target, z):
        half = target.shape[2]
        for lane in range(lanes):
            for j in range(half):
                low, high = gated(z[lane, j], z[lane, 2 * half + j]), gated(z[lane, half + j], z[lane, 3 * half + j])
                target[0, lane, j] = _pair(low, high)

    return in_pairs if target.dtype == types.uint32 else as_they_are


@compiled
def _pair(low, high):
    """Two channels in bfloat16, half of all channels apart, as `packed_pairs` has them."""
    return upper_halves(rounded_up(low), rounded_up(high))


@compiled
def _know(lanes, network, state, timing, knots, known, t):
    """Project the knots around t into every layer, where they are not yet; returns the last that is known."""
    left = timing.left[t]
    for knot in range(max(left, known + 1), left + 1 + (timing.weights[t, 1] != 0)):
        _project(lanes, network, state, knots, knot)
        known = knot
    return known


@compiled
def _project(lanes, network, state, knots, knot):
    for layer in range(network.gate_bias.shape[0]):
        known = state.known[knot % 2, layer]
        for lane in range(lanes):
            for j in range(known.shape[1]):
                known[lane, j] = network.gate_bias[layer, j]
        if knots.shape[2]:
            add_product(lanes, known, network.conditioning, layer, knots, knot)


@compiled
def _embed(lanes, network, state, filters, update, predicted, order, t):
    h = state.h
    residual_channels = network.embed.shape[1]
    for lane in range(lanes):
        x = F(4) * state.past[lane, order + t - 1]
        for j in range(residual_channels):
            h[lane, j] = fma(network.embed[0, j], x, network.embed_bias[j])
        if predicted:
            p = F(4) * _predict(state.past, filters, update, lane, order, t)
            e = F(2) * tanh(F(0.25) * state.residual[lane])
            for j in range(residual_channels):
                h[lane, j] = fma(network.embed[2, j], e, fma(network.embed[1, j], p, h[lane, j]))
        for j in range(residual_channels, h.shape[1]):
            h[lane, j] = network.skip_bias[j - residual_channels]


@compiled
def _predict(past, filters, update, lane, order, t):
    prediction = F(0)
    for k in range(order):
        prediction = fma(filters[update, lane, k], past[lane, t + k], prediction)
    return prediction


@compiled
def _layers(lanes, network, state, timing, time, t):
    z, g, h = state.z, state.g, state.h
    layers, residual_channels = network.dilations.shape[0], network.embed.shape[1]
    knot = timing.left[t]
    taps = network.gate.shape[0] // layers
    before, after = timing.weights[t, 0], timing.weights[t, 1]
    for layer in range(layers):
        dilation, first = network.dilations[layer], network.rings[layer]
        slots = network.rings[layer + 1] - first
        now = first + time % slots
        store(lanes, state.ring, now, h)
        known, coming = state.known[knot % 2, layer], state.known[(knot + 1) % 2, layer]
        for lane in range(lanes):
            if after == 0:
                for j in range(z.shape[1]):
                    z[lane, j] = before * known[lane, j]
            else:
                for j in range(z.shape[1]):
                    z[lane, j] = fma(after, coming[lane, j], before * known[lane, j])
        for tap in range(taps):
            slot = first + (time + slots - (taps - 1 - tap) * dilation) % slots
            add_product(lanes, z, network.gate, layer * taps + tap, state.ring, slot)
        store_gated(lanes, g, z)
        for lane in range(lanes):
            for j in range(residual_channels):
                h[lane, j] = fma(h[lane, j], SQRT_HALF, network.out_bias[layer, j])
        add_product(lanes, h, network.out, layer, g, 0)


@compiled
def _head(lanes, network, state):
    skips, s, params = state.h, state.s, state.params
    residual_channels = network.embed.shape[1]
    for lane in range(lanes):
        for j in range(s.shape[2]):
            s[0, lane, j] = max(skips[lane, residual_channels + j], F(0))
            s[1, lane, j] = network.hidden_bias[j]
        for j in range(params.shape[1]):
            params[lane, j] = network.output_bias[j]
    add_product(lanes, s[1], network.hidden, 0, s, 0)
    for lane in range(lanes):
        for j in range(s.shape[2]):
            s[1, lane, j] = max(s[1, lane, j], F(0))
    add_product(lanes, params, network.output, 0, s, 1)


@compiled
def _relative(params, draw, lane, prediction, log_gain):
    """Of a residual's parameters make the sample's: x = p + g e."""
    gain = exp(log_gain)
    for k in range(draw.choices):
        params[lane, draw.location + k] = fma(gain, params[lane, draw.location + k], prediction)
        params[lane, draw.scale + k] += log_gain


@compiled
def _drawn(params, draw, noise, t, lane):
    best = 0
    if draw.choices > 1:
        highest = F(-np.inf)
        for k in range(draw.choices):
            score = params[lane, k] / draw.temperature + noise[t, lane, k]
            if score > highest:
                highest, best = score, k
    if draw.location < 0:
        return draw.values[best]
    scale = draw.temperature * exp(max(params[lane, draw.scale + best], draw.scale_min))
    return _level(params[lane, draw.location + best], scale * noise[t, lane, draw.choices], draw.levels)


@compiled
def _level(location, offset, levels):
    """As `Grid.round`: the level nearest to the sum, of which only what lies beyond a level is rounded."""
    half = F(levels - 1) * F(0.5)
    between = F(0) if levels % 2 else F(0.5)
    y = min(max(location * half, -FAR), FAR)
    level = nearest(y - between) + between
    level += nearest(fma(offset, half, y - level))
    return min(max(level, -half), half) / half


def _kept(sources):
    def generate_frame(network, state, timing, draw, time, knots, filters, noise, forced, samples, recorded):
        if sources is not None:
            _generate_frame(network, state, timing, draw, time, knots, filters, noise, forced, samples, recorded)

    return kept_on_disk(generate_frame)


generate_frame = _kept(checksum(Path(__file__).parent.glob("*.py")))
