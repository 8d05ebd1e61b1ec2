"""Rows of channels at one sample, in float32 or bfloat16, as the loops of this package take them one by one.

bfloat16 comes as uint16, and as uint32 where the products want it in pairs; arithmetic is in float32. Functions of rows
are inlined where they are called, and take slices: of an index that might be negative LLVM makes no vector code.
"""

import numpy as np
from numba import njit, types
from numba.extending import overload

from vocoder.kernels.math import fma, half_bits, of_bits, paired, rounded_up, upper_halves
from vocoder.kernels.matmul import TILE

F = np.float32
inlined = njit(nogil=True, error_model="numpy", inline="always")


def wide(x):
    """The float32 of a float32, or of the uint16 that a bfloat16 is."""


def narrow(x, like):
    """The other way round, for an array of such."""


def half(x):
    """The bits of a bfloat16, or of the nearest one to a float32."""


def halves(array):
    """The bfloat16 in an array of uint32, neighbours in pairs; a float32 array as it is."""


def scratch(weights, lanes):
    """Zeros for so many lanes of channels that these weights [products, tiles, k, rows] multiply: [1, lanes, k]."""


@overload(wide, inline="always")
def _wide(x):
    if x == types.uint16:
        return lambda x: of_bits(np.uint32(x) << np.uint32(16))
    return lambda x: x


@overload(narrow, inline="always")
def _narrow(x, like):
    if like.dtype == types.uint16:
        return lambda x, like: half_bits(x)
    return lambda x, like: x


@overload(half, inline="always")
def _half(x):
    if x == types.uint16:
        return lambda x: x
    return lambda x: half_bits(x)


@overload(halves)
def _halves(array):
    if array.dtype == types.uint32:
        return lambda array: array.view(np.uint16)
    return lambda array: array


@overload(scratch)
def _scratch(weights, lanes):
    dtype = np.uint32 if weights.dtype == types.uint32 else np.float32
    return lambda weights, lanes: np.zeros((1, lanes, weights.shape[2]), dtype)


@inlined
def keep(target, row):
    for j in range(len(target)):
        target[j] = narrow(row[j], target)


@inlined
def add_times(target, row, factor):
    """In float32."""
    for j in range(len(row)):
        target[j] += factor * wide(row[j])


@inlined
def combine(target, one, a, two, c):
    """target = a one + c two, as far as these go."""
    for j in range(len(one)):
        target[j] = narrow(fma(c, wide(two[j]), a * wide(one[j])), target)


@inlined
def combine_pairs(target, one, a, two, c, three, d, four, e):
    """The same of two samples at once, as pairs of bfloat16."""
    if a == F(1) and d == F(1) and c == F(0) and e == F(0):
        for j in range(len(one)):
            target[j] = paired(half(one[j]), half(three[j]))
    else:
        for j in range(len(one)):
            low, high = fma(c, wide(two[j]), a * wide(one[j])), fma(e, wide(four[j]), d * wide(three[j]))
            target[j] = upper_halves(rounded_up(low), rounded_up(high))


def pack_tile(target, weights, taps):
    """target [k, rows] = taps [K] @ weights [K, k, rows], in float32 or in pairs of bfloat16."""


@overload(pack_tile, jit_options={"nogil": True, "error_model": "numpy"})
def _pack_tile(target, weights, taps):
    def as_they_are(target, weights, taps):
        for k in range(weights.shape[1]):
            target[k] = F(0)
            for c in range(len(taps)):
                add_times(target[k], weights[c, k], taps[c])

    def in_pairs(target, weights, taps):
        pair = np.zeros((2, TILE), F)
        for k in range(0, weights.shape[1], 2):
            pair[:] = F(0)
            for c in range(len(taps)):
                for i in range(min(2, weights.shape[1] - k)):
                    add_times(pair[i], weights[c, k + i], taps[c])
            combine_pairs(target[k // 2], pair[0], F(1), pair[0], F(0), pair[1], F(1), pair[1], F(0))

    return in_pairs if target.dtype == types.uint32 else as_they_are
