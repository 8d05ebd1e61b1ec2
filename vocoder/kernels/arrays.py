"""The arguments of the generation loops, as named tuples of arrays and numbers.

n lanes, H samples a frame, N steps a frame, M samples a step, A samples that the head hears, L layers, I inputs of a
sample, R residual, S skip, C conditioning channels, G gate channels, Z = G / 2 (`half` in the loops), P parameters, K
order of the linear prediction (1 without it), kernel_size taps of the dilated convolution. All channels but C are
padded to whole tiles.
"""

from typing import NamedTuple

import numpy as np


class Network(NamedTuple):
    """A model's weights; the dtype of `gate` and `out` is the precision of their products."""

    inputs_per_sample: int  # I
    class_boundaries: np.ndarray  # [I - 1] where the inputs are the class of the last sample, or [0]
    embed: np.ndarray  # [1, tiles, M I, TILE] of the inputs of a step, oldest first
    embed_bias: np.ndarray  # [R]
    gate: np.ndarray  # [L * kernel_size, tiles, R, TILE], the dilated convolution, oldest tap first
    gate_bias: np.ndarray  # [L, G]
    conditioning: np.ndarray  # [L, tiles, C, TILE]
    out: np.ndarray  # [L, tiles, Z, TILE]: rows of the residual, over sqrt 2, and of the skip
    out_bias: np.ndarray  # [L, R], over sqrt 2
    skip_bias: np.ndarray  # [S], summed over layers
    hidden: np.ndarray  # [M, tiles, S, TILE], for each sample of a step, scaled for the sum of the skips
    hidden_bias: np.ndarray  # [M, S]
    recent: np.ndarray  # [1, tiles, A I, TILE] of the inputs that the head hears; or [0, tiles, 0, TILE]
    mix: np.ndarray  # [1, tiles, S, TILE] of the head's second layer, or [0, tiles, S, TILE]
    mix_bias: np.ndarray  # [S]
    output: np.ndarray  # [1, tiles, S, TILE]
    output_bias: np.ndarray  # [P]
    dilations: np.ndarray  # [L]
    ring_starts: np.ndarray  # [L + 1], the first slot of each layer's ring, and the end of the last


class GenerationState(NamedTuple):
    """The state of n lanes, or more, and the loops' working memory."""

    ring: np.ndarray  # [slots, n, R], past h in the precision of the products; a layer's ring has history + 1 slots
    past: np.ndarray  # [K + H, n], the last K samples before the frame, and those of the frame
    excitation: np.ndarray  # [n], of the last sample
    inputs: np.ndarray  # [1, M I or A I, n], the network's newest, oldest first
    projected: np.ndarray  # [slots, L, n, G], V c and the bias at the knots of a block, knot j at j % slots; bfloat16
    # (uint16) if products are
    blocks: np.ndarray  # [L], samples for which a layer computes all taps but the newest at once, powers of two
    z: np.ndarray  # [samples, n, G], signal and gate before their activations, with conditioning
    z_starts: np.ndarray  # [L], the first z of each layer's block; layers without blocks share one
    gated: np.ndarray  # [1, n, Z], tanh(signal) sigmoid(gate), in the precision of the products
    h_and_skips: np.ndarray  # [n, R + S], residual stream and sum of skips
    s: np.ndarray  # [3, n, S], of the head: the rectified skips of a step, inputs and outputs of its layers
    params: np.ndarray  # [n, P]
    params_by_lane: np.ndarray  # [P, n] without padding, of the sample: shifted and scaled by the linear prediction
    prediction: np.ndarray  # [n], the linear prediction
    gain: np.ndarray  # [n], its gain
    scores: np.ndarray  # [3, n], of a draw
    drawn: np.ndarray  # [n]


class FrameLayout(NamedTuple):
    """Interpolation and updates within a frame, the same in all frames."""

    left: np.ndarray  # [N], the knot before each step
    weights: np.ndarray  # [N, 2], of that knot and the next
    updates: int  # of the linear prediction in a frame


class Sampler(NamedTuple):
    """How a sample is drawn from parameters: a choice, then location and scale, then the nearest level."""

    choices: int
    first_location: int  # index of the first location among the parameters; -1: a choice is a value
    first_log_scale: int  # index of the first logarithm of a scale; -1: there are none
    log_scale_min: np.float32
    levels: int
    values: np.ndarray  # [choices], where first_location is -1
    temperature: np.float32
