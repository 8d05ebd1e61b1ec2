"""Operations on one row, the channels of one sample, in float32 or bfloat16 (`bfloat16.py`).

They are inlined into their callers and take slices: where LLVM cannot exclude that an index is negative, it does not
vectorise.
"""

from vocoder.kernels.bfloat16 import join_bf16_pair, pack_bf16_pair, to_bf16, to_dtype_of, to_float32
from vocoder.kernels.jit import inlined
from vocoder.kernels.math import f32, fma


@inlined
def set_to_zero(target):
    """target = 0, in float32. numba takes seconds to compile the error messages of `target[:] = 0`."""
    for j in range(len(target)):
        target[j] = f32(0)


@inlined
def copy(target, source):
    """target = source, in the precision of the target; source is float32."""
    for j in range(len(target)):
        target[j] = to_dtype_of(target, source[j])


@inlined
def scaled_copy(target, a, x):
    """target = a x, in the precision of the target, for the length of x."""
    for j in range(len(x)):
        target[j] = to_dtype_of(target, a * to_float32(x[j]))


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
def rectify(target, x):
    """target = max(x, 0), in the precision of the target and for its length; x is float32."""
    for j in range(len(target)):
        target[j] = to_dtype_of(target, max(x[j], f32(0)))


@inlined
def join_pairs(target, low, high):
    """target = pairs of low and high in bfloat16, for the length of low."""
    for j in range(len(low)):
        target[j] = join_bf16_pair(to_bf16(low[j]), to_bf16(high[j]))


@inlined
def weighted_sum_pairs(target, a, x, b, y, c, u, d, v):
    """target = pairs of a x + b y (lower half) and c u + d v (upper half) in bfloat16, for the length of x."""
    if a == f32(1) and c == f32(1) and b == f32(0) and d == f32(0):
        join_pairs(target, x, u)
    else:
        for j in range(len(x)):
            low = fma(b, to_float32(y[j]), a * to_float32(x[j]))
            high = fma(d, to_float32(v[j]), c * to_float32(u[j]))
            target[j] = pack_bf16_pair(low, high)
