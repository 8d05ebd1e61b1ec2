"""The matrix product against float64, and its independence of the other lanes."""

import numpy as np
import pytest
from numba import njit

from vocoder.kernels import matmul
from vocoder.kernels.generate import write_channels as write_channels_jit
from vocoder.kernels.matmul import add_product as add_product_jit

RNG = np.random.default_rng(0)
needs_bf16 = pytest.mark.skipif(not matmul.HAS_BF16, reason="this processor does not multiply bfloat16")


@njit
def add_product(lanes, y, weights, w_index, x, x_index):  # type: ignore[no-untyped-def]
    add_product_jit(lanes, y, weights, w_index, x, x_index)


@njit
def write_channels(lanes, target, slot, source):  # type: ignore[no-untyped-def]
    write_channels_jit(lanes, target, slot, source)
