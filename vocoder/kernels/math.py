"""The elementary functions of a WaveNet in float32, written so that LLVM vectorises the loops that call them.

A result depends on the argument alone, not on its position in a vector or on whether it falls into a loop's remainder:
multiplications and additions are fused where `fma` is called and nowhere else.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from vocoder.kernels.jit import compiled, inlined

f32 = np.float32
ROOT_HALF = math.sqrt(0.5)
ROOT_HALF_F32 = f32(ROOT_HALF)


@intrinsic
def fma(typing_context: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c, rounded once."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.fma(*arguments)

    return types.float32(types.float32, types.float32, types.float32), generate


@intrinsic
def rint(typing_context: Any, x: Any) -> Any:
    """x rounded to the nearest integer, ties to even, as a float32."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.call(builder.module.declare_intrinsic("llvm.rint", [ir.FloatType()]), arguments)

    return types.float32(types.float32), generate


@intrinsic
def exponent(typing_context: Any, x: Any) -> Any:
    """The integral float32 n for which x / 2^n lies in [sqrt(1/2), sqrt 2), for a normal float32 x above 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        int32 = ir.IntType(32)
        bits = builder.bitcast(arguments[0], int32)
        from_root_half = builder.sub(bits, ir.Constant(int32, int(np.float32(ROOT_HALF).view(np.int32))))
        return builder.sitofp(builder.ashr(from_root_half, ir.Constant(int32, 23)), ir.FloatType())

    return types.float32(types.float32), generate


@intrinsic
def power_of_two(typing_context: Any, n: Any) -> Any:
    """2^n for an integral float32 n from -126 to 127, by setting the bits of the exponent."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        biased = builder.add(builder.fptosi(arguments[0], ir.IntType(32)), ir.Constant(ir.IntType(32), 127))
        return builder.bitcast(builder.shl(biased, ir.Constant(ir.IntType(32), 23)), ir.FloatType())

    return types.float32(types.float32), generate


def _polynomial(function: Callable[[Any], Any], degree: int, low: float, high: float) -> tuple[np.float32, ...]:
    """Coefficients of the polynomial that interpolates at Chebyshev points of [low, high], highest power first."""
    fitted = np.polynomial.Chebyshev.interpolate(function, degree, domain=[low, high])
    return tuple(f32(c) for c in fitted.convert(kind=np.polynomial.Polynomial).coef[::-1])


C6, C5, C4, C3, C2, C1, C0 = _polynomial(lambda f: 2.0**f, 6, -0.5, 0.5)
S7, S6, S5, S4, S3, S2, S1, S0 = _polynomial(lambda w: -np.expm1(-w) / w, 7, 1e-9, math.log(2))
LOG2_E = f32(1 / math.log(2))
LN2_HIGH = f32(0.693359375)  # ln 2 in two parts; the first has so few bits that n LN2_HIGH is exact
LN2_LOW = f32(math.log(2) - 0.693359375)
EXP_LIMIT = f32(87.0)  # beyond it e^x or e^-x is not a normal float32


@compiled
def exp(x):
    """e^x with a relative error below 2e-7; x is clamped to +-87."""
    x = min(max(x, -EXP_LIMIT), EXP_LIMIT)
    n = rint(x * LOG2_E)
    return _exp2_of_fraction(fma(n, -LN2_LOW, fma(n, -LN2_HIGH, x)) * LOG2_E) * power_of_two(n)


@compiled
def exp2(x):
    """2^x for |x| <= 126, with a relative error below 2e-7 not counting the rounding of x."""
    n = rint(x)
    return _exp2_of_fraction(x - n) * power_of_two(n)


@compiled
def _exp2_of_fraction(f):
    """2^f for |f| <= 1/2, by Horner's scheme."""
    p = fma(C6, f, C5)
    p = fma(p, f, C4)
    p = fma(p, f, C3)
    p = fma(p, f, C2)
    p = fma(p, f, C1)
    return fma(p, f, C0)


@compiled
def log(x):
    """The natural logarithm for x from 2^-125 to 2^125, with an error below 2e-7 of it or 6e-8, whichever is larger.

    By the series of 2 artanh((m - 1) / (m + 1)), where m is x without its exponent.
    """
    n = exponent(x)
    m = x * power_of_two(-n)
    s = (m - f32(1)) / (m + f32(1))
    q = s * s
    series = fma(fma(fma(fma(q, f32(1 / 9), f32(1 / 7)), q, f32(1 / 5)), q, f32(1 / 3)), q, f32(1))
    return fma(n, LN2_HIGH, fma(n, LN2_LOW, f32(2) * s * series))


@compiled
def mean_of_exp_minus(w):
    """(1 - e^-w) / w, the mean of e^-x over 0 <= x <= w, for 0 <= w <= ln 2, with a relative error below 2e-7."""
    p = fma(S7, w, S6)
    p = fma(p, w, S5)
    p = fma(p, w, S4)
    p = fma(p, w, S3)
    p = fma(p, w, S2)
    p = fma(p, w, S1)
    return fma(p, w, S0)


@compiled
def tanh(x):
    return f32(1) - f32(2) / (f32(1) + exp(f32(2) * x))


@inlined
def _gate_powers(signal, gate):
    """e^(-2 signal) and e^(-gate), clamped to 2^+-60 so that products of the two stay finite."""
    a = exp2(min(max(signal * (f32(-2) * LOG2_E), f32(-60)), f32(60)))
    b = exp2(min(max(gate * -LOG2_E, f32(-60)), f32(60)))
    return a, b


@compiled
def gated_activation(signal, gate):
    """tanh(signal) sigmoid(gate) with an absolute error below 3e-7, by a single division."""
    a, b = _gate_powers(signal, gate)
    return (f32(1) - a) / ((f32(1) + a) * (f32(1) + b))


@inlined
def tanh_and_sigmoid(signal, gate):
    """(tanh(signal), sigmoid(gate)), by a single division.

    Their product may differ from `gated_activation` by a rounding.
    """
    a, b = _gate_powers(signal, gate)
    quotient = f32(1) / ((f32(1) + a) * (f32(1) + b))
    return (f32(1) - a) * (f32(1) + b) * quotient, (f32(1) + a) * quotient
