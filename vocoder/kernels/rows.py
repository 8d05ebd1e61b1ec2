"""Operations on one row, the channels of one sample, in float32 or bfloat16 (`bfloat16.py`).

They are inlined into their callers and take slices: where LLVM cannot exclude that an index is negative, it does not
vectorise.
"""

import numpy as np
from numba import types

from vocoder.kernels.bfloat16 import join_bf16_pair, pack_bf16_pair, to_bf16, to_dtype_of, to_float32
from vocoder.kernels.jit import implements, inlined
from vocoder.kernels.math import f32, fma
from vocoder.kernels.matmul import TILE


@inlined
def copy(target, x):
    """target = x, in the precision of the target; x is float32."""
    for j in range(len(target)):
        target[j] = to_dtype_of(target, x[j])


@inlined
def axpy(a, x, y):
    """y += a x, as in BLAS; y is float32."""
    for j in range(len(x)):
        y[j] += a * to_float32(x[j])


@inlined
def weighted_sum(target, a, x, b, y):
    """target = a x + b y, for the length of x."""
    for j in range(len(x)):
        target[j] = to_dtype_of(target, fma(b, to_float32(y[j]), a * to_float32(x[j])))


@inlined
def weighted_sum_pairs(target, a, x, b, y, c, u, d, v):
    """target = pairs of a x + b y (lower half) and c u + d v (upper half) in bfloat16, for the length of x."""
    if a == f32(1) and c == f32(1) and b == f32(0) and d == f32(0):
        for j in range(len(x)):
            target[j] = join_bf16_pair(to_bf16(x[j]), to_bf16(u[j]))
    else:
        for j in range(len(x)):
            low = fma(b, to_float32(y[j]), a * to_float32(x[j]))
            high = fma(d, to_float32(v[j]), c * to_float32(u[j]))
            target[j] = pack_bf16_pair(low, high)


def input_buffer(weights, lanes):
    """Zeros [1, lanes, k] for the input of products with weights [products, tiles, k, TILE], in their precision."""


def transform_tile(target, weights, coefficients):
    """target [k, TILE] = coefficients [K] @ weights [K, k, TILE], in float32 or in pairs of neighbouring k."""


@implements(input_buffer)
def _input_buffer(weights, lanes):
    dtype = np.uint32 if weights.dtype == types.uint32 else np.float32
    return lambda weights, lanes: np.zeros((1, lanes, weights.shape[2]), dtype)


@implements(transform_tile)
def _transform_tile(target, weights, coefficients):
    def float32(target, weights, coefficients):
        for k in range(weights.shape[1]):
            target[k] = f32(0)
            for c in range(len(coefficients)):
                axpy(coefficients[c], weights[c, k], target[k])

    def pairs(target, weights, coefficients):
        pair = np.zeros((2, TILE), f32)
        for k in range(0, weights.shape[1], 2):
            pair[:] = f32(0)
            for c in range(len(coefficients)):
                for i in range(min(2, weights.shape[1] - k)):
                    axpy(coefficients[c], weights[c, k + i], pair[i])
            weighted_sum_pairs(target[k // 2], f32(1), pair[0], f32(0), pair[0], f32(1), pair[1], f32(0), pair[1])

    return pairs if target.dtype == types.uint32 else float32
