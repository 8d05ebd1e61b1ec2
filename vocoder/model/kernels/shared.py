"""The loops of `layer.py`, shared out among threads and kept on disk."""

import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from numba import njit, prange

from vocoder import functions, products
from vocoder.model.kernels import layer as parts


def _compiled(function: Callable[..., None]) -> Any:
    try:
        return njit(nogil=True, error_model="numpy", parallel=True, cache=True)(function)
    except RuntimeError:  # there is no folder that it could be kept in
        return njit(nogil=True, error_model="numpy", parallel=True)(function)


def _loops(sources: int) -> tuple[Callable[..., None], ...]:
    """numba looks at this file to see whether what it kept is still true, and at what a function closes over: here
    that are the other files."""

    @_compiled
    def pack(workers, weights, taps, packed):
        count = workers if sources else 0
        for worker in prange(count):
            parts.pack(worker, workers, weights, taps, packed)

    @_compiled
    def layer(
        workers, h, heard, dilation, whole, factors, filter,
        knots, left, spread, first, out, bias, z, following, skips,
    ):  # fmt: skip
        count = workers if sources else 0
        for worker in prange(count):
            parts.layer(
                worker, workers, h, heard, dilation, whole, factors, filter,
                knots, left, spread, first, out, bias, z, following, skips,
            )  # fmt: skip

    @_compiled
    def convolve(workers, x, shift, dilation, whole, factors, filter, result, added, factor):
        count = workers if sources else 0
        for worker in prange(count):
            parts.convolve(worker, workers, x, shift, dilation, whole, factors, filter, result, added, factor)

    @_compiled
    def gate_backward(workers, dfollowing, dsums, out, z, knots, left, spread, first, y, dz, dknots):
        count = workers if sources else 0
        for worker in prange(count):
            parts.gate_backward(worker, workers, dfollowing, dsums, out, z, knots, left, spread, first, y, dz, dknots)

    @_compiled
    def filter_gradient(workers, dz, x, dilation, whole, factors, blocks, like, total):
        count = workers if sources else 0
        for worker in prange(count):
            parts.filter_gradient(worker, workers, dz, x, dilation, whole, factors, blocks, like, total)

    @_compiled
    def out_gradient(workers, dfollowing, dsums, y, blocks, like, dfollowing_total, dsums_total, dbias):
        count = workers if sources else 0
        for worker in prange(count):
            parts.out_gradient(
                worker, workers, dfollowing, dsums, y, blocks, like, dfollowing_total, dsums_total, dbias
            )

    return pack, layer, convolve, gate_backward, filter_gradient, out_gradient


FILES = (*Path(__file__).parent.glob("*.py"), Path(functions.__file__), Path(products.__file__))
SOURCES = sum(zlib.crc32(file.read_bytes()) for file in FILES)
pack, layer, convolve, gate_backward, filter_gradient, out_gradient = _loops(SOURCES)
