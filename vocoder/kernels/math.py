"""The few functions a WaveNet takes, in float32, written so that LLVM turns compiled loops over them into vector code.

Each result is a function of its argument alone, wherever in a vector or at the end of a loop it is computed: products
and sums are fused where `fma` says so and nowhere else.
"""

import math
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

F = np.float32
compiled = njit(nogil=True, error_model="numpy")  # several threads at once; a division by zero gives infinity


class BFloat(ir.Type):
    """LLVM's bfloat, which llvmlite does not have."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BFloat)

    def __hash__(self) -> int:
        return hash(BFloat)


@intrinsic
def fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float32(types.float32, types.float32, types.float32), generate


@intrinsic
def nearest(typing_context: Any, x: Any) -> Any:
    """The whole number nearest to x, the even one of two."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.call(builder.module.declare_intrinsic("llvm.rint", [ir.FloatType()]), arguments)

    return types.float32(types.float32), generate


@intrinsic
def power_of_two(typing_context: Any, n: Any) -> Any:
    """2^n for a whole number n from -126 to 127, made of its exponent's bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        biased = builder.add(builder.fptosi(arguments[0], ir.IntType(32)), ir.Constant(ir.IntType(32), 127))
        return builder.bitcast(builder.shl(biased, ir.Constant(ir.IntType(32), 23)), ir.FloatType())

    return types.float32(types.float32), generate


@intrinsic
def of_bits(typing_context: Any, b: Any) -> Any:
    """The float32 that 32 bits are."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), generate


@intrinsic
def half_bits(typing_context: Any, x: Any) -> Any:
    """The 16 bits of the nearest bfloat16 (the even one of two), by the processor's own instruction."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(builder.fptrunc(arguments[0], BFloat()), ir.IntType(16))

    return types.uint16(types.float32), generate


@intrinsic
def paired(typing_context: Any, low: Any, high: Any) -> Any:
    """16 bits each, as 32; numba's own shifts go by 64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        low, high = (builder.zext(argument, ir.IntType(32)) for argument in arguments)
        return builder.or_(low, builder.shl(high, ir.Constant(ir.IntType(32), 16)))

    return types.uint32(types.uint16, types.uint16), generate


@intrinsic
def upper_halves(typing_context: Any, low: Any, high: Any) -> Any:
    """The upper 16 bits of each of two, as 32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        int32 = ir.IntType(32)
        low = builder.lshr(arguments[0], ir.Constant(int32, 16))
        return builder.or_(low, builder.and_(arguments[1], ir.Constant(int32, 0xFFFF0000)))

    return types.uint32(types.uint32, types.uint32), generate


@intrinsic
def rounded_up(typing_context: Any, x: Any) -> Any:
    """32 bits of which the upper half are the nearest bfloat16 (the even one of two); the lower half is not cleared."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        int32 = ir.IntType(32)
        b = builder.bitcast(arguments[0], int32)
        odd = builder.and_(builder.lshr(b, ir.Constant(int32, 16)), ir.Constant(int32, 1))
        return builder.add(builder.add(b, ir.Constant(int32, 0x7FFF)), odd)

    return types.uint32(types.float32), generate


def _exp2_coefficients() -> tuple[np.float32, ...]:
    """Of the polynomial of degree 6 that meets 2^f best on |f| <= 1/2 (at Chebyshev's points), highest power first."""
    fitted = np.polynomial.Chebyshev.interpolate(lambda f: 2.0 ** (f / 2), 6).convert(kind=np.polynomial.Polynomial)
    scaled = np.asarray(fitted.coef, float) * 2.0 ** np.arange(7)  # from u = 2 f in [-1, 1] to f
    return tuple(F(c) for c in scaled[::-1])


C6, C5, C4, C3, C2, C1, C0 = _exp2_coefficients()
LOG2_E = F(1 / math.log(2))
LN2_HIGH = F(0.693359375)  # ln 2 in two parts, the first of so few bits that n LN2_HIGH is exact
LN2_LOW = F(math.log(2) - 0.693359375)
LARGEST = F(87.0)  # beyond, e^x or e^-x is no normal number of float32


@compiled
def exp(x):
    """e^x, to 2e-7 of its size, for x within +-87; further out as at 87."""
    x = min(max(x, -LARGEST), LARGEST)
    n = nearest(x * LOG2_E)
    return _two_to(fma(n, -LN2_LOW, fma(n, -LN2_HIGH, x)) * LOG2_E) * power_of_two(n)


@compiled
def exp2(x):
    """2^x for x within +-126, to 2e-7 of its size and a rounding of x."""
    n = nearest(x)
    return _two_to(x - n) * power_of_two(n)


@compiled
def _two_to(f):
    """2^f for |f| <= 1/2."""
    p = fma(C6, f, C5)
    p = fma(p, f, C4)
    p = fma(p, f, C3)
    p = fma(p, f, C2)
    p = fma(p, f, C1)
    return fma(p, f, C0)


@compiled
def tanh(x):
    return F(1) - F(2) / (F(1) + exp(F(2) * x))


@compiled
def gated(filter, gate):
    """tanh(filter) sigmoid(gate), to 3e-7, with one division: the arguments' powers are kept below 2^60."""
    a = exp2(min(max(filter * (F(-2) * LOG2_E), F(-60)), F(60)))
    b = exp2(min(max(gate * -LOG2_E, F(-60)), F(60)))
    return (F(1) - a) / ((F(1) + a) * (F(1) + b))
