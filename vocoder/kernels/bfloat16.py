"""bfloat16 in compiled loops: conversion from and to float32, and pairs.

Neither numpy nor numba has the type. Here a bfloat16 is a uint16, the upper half of a float32's bits. Products read two
values at once: a pair is a uint32, the first value in its lower half. Arithmetic is in float32. Conversions round to
nearest, ties to even.

Functions for either precision use numba's `overload`: the public function, which has no body, only declares the name;
for each combination of argument types numba calls `_name` with these types and compiles the function that it returns.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from vocoder.kernels.jit import compiled, implements

INT32 = ir.IntType(32)


class BFloat(ir.Type):
    """LLVM's type bfloat, which llvmlite lacks."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BFloat)

    def __hash__(self) -> int:
        return hash(BFloat)


# Bits


@intrinsic
def float_from_bits(typing_context: Any, bits: Any) -> Any:
    """The float32 with these 32 bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.FloatType())

    return types.float32(types.uint32), generate


@intrinsic
def round_to_bf16(typing_context: Any, x: Any) -> Any:
    """The bits of a float32 rounded to bfloat16, by the processor's own instruction."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(builder.fptrunc(arguments[0], BFloat()), ir.IntType(16))

    return types.uint16(types.float32), generate


@intrinsic
def join_bf16_pair(typing_context: Any, low: Any, high: Any) -> Any:
    """Two bfloat16 (uint16) as a pair. An intrinsic, because numba would shift in 64 bits."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        low, high = (builder.zext(argument, INT32) for argument in arguments)
        return builder.or_(low, builder.shl(high, ir.Constant(INT32, 16)))

    return types.uint32(types.uint16, types.uint16), generate


@compiled
def pack_bf16_pair(low, high):
    """Two float32, rounded to bfloat16, as a pair."""
    return _join_upper_halves(_round_upper_half(low), _round_upper_half(high))


@intrinsic
def _round_upper_half(typing_context: Any, x: Any) -> Any:
    """32 bits: x rounded to bfloat16 in the upper half; the lower half is undefined."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        bits = builder.bitcast(arguments[0], INT32)
        odd = builder.and_(builder.lshr(bits, ir.Constant(INT32, 16)), ir.Constant(INT32, 1))
        return builder.add(builder.add(bits, ir.Constant(INT32, 0x7FFF)), odd)

    return types.uint32(types.float32), generate


@intrinsic
def _join_upper_halves(typing_context: Any, low: Any, high: Any) -> Any:
    """The upper 16 bits of each of two uint32, as a pair."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        low = builder.lshr(arguments[0], ir.Constant(INT32, 16))
        return builder.or_(low, builder.and_(arguments[1], ir.Constant(INT32, 0xFFFF0000)))

    return types.uint32(types.uint32, types.uint32), generate


# Conversions in loops for either precision


def to_float32(x):
    """x as float32, from float32 or from bfloat16 (uint16)."""


def to_dtype_of(array, x):
    """The float32 x in the precision of the array: float32 or bfloat16 (uint16)."""


def to_bf16(x):
    """x as bfloat16 (uint16), from float32 or from bfloat16."""


def unpaired(array):
    """A view of an array of pairs (uint32) as bfloat16 (uint16), twice as long; a float32 array itself."""


@implements(to_float32, inline="always")
def _to_float32(x):
    if x == types.uint16:
        return lambda x: float_from_bits(np.uint32(x) << np.uint32(16))
    return lambda x: x


@implements(to_dtype_of, inline="always")
def _to_dtype_of(array, x):
    if array.dtype == types.uint16:
        return lambda array, x: round_to_bf16(x)
    return lambda array, x: x


@implements(to_bf16, inline="always")
def _to_bf16(x):
    if x == types.uint16:
        return lambda x: x
    return lambda x: round_to_bf16(x)


@implements(unpaired)
def _unpaired(array):
    if array.dtype == types.uint32:
        return lambda array: array.view(np.uint16)
    return lambda array: array
