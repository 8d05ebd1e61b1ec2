"""Matrix products of a network's weights with the channels of many lanes, as LLVM vector code through numba.

    y[lane, row] += sum over k of weights[k, row] x[lane, k]

In generation lanes are utterances, in training they are the samples of one; and where weights get their gradients, k is
time, and lanes and rows are what came out and what went in.

A tile of rows is held in vectors, for a few lanes at once: N lanes x V vectors of accumulators stay in registers while
k runs. Weights are packed as they are read, [tile, k, rows of the tile], channels lie as they are; both may be views
with strides of their own.

            k ->  w[k, tile]   one load of V vectors, used for N lanes
                  x[lane, k]   one number, spread over a vector, used for V vectors

Every row of every lane adds its terms in the order of k with fused multiply-add, whatever N is. So a lane's result is
the same to the bit alone and in any company.

In bfloat16, k goes in pairs: a vector of float32 takes up the products of two channels at once (vdpbf16ps of
AVX512-BF16).
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from vocoder.kernels.math import BFloat, compiled


def features() -> set[str]:
    """Of the processor that numba compiles for, as LLVM names them (NUMBA_CPU_FEATURES restricts them)."""
    named = cpu_target.target_context.codegen()._tm_features.split(",")
    return {name[1:] for name in named if name.startswith("+")}


def shape_of_block() -> tuple[int, int]:
    """Floats in a vector, and vectors in a tile.

    With six lanes they are as many accumulators as registers hold beside a tile of weights and one number of a lane:
    24 of 32, or 12 of 16.
    """
    if "avx512f" in features():
        return 16, 4
    if "avx" in features():
        return 8, 2
    if "neon" in features():
        return 4, 4
    return 4, 2


WIDTH, VECTORS = shape_of_block()
TILE = WIDTH * VECTORS  # rows
HAS_BF16 = "avx512bf16" in features()

FLOAT, INT32, INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
VECTOR = ir.VectorType(FLOAT, WIDTH)
BYTES = ir.IntType(8).as_pointer()


BF16_PAIRS = ir.VectorType(BFloat(), 2 * WIDTH)


def panel(lanes: int) -> Callable[..., None]:
    """The product for so many neighbouring lanes and one tile of rows, as something to be called from compiled code.

    panel(y, at, weights, tile, x, source): `at`, `tile` and `source` index the first element of each array's part.
    y [..., lane, row] float32; weights [..., tile, k, row] and x [..., lane, k] float32, or, for bfloat16, uint32 that
    hold pairs of neighbouring k. There is at least one k.
    """

    @intrinsic
    def product(typing_context: Any, y: Any, at: Any, weights: Any, tile: Any, x: Any, source: Any) -> Any:
        signature = types.void(y, at, weights, tile, x, source)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            places = []
            for array, index in ((0, 1), (2, 3), (4, 5)):
                kind = signature.args[array]
                struct = context.make_array(kind)(context, builder, arguments[array])
                indices = cgutils.unpack_tuple(builder, arguments[index])
                strides = cgutils.unpack_tuple(builder, struct.strides)
                shape = cgutils.unpack_tuple(builder, struct.shape)
                places.append((cgutils.get_item_pointer(context, builder, kind, struct, indices), strides, shape))
            (out, out_strides, _), (w, w_strides, w_shape), (data, x_strides, _) = places
            contiguous = signature.args[2].layout == "C", signature.args[4].layout == "C"
            steps = (  # from k to k + 1, in bytes
                ir.Constant(INT64, 4 * TILE) if contiguous[0] else w_strides[-2],
                ir.Constant(INT64, 4) if contiguous[1] else x_strides[-1],
            )
            pairs = signature.args[2].dtype == types.uint32
            outs = [_address(builder, out, lane, out_strides[-2]) for lane in range(lanes)]
            inputs = [_address(builder, data, lane, x_strides[-2]) for lane in range(lanes)]
            _emit(builder, outs, w, inputs, steps, w_shape[-2], _dot_pairs if pairs else _multiply_add)
            return context.get_dummy_value()

        return signature, generate

    return product


def _emit(
    builder: Any, outs: list[Any], w: Any, inputs: list[Any], steps: Any, count: Any, term: Callable[..., Any]
) -> None:
    """The loop over k, with all accumulators in registers."""
    w, x = builder.bitcast(w, BYTES), builder.bitcast(inputs[0], BYTES)
    apart = [builder.sub(builder.ptrtoint(other, INT64), builder.ptrtoint(x, INT64)) for other in inputs]
    targets = [
        builder.gep(builder.bitcast(out, VECTOR.as_pointer()), [ir.Constant(INT64, v)])
        for out in outs
        for v in range(VECTORS)
    ]
    start = [_load(builder, target) for target in targets]
    before, loop, done = builder.block, builder.append_basic_block("k"), builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    k = builder.phi(INT64)
    k.add_incoming(ir.Constant(INT64, 0), before)
    sums = []
    for value in start:
        total = builder.phi(VECTOR)
        total.add_incoming(value, before)
        sums.append(total)
    tile = builder.bitcast(builder.gep(w, [builder.mul(k, steps[0])]), VECTOR.as_pointer())
    rows = [_load(builder, builder.gep(tile, [ir.Constant(INT64, v)])) for v in range(VECTORS)]
    numbers = builder.gep(x, [builder.mul(k, steps[1])])
    updated = []
    for lane, offset in enumerate(apart):
        number = builder.bitcast(builder.gep(numbers, [offset]), INT32.as_pointer())
        spread = _spread(builder, builder.load(number))
        updated += [term(builder, row, spread, sums[lane * VECTORS + v]) for v, row in enumerate(rows)]
    next_k = builder.add(k, ir.Constant(INT64, 1))
    k.add_incoming(next_k, loop)
    for total, value in zip(sums, updated, strict=True):
        total.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", next_k, count), loop, done)
    builder.position_at_end(done)
    for target, value in zip(targets, updated, strict=True):
        builder.store(value, target).align = 4


def _address(builder: Any, base: Any, lane: int, stride: Any) -> Any:
    """Where a lane's part begins, strides being in bytes."""
    offset = builder.mul(stride, ir.Constant(INT64, lane))
    return builder.inttoptr(builder.add(builder.ptrtoint(base, INT64), offset), BYTES)


