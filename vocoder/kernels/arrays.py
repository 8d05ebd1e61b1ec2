"""What the loops read and write: arrays and numbers, by name.

n lanes, H samples a frame, L layers, I inputs, R residual, S skip, C conditioning channels, 2 Z gate channels, P
parameters, K order of the linear prediction; all channels but C are padded to whole tiles of rows.
"""

from typing import NamedTuple

import numpy as np


class Network(NamedTuple):
    """A model's weights, as the loops read them; the dtype of `gate` and `out` is the precision."""

    embed: np.ndarray  # [I, R] of the inputs
    embed_bias: np.ndarray  # [R]
    gate: np.ndarray  # [L * taps, tiles, R, TILE], oldest tap first
    gate_bias: np.ndarray  # [L, 2 Z]
    conditioning: np.ndarray  # [L, tiles, C, TILE]
    out: np.ndarray  # [L, tiles, Z, TILE]: residual over sqrt 2, and skip
    out_bias: np.ndarray  # [L, R], likewise
    skip_bias: np.ndarray  # [S], of all layers together
    hidden: np.ndarray  # [1, tiles, S, TILE], scaled for the sum of the skips
    hidden_bias: np.ndarray  # [S]
    output: np.ndarray  # [1, tiles, S, TILE]
    output_bias: np.ndarray  # [P]
    dilations: np.ndarray  # [L]
    rings: np.ndarray  # [L + 1], the first slot of each layer's ring, and the end


class State(NamedTuple):
    """Where lanes stand, and room to work in; n or more of them."""

    ring: np.ndarray  # [slots, n, R], in the precision of the products; each layer's is a sample longer than it reaches
    past: np.ndarray  # [n, K + H], what was heard; the next sample is foretold from K of them
    residual: np.ndarray  # [n], of the last sample
    known: np.ndarray  # [2, L, n, 2 Z], V c and the bias at the knots around now
    z: np.ndarray  # [n, 2 Z]
    g: np.ndarray  # [1, n, Z], in the precision of the products
    h: np.ndarray  # [n, R + S], residual stream and sum of skips
    s: np.ndarray  # [2, n, S], the head's
    params: np.ndarray  # [n, P]


class Timing(NamedTuple):
    """How conditioning moves within a frame, the same in all of them."""

    left: np.ndarray  # [H], the knot before each sample
    weights: np.ndarray  # [H, 2], of that knot and the next
    updates: int  # of the predictor


class Draw(NamedTuple):
    """How parameters become a sample: the choice of one of so many, its location and scale, the nearest level."""

    choices: int
    location: int  # first of the parameters that are locations; -1: a choice has a value of its own
    scale: int  # first of those that are logarithms of scales
    scale_min: np.float32
    levels: int
    values: np.ndarray  # [choices], where location is -1
    temperature: np.float32
