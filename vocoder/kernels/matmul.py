"""The matrix product of weights with the channels of many lanes, accumulated:

    y[lane, row] += sum over k of weights[row, k] x[lane, k]

A lane is one vector x[lane] and its product y[lane]: in generation an utterance, in training a sample. In the gradient
of weights a lane is an output channel, a row is an input channel, and k is time.

Layout. Weights are packed in tiles of TILE rows, [tile, k, row of the tile], in the order in which they are read. y and
x have channels last. All may be views with strides of their own.

Blocking. For each tile, lanes are taken in blocks of 6, 4, 2 and 1, each with a micro-kernel of its own
(`micro_kernels.py`), whose accumulators stay in registers while k runs. Where the processor has matrix units, they take
the products in bfloat16 (`amx.py`).

Rounding. Every row of every lane adds its terms in the order of k, with fused multiply-add, in blocks of any size. So
the result of a lane is the same to the bit whatever the other lanes are, and however many.

Precision. In bfloat16, weights and x are uint32, pairs of k, whose products are added to float32 in one instruction.
Which two k share a pair is up to the caller, as long as weights and x agree.
"""

import math
from typing import Any

import numpy as np
from numba import types

from vocoder.kernels.amx import product_amx, transpose
from vocoder.kernels.jit import implements, jitable
from vocoder.kernels.micro_kernels import PREFETCHED, TILE, dot_bf16_pairs, micro_kernel, multiply_add
from vocoder.kernels.processor import HAS_AMX

__all__ = [
    "TILE",
    "add_product",
    "aligned_copy",
    "aligned_zeros",
    "input_buffer",
    "pack_weights",
    "pack_weights_bf16",
    "round_up",
    "swap_axes",
]


def add_product(lanes, y, weights, w_index, x, x_index):
    """y[lane] += weights[w_index] @ x[x_index, lane] for the first `lanes` lanes; callable from compiled code only.

    y [lanes, rows] float32, weights [products, tiles, k, TILE], x [slots, lanes, k]; rows are a multiple of TILE.
    """


@implements(add_product)
def _dispatch(lanes, y, weights, w_index, x, x_index):
    """The dispatcher: the product for the precision of the weights, and for this processor."""
    return _product_for(weights.dtype, x.layout == "C")


def _product_for(dtype, contiguous):
    """The product for weights of this dtype, and for x that is contiguous or not."""
    if dtype != types.uint32:
        return _product_float32
    return product_amx if HAS_AMX and contiguous else _product_bf16


def _blocked_product(accumulate):
    """`add_product` by micro-kernels for 6, 4, 2 and 1 lanes.

    Weights often come from a distant cache. So while a tile is multiplied with the first lanes, half of the next one is
    fetched, and the other half with the following lanes. Mostly, the next product's weights come next in memory.
    """
    kernel_6, kernel_4, kernel_2, kernel_1 = (micro_kernel(lanes, accumulate) for lanes in (6, 4, 2, 1))

    def product(lanes, y, weights, w_index, x, x_index):
        next_tile = 4 * TILE * weights.shape[2]
        for tile in range(weights.shape[1]):
            row, lane = tile * TILE, 0
            while lane + 6 <= lanes:
                ahead = next_tile + lane // 6 % 2 * PREFETCHED
                kernel_6(y, (lane, row), weights, (w_index, tile, 0, 0), x, (x_index, lane, 0), ahead)
                lane += 6
            if lane + 4 <= lanes:
                ahead = next_tile + lane // 6 % 2 * PREFETCHED
                kernel_4(y, (lane, row), weights, (w_index, tile, 0, 0), x, (x_index, lane, 0), ahead)
                lane += 4
            if lane + 2 <= lanes:
                kernel_2(y, (lane, row), weights, (w_index, tile, 0, 0), x, (x_index, lane, 0), 0)
                lane += 2
            if lane < lanes:
                kernel_1(y, (lane, row), weights, (w_index, tile, 0, 0), x, (x_index, lane, 0), 0)

    return product


_product_float32, _product_bf16 = _blocked_product(multiply_add), _blocked_product(dot_bf16_pairs)


def swap_axes(array, room):
    """The array [1, k, lanes] as input of products, [1, lanes, k]: a view of it, or where matrix units want k to be
    contiguous, a copy in `room`, for as many k as fill whole tiles and lanes rounded down to whole tiles."""


@implements(swap_axes)
def _swap_axes(array, room):
    def copied(array, room):
        transpose(array[0], room[0])
        return room

    if array.dtype == types.uint32 and HAS_AMX:
        return copied
    return lambda array, room: array.transpose(0, 2, 1)


def input_buffer(weights, lanes):
    """Zeros [1, lanes, k] for the input of products with weights [products, tiles, k, TILE], in their precision."""


@implements(input_buffer)
def _input_buffer(weights, lanes):
    dtype = np.uint32 if weights.dtype == types.uint32 else np.float32
    return lambda weights, lanes: np.zeros((1, lanes, weights.shape[2]), dtype)


@jitable
def round_up(n: int, unit: int) -> int:
    """The smallest multiple of `unit` that is not below n."""
    return -(-n // unit) * unit


def pack_weights(weights: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Weights [..., rows, k] -> [..., tile, k, row of the tile] float32, padded with zeros to `rows` and `columns`."""
    *outer, height, width = weights.shape
    padded = np.zeros((*outer, rows, columns), np.float32)
    padded[..., :height, :width] = weights
    tiles = padded.reshape(*outer, rows // TILE, TILE, columns)
    return aligned_copy(np.swapaxes(tiles, -1, -2))


def pack_weights_bf16(weights: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """`pack_weights` in bfloat16: uint32 [..., tile, columns / 2, row of the tile] with k and k + columns / 2 as pair.

    Rounds to nearest, ties to even.
    """
    bits = pack_weights(weights, rows, columns).view(np.uint32)
    rounded = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    low, high = np.split(rounded, 2, axis=-2)
    return aligned_copy(low | high << 16)


def aligned_copy(array: np.ndarray) -> np.ndarray:
    """A contiguous copy that begins on a cache line."""
    copy = aligned_zeros(array.shape, array.dtype)
    copy[...] = array
    return copy


def aligned_zeros(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    """Zeros in C order that begin on a cache line (64 bytes)."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.zeros(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size].view(dtype).reshape(shape)
