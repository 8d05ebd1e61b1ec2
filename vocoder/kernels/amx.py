"""The matrix product on matrix units: Intel's AMX tiles, in bfloat16 (Intel 64 Software Developer's Manual, vol. 1).

There are eight tile registers of up to 16 rows of 64 bytes. One instruction, tdpbf16ps, computes

    y [16 lanes, 16 rows] += x [16 lanes, 16 pairs of k] @ w [16 pairs of k, 16 rows]

with sums in float32. A row of a tile is 64 bytes of one lane of x, of one lane of y, or of one pair of k of packed
weights. Rows may lie at any distance from each other in memory, so the arrays are the same as for vectors.

Blocking. 32 lanes x 32 rows, four tiles of sums, take two tiles of x and two of weights for each step of k. Up to 16
lanes that are left are a block with 64 rows, again four tiles of sums. Where there are fewer lanes or pairs than a tile
holds, tiles are configured with fewer rows.

Prefetching. Weights often come from a distant cache, and tiles are loaded faster than it delivers. So while TILE rows
are multiplied with the first lanes, the next TILE rows are fetched, which come next in memory. For further lanes the
rows in use are (`ahead` is 0), which was 7 to 10 % faster than to branch around the prefetches.

Rounding. k alone sets the order of a sum's additions, in whichever block its lane is. So a lane's result is the same to
the bit whatever the other lanes are, and however many. It is rounded differently from that of vectors.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from vocoder.kernels.jit import compiled, jitable
from vocoder.kernels.micro_kernels import BYTES, INT32, INT64, TILE, call_instruction, prefetch

TILE_ROWS, ROW_BYTES = 16, 64  # of a tile register
PAIRS = ROW_BYTES // 4  # of k
SUMS, X, WEIGHTS = (0, 1, 2, 3), (4, 5), (6, 7)  # numbers of tile registers
INT8, INT16 = ir.IntType(8), ir.IntType(16)


@jitable
def product_amx(lanes, y, weights, w_index, x, x_index):
    """`add_product` on matrix units, for pairs of bfloat16. Along k, x is contiguous."""
    steps = weights.shape[2] // PAIRS
    pairs_left = weights.shape[2] - steps * PAIRS
    if steps:
        _add_steps(lanes, y, weights, w_index, x, x_index, 0, steps, PAIRS)
    if pairs_left:
        _add_steps(lanes, y, weights, w_index, x, x_index, steps * PAIRS, 1, pairs_left)
    release_tiles()


@compiled
def _add_steps(lanes, y, weights, w_index, x, x_index, k, steps, pairs):
    """The terms of `steps` steps of so many pairs each, beginning with pair k."""
    whole, next_tile = lanes - lanes % TILE_ROWS, 4 * TILE * weights.shape[2]
    if whole:
        configure_tiles(TILE_ROWS, pairs)
        for tile in range(weights.shape[1]):
            row, lane = tile * TILE, 0
            while lane + 2 * TILE_ROWS <= lanes:
                ahead = next_tile if lane == 0 else 0
                _kernel_32(y, (lane, row), weights, (w_index, tile, k, 0), x, (x_index, lane, k), steps, ahead)
                lane += 2 * TILE_ROWS
            if lane < whole:
                ahead = next_tile if lane == 0 else 0
                _kernel_16(y, (lane, row), weights, (w_index, tile, k, 0), x, (x_index, lane, k), steps, ahead)
    if whole < lanes:
        configure_tiles(lanes - whole, pairs)
        for tile in range(weights.shape[1]):
            ahead = 0 if whole else next_tile
            _kernel_16(y, (whole, tile * TILE), weights, (w_index, tile, k, 0), x, (x_index, whole, k), steps, ahead)


@intrinsic
def configure_tiles(typing_context: Any, lanes: Any, pairs: Any) -> Any:
    """Set the sizes of all tiles for so many lanes and pairs of k, at most 16 of each.

    Sums and x have a row for each lane, weights a row for each pair.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes, pairs = arguments
        config = cgutils.alloca_once(builder, ir.ArrayType(INT8, 64))
        builder.store(ir.Constant(ir.ArrayType(INT8, 64), None), config)
        start = builder.bitcast(config, BYTES)
        builder.store(ir.Constant(INT8, 1), start)  # palette
        for tile in (*SUMS, *X, *WEIGHTS):
            row_bytes = builder.mul(pairs, ir.Constant(INT64, 4)) if tile in X else ir.Constant(INT64, ROW_BYTES)
            place = builder.bitcast(builder.gep(start, [ir.Constant(INT64, 16 + 2 * tile)]), INT16.as_pointer())
            builder.store(builder.trunc(row_bytes, INT16), place)
            rows = builder.trunc(pairs if tile in WEIGHTS else lanes, INT8)
            builder.store(rows, builder.gep(start, [ir.Constant(INT64, 48 + tile)]))
        _call(builder, "llvm.x86.ldtilecfg", start)
        return context.get_dummy_value()

    return types.void(types.intp, types.intp), generate


