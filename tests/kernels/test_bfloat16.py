"""Rounding to bfloat16 in the compiled loops."""

import numpy as np
from numba import njit

from vocoder.kernels.generate import write_channels as write_channels_jit

RNG = np.random.default_rng(0)


@njit
def write_channels(lanes, target, slot, source):  # type: ignore[no-untyped-def]
    write_channels_jit(lanes, target, slot, source)
