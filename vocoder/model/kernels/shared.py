"""The loops of `layer.py`, shared out among threads and kept on disk."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from numba import prange

from vocoder import functions, products
from vocoder.compiling import checksum, kept_on_disk
from vocoder.model.kernels import layer as parts

_shared_out = partial(kept_on_disk, parallel=True)


def _loops(sources: int) -> tuple[Callable[..., None], ...]:
    @_shared_out
    def pack(workers, weights, taps, packed):
        count = workers if sources else 0
        for worker in prange(count):
            parts.pack(worker, workers, weights, taps, packed)

    @_shared_out
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

    @_shared_out
    def convolve(workers, x, shift, dilation, whole, factors, filter, result, added, factor):
        count = workers if sources else 0
        for worker in prange(count):
            parts.convolve(worker, workers, x, shift, dilation, whole, factors, filter, result, added, factor)

    @_shared_out
    def gate_backward(workers, dfollowing, dsums, out, z, knots, left, spread, first, y, dz, dknots):
        count = workers if sources else 0
        for worker in prange(count):
            parts.gate_backward(worker, workers, dfollowing, dsums, out, z, knots, left, spread, first, y, dz, dknots)

    @_shared_out
    def filter_gradient(workers, dz, x, dilation, whole, factors, blocks, like, total):
        count = workers if sources else 0
        for worker in prange(count):
            parts.filter_gradient(worker, workers, dz, x, dilation, whole, factors, blocks, like, total)

    @_shared_out
    def out_gradient(workers, dfollowing, dsums, y, blocks, like, dfollowing_total, dsums_total, dbias):
        count = workers if sources else 0
        for worker in prange(count):
            parts.out_gradient(
                worker, workers, dfollowing, dsums, y, blocks, like, dfollowing_total, dsums_total, dbias
            )

    return pack, layer, convolve, gate_backward, filter_gradient, out_gradient


FILES = (*Path(__file__).parent.glob("*.py"), Path(functions.__file__), Path(products.__file__))
pack, layer, convolve, gate_backward, filter_gradient, out_gradient = _loops(checksum(FILES))