@intrinsic
def release_tiles(typing_context: Any) -> Any:
    """Return tiles to their initial state; otherwise each switch between threads would save and restore them."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        _call(builder, "llvm.x86.tilerelease")
        return context.get_dummy_value()

    return types.void(), generate


def tile_kernel(lane_tiles: int) -> Any:
    """The product of TILE rows with one or two tiles of lanes, callable from compiled code.

    It is called like a `micro_kernel`, as kernel(y, y_at, weights, w_at, x, x_at, steps, ahead), for so many steps
    along k, each of the pairs that tiles are configured for. Weights `ahead` bytes further on are fetched meanwhile.
    """
    row_tiles = len(SUMS) // lane_tiles  # whose sums are in registers at the same time

    @intrinsic
    def kernel(
        typing_context: Any, y: Any, y_at: Any, weights: Any, w_at: Any, x: Any, x_at: Any, steps: Any, ahead: Any
    ) -> Any:
        signature = types.void(y, y_at, weights, w_at, x, x_at, types.intp, types.intp)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            y, weights, x = (
                _Matrix(context, builder, signature.args[i], arguments[i], arguments[i + 1]) for i in (0, 2, 4)
            )
            for first in range(0, TILE * 4 // ROW_BYTES, row_tiles):
                block = range(first, first + row_tiles)
                _emit_block(builder, y, weights, x, arguments[6], arguments[7], lane_tiles, block)
            return context.get_dummy_value()

        return signature, generate

    return kernel


@compiled
def transpose(source, target):
    """target[j, i] = source[i, j] for uint32, in blocks of 16 x 16; rows and columns beyond whole blocks are left."""
    for i in range(0, source.shape[0] - 15, 16):
        for j in range(0, source.shape[1] - 15, 16):
            _transpose_block(source, (i, j), target, (j, i))


@intrinsic
def _transpose_block(typing_context: Any, source: Any, source_at: Any, target: Any, target_at: Any) -> Any:
    """16 vectors of 16 uint32, transposed in four rounds.

    Each round swaps the off-diagonal quarters of squares of twice the size of the last round's.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        inputs = _Matrix(context, builder, signature.args[0], arguments[0], arguments[1])
        outputs = _Matrix(context, builder, signature.args[2], arguments[2], arguments[3])
        vector = ir.VectorType(INT32, 16)

        def row(matrix: _Matrix, i: int) -> Any:
            pointer, _ = matrix.tile(ir.Constant(INT64, i), ir.Constant(INT64, 0))
            return builder.bitcast(pointer, vector.as_pointer())

        rows = [builder.load(row(inputs, i)) for i in range(16)]
        for value in rows:
            value.align = 4
        for half in (1, 2, 4, 8):
            upper = [j if not j & half else 16 + j - half for j in range(16)]
            lower = [j + half if not j & half else 16 + j for j in range(16)]
            masks = [ir.Constant(vector, mask) for mask in (upper, lower)]
            for i in range(16):
                if not i & half:
                    pair = rows[i], rows[i + half]
                    rows[i], rows[i + half] = (builder.shuffle_vector(*pair, mask) for mask in masks)
        for i, value in enumerate(rows):
            builder.store(value, row(outputs, i)).align = 4
        return context.get_dummy_value()

    return types.void(source, source_at, target, target_at), generate


class _Matrix:
    """A part of an array whose rows are rows of tiles."""

    def __init__(self, context: Any, builder: Any, array_type: Any, array: Any, index: Any) -> None:
        struct = context.make_array(array_type)(context, builder, array)
        indices = cgutils.unpack_tuple(builder, index)
        start = cgutils.get_item_pointer(context, builder, array_type, struct, indices)
        self.builder = builder
        self.start = builder.bitcast(start, BYTES)
        self.stride = cgutils.unpack_tuple(builder, struct.strides)[-2]  # from row to row, in bytes

    def tile(self, row: Any, column: Any) -> tuple[Any, Any]:
        """Pointer and stride of the tile that begins at a row and a byte of it."""
        offset = self.builder.add(self.builder.mul(self.stride, row), column)
        return self.builder.gep(self.start, [offset]), self.stride


def _emit_block(
    builder: Any, y: _Matrix, weights: _Matrix, x: _Matrix, steps: Any, ahead: Any, lane_tiles: int, row_tiles: range
) -> None:
    """The sums of `lane_tiles` x `row_tiles` tiles, over all steps of k."""

    def integer(value: int) -> Any:
        return ir.Constant(INT64, value)

    def columns(row_tile: int) -> Any:
        return integer(ROW_BYTES * row_tile)

    lanes = [integer(TILE_ROWS * tile) for tile in range(lane_tiles)]
    blocks = [(i, j) for i in range(lane_tiles) for j in range(len(row_tiles))]
    sums = dict(zip(blocks, SUMS, strict=True))
    for (i, j), register in sums.items():
        _call(builder, "llvm.x86.tileloadd64", register, *y.tile(lanes[i], columns(row_tiles[j])))
    with cgutils.for_range(builder, steps) as loop:
        first_pair = builder.mul(loop.index, integer(PAIRS))
        for i in range(lane_tiles):
            at = x.tile(lanes[i], builder.mul(first_pair, integer(4)))
            _call(builder, "llvm.x86.tileloadd64", X[i], *at)
        for j, row_tile in enumerate(row_tiles):
            register = WEIGHTS[j % len(WEIGHTS)]
            _call(builder, "llvm.x86.tileloadd64", register, *weights.tile(first_pair, columns(row_tile)))
            for pair in range(PAIRS):
                pointer, _ = weights.tile(builder.add(first_pair, integer(pair)), columns(row_tile))
                prefetch(builder, builder.gep(pointer, [ahead]))
            for i in range(lane_tiles):
                _call(builder, "llvm.x86.tdpbf16ps", sums[i, j], X[i], register)
    for (i, j), register in sums.items():
        _call(builder, "llvm.x86.tilestored64", register, *y.tile(lanes[i], columns(row_tiles[j])))


def _call(builder: Any, name: str, *operands: Any) -> None:
    """Call an instruction; integers are numbers of tile registers."""
    values = [ir.Constant(INT8, operand) if isinstance(operand, int) else operand for operand in operands]
    call_instruction(builder, name, ir.VoidType(), *values)


_kernel_32, _kernel_16 = tile_kernel(2), tile_kernel(1)
