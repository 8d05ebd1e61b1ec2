"""Rounding to bfloat16 in the compiled loops."""

import numpy as np
import torch
from numba import njit

from vocoder.kernels.generate import write_channels as write_channels_jit

RNG = np.random.default_rng(0)


@njit
def write_channels(lanes, target, slot, source):  # type: ignore[no-untyped-def]
    write_channels_jit(lanes, target, slot, source)


def test_rounding_to_bfloat16_agrees_with_torch() -> None:
    x = np.concatenate([RNG.standard_normal(10_000), [0, -0.0, 1, 1.00390625, 1.01171875, 3e38, 1e-40]])
    x = np.concatenate([x, x[: len(x) % 2 and 1]]).astype(np.float32)
    pairs = np.zeros((1, 1, len(x) // 2), np.uint32)
    write_channels(1, pairs, 0, x[None])
    bits = np.concatenate([pairs[0, 0] << 16, pairs[0, 0] & 0xFFFF0000]).view(np.float32)
    assert np.array_equal(bits, torch.from_numpy(x).bfloat16().float().numpy())