def _load(builder: Any, pointer: Any) -> Any:
    value = builder.load(pointer)
    value.align = 4  # aligned in fact, but nothing here has to rely on it
    return value


def _spread(builder: Any, number: Any) -> Any:
    """32 bits in every place of a vector."""
    kind = ir.VectorType(INT32, WIDTH)
    single = builder.insert_element(ir.Constant(kind, ir.Undefined), number, ir.Constant(INT32, 0))
    zeros = ir.Constant(ir.VectorType(INT32, WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(single, ir.Constant(kind, ir.Undefined), zeros)


def _multiply_add(builder: Any, rows: Any, spread: Any, total: Any) -> Any:
    fma = _declared(builder, f"llvm.fma.v{WIDTH}f32", [VECTOR, VECTOR, VECTOR])
    return builder.call(fma, [rows, builder.bitcast(spread, VECTOR), total])


def _dot_pairs(builder: Any, rows: Any, spread: Any, total: Any) -> Any:
    dot = _declared(builder, "llvm.x86.avx512bf16.dpbf16ps.512", [VECTOR, BF16_PAIRS, BF16_PAIRS])
    return builder.call(dot, [total, builder.bitcast(rows, BF16_PAIRS), builder.bitcast(spread, BF16_PAIRS)])


def _declared(builder: Any, name: str, arguments: list[ir.Type]) -> Any:
    """An LLVM intrinsic that gives a vector of floats."""
    kind = ir.FunctionType(VECTOR, arguments)
    return builder.module.globals.get(name) or ir.Function(builder.module, kind, name)


_panel_6, _panel_4, _panel_2, _panel_1 = (panel(lanes) for lanes in (6, 4, 2, 1))


@compiled
def add_product(lanes, y, weights, which, x, slot):
    """y[lane] += weights[which] x[slot, lane] for so many lanes."""
    for tile in range(weights.shape[1]):
        row, lane = tile * TILE, 0
        while lane + 6 <= lanes:
            _panel_6(y, (lane, row), weights, (which, tile, 0, 0), x, (slot, lane, 0))
            lane += 6
        if lane + 4 <= lanes:
            _panel_4(y, (lane, row), weights, (which, tile, 0, 0), x, (slot, lane, 0))
            lane += 4
        if lane + 2 <= lanes:
            _panel_2(y, (lane, row), weights, (which, tile, 0, 0), x, (slot, lane, 0))
            lane += 2
        if lane < lanes:
            _panel_1(y, (lane, row), weights, (which, tile, 0, 0), x, (slot, lane, 0))


def whole(channels: int, unit: int = TILE) -> int:
    """Up to whole tiles, or other units."""
    return -(-channels // unit) * unit


def packed(weights: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Weights [..., rows, k], filled up with zeros to so many of both, as tiles [..., tile, k, rows of the tile]."""
    *outer, height, width = weights.shape
    filled = np.zeros((*outer, rows, columns), np.float32)
    filled[..., :height, :width] = weights
    tiles = filled.reshape(*outer, rows // TILE, TILE, columns)
    return aligned(np.swapaxes(tiles, -1, -2))


def packed_pairs(weights: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """The same in bfloat16, k and k + columns / 2 in one uint32: [..., tile, k of half of them, rows of a tile]."""
    bits = packed(weights, rows, columns).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16  # to the nearest, the even one of two
    low, high = np.split(rounded, 2, axis=-2)
    return aligned(low | high << 16)


def aligned(array: np.ndarray) -> np.ndarray:
    """A contiguous copy that begins on a cache line."""
    copy = aligned_zeros(array.shape, array.dtype)
    copy[...] = array
    return copy


def aligned_zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.zeros(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)
