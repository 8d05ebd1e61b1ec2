"""Micro-kernels: the innermost loop of a matrix product, emitted as LLVM vector code through numba.

A micro-kernel computes one tile of rows for a few lanes. N lanes x VECTORS vectors of accumulators stay in registers
while k runs:

            k ->  w[k, tile]   one load of VECTORS vectors, used for N lanes
                  x[lane, k]   one value, broadcast to a vector, used for VECTORS vectors

Each accumulator adds its terms in the order of k, whatever N is. `matmul.py` calls the micro-kernels.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from vocoder.kernels.bfloat16 import BFloat
from vocoder.kernels.processor import cpu_features


def tile_shape() -> tuple[int, int]:
    """Floats in a vector, and vectors in a tile.

    With six lanes the accumulators fill the registers that a tile of weights and a broadcast value leave: 24 of 32, or
    12 of 16.
    """
    features = cpu_features()
    if "avx512f" in features:
        return 16, 4
    if "avx" in features:
        return 8, 2
    if "neon" in features:
        return 4, 4
    return 4, 2


WIDTH, VECTORS = tile_shape()
TILE = WIDTH * VECTORS  # rows

FLOAT, INT32, INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
VECTOR = ir.VectorType(FLOAT, WIDTH)
BF16_PAIRS = ir.VectorType(BFloat(), 2 * WIDTH)
BYTES = ir.IntType(8).as_pointer()
LINE = 64  # bytes of a cache line
PREFETCHED = max(LINE, 2 * TILE)  # bytes of the next weights that a kernel fetches for each k: half of a tile's


def multiply_add(builder: Any, rows: Any, value: Any, total: Any) -> Any:
    """total + rows * value in float32, rounded once."""
    return call_instruction(builder, f"llvm.fma.v{WIDTH}f32", VECTOR, rows, builder.bitcast(value, VECTOR), total)


def dot_bf16_pairs(builder: Any, rows: Any, value: Any, total: Any) -> Any:
    """total + the products of both halves of bfloat16 pairs: vdpbf16ps of AVX512-BF16."""
    pairs = builder.bitcast(rows, BF16_PAIRS), builder.bitcast(value, BF16_PAIRS)
    return call_instruction(builder, "llvm.x86.avx512bf16.dpbf16ps.512", VECTOR, total, *pairs)


def micro_kernel(lanes: int, accumulate: Callable[..., Any]) -> Callable[..., None]:
    """The product of one tile of rows with `lanes` neighbouring lanes, callable from compiled code.

    It is called as kernel(y, y_at, weights, w_at, x, x_at, ahead); the tuples `..._at` index each array's first element
    of the product. y [..., lane, row] is float32; weights [..., tile, k, row of the tile] and x [..., lane, k] are
    float32, or uint32 for pairs of bfloat16. Strides between lanes and between k are arbitrary. There is at least one
    k. Kernels for four lanes and more fetch PREFETCHED bytes for each k, `ahead` bytes further on in the weights, into
    the second-level cache; those for fewer lanes wait for weights all the time anyway.

    Args:
        accumulate: `multiply_add` or `dot_bf16_pairs`.
    """

    @intrinsic
    def kernel(typing_context: Any, y: Any, y_at: Any, weights: Any, w_at: Any, x: Any, x_at: Any, ahead: Any) -> Any:
        signature = types.void(y, y_at, weights, w_at, x, x_at, types.intp)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            places = []
            for array, index in ((0, 1), (2, 3), (4, 5)):
                array_type = signature.args[array]
                struct = context.make_array(array_type)(context, builder, arguments[array])
                indices = cgutils.unpack_tuple(builder, arguments[index])
                strides = cgutils.unpack_tuple(builder, struct.strides)
                shape = cgutils.unpack_tuple(builder, struct.shape)
                pointer = cgutils.get_item_pointer(context, builder, array_type, struct, indices)
                places.append((pointer, strides, shape))
            (y_start, y_strides, _), (w_start, w_strides, w_shape), (x_start, x_strides, _) = places
            contiguous = signature.args[2].layout == "C", signature.args[4].layout == "C"
            steps = (  # from k to k + 1, in bytes
                ir.Constant(INT64, 4 * TILE) if contiguous[0] else w_strides[-2],
                ir.Constant(INT64, 4) if contiguous[1] else x_strides[-1],
            )
            y_pointers = [_lane_pointer(builder, y_start, lane, y_strides[-2]) for lane in range(lanes)]
            x_pointers = [_lane_pointer(builder, x_start, lane, x_strides[-2]) for lane in range(lanes)]
            _emit_loop(builder, y_pointers, w_start, x_pointers, steps, w_shape[-2], arguments[6], accumulate)
            return context.get_dummy_value()

        return signature, generate

    return kernel


def _emit_loop(
    builder: Any,
    y_pointers: list[Any],
    w: Any,
    x_pointers: list[Any],
    steps: Any,
    count: Any,
    ahead: Any,
    accumulate: Callable[..., Any],
) -> None:
    """The loop over k, with all accumulators in registers."""
    w, x = builder.bitcast(w, BYTES), builder.bitcast(x_pointers[0], BYTES)
    offsets = [builder.sub(builder.ptrtoint(other, INT64), builder.ptrtoint(x, INT64)) for other in x_pointers]
    targets = [
        builder.gep(builder.bitcast(y_pointer, VECTOR.as_pointer()), [ir.Constant(INT64, v)])
        for y_pointer in y_pointers
        for v in range(VECTORS)
    ]
    initial = [_load(builder, target) for target in targets]
    before, loop, done = builder.block, builder.append_basic_block("k"), builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    k = builder.phi(INT64)
    k.add_incoming(ir.Constant(INT64, 0), before)
    sums = []
    for value in initial:
        total = builder.phi(VECTOR)
        total.add_incoming(value, before)
        sums.append(total)
    w_k = builder.gep(w, [builder.mul(k, steps[0])])
    for line in range(0, PREFETCHED if len(offsets) >= 4 else 0, LINE):
        prefetch(builder, builder.gep(w_k, [builder.add(ahead, ir.Constant(INT64, line))]))
    tile = builder.bitcast(w_k, VECTOR.as_pointer())
    rows = [_load(builder, builder.gep(tile, [ir.Constant(INT64, v)])) for v in range(VECTORS)]
    values = builder.gep(x, [builder.mul(k, steps[1])])
    updated = []
    for lane, offset in enumerate(offsets):
        pointer = builder.bitcast(builder.gep(values, [offset]), INT32.as_pointer())
        value = _broadcast(builder, builder.load(pointer))
        updated += [accumulate(builder, row, value, sums[lane * VECTORS + v]) for v, row in enumerate(rows)]
    next_k = builder.add(k, ir.Constant(INT64, 1))
    k.add_incoming(next_k, loop)
    for total, value in zip(sums, updated, strict=True):
        total.add_incoming(value, loop)
    builder.cbranch(builder.icmp_signed("<", next_k, count), loop, done)
    builder.position_at_end(done)
    for target, value in zip(targets, updated, strict=True):
        builder.store(value, target).align = 4


def prefetch(builder: Any, pointer: Any) -> None:
    """Begin to fetch a cache line into the second-level cache; an address that does not exist is ignored."""
    read, locality, data = (ir.Constant(INT32, value) for value in (0, 2, 1))
    call_instruction(builder, "llvm.prefetch.p0i8", ir.VoidType(), pointer, read, locality, data)


def _lane_pointer(builder: Any, base: Any, lane: int, stride: Any) -> Any:
    """The first byte of a lane; the stride between lanes is in bytes."""
    offset = builder.mul(stride, ir.Constant(INT64, lane))
    return builder.inttoptr(builder.add(builder.ptrtoint(base, INT64), offset), BYTES)


def _load(builder: Any, pointer: Any) -> Any:
    value = builder.load(pointer)
    value.align = 4  # packed weights are aligned to more, but nothing relies on it
    return value


def _broadcast(builder: Any, value: Any) -> Any:
    """32 bits in every place of a vector."""
    vector = ir.VectorType(INT32, WIDTH)
    single = builder.insert_element(ir.Constant(vector, ir.Undefined), value, ir.Constant(INT32, 0))
    zeros = ir.Constant(ir.VectorType(INT32, WIDTH), [0] * WIDTH)
    return builder.shuffle_vector(single, ir.Constant(vector, ir.Undefined), zeros)


def call_instruction(builder: Any, name: str, result: ir.Type, *operands: Any) -> Any:
    """Call an LLVM intrinsic."""
    function_type = ir.FunctionType(result, [operand.type for operand in operands])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), operands)
