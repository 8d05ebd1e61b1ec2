"""The loops of `residual_layer.py`, shared out among threads and kept on disk."""

from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from threading import Lock
from typing import Any

import numba
import numpy as np
import torch
from numba import prange

from vocoder.kernels import residual_layer as parts
from vocoder.kernels.jit import checksum, kept_on_disk, said_if_slow

COMPILING = "compiling the network for this processor, half a minute in all; it is kept for next time"
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


SOURCES = Path(__file__).parent.glob("*.py")
pack, layer, convolve, gate_backward, filter_gradient, out_gradient = _loops(checksum(SOURCES))


def run(loops: Any, *arguments: Any) -> None:
    """On as many threads as torch has. Both share an OpenMP runtime, in which numba sets its own number at first."""
    threads = torch.get_num_threads()
    workers = min(threads, numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
    numba.set_num_threads(workers)
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    arrays = [argument for argument in arguments if isinstance(argument, np.ndarray)]
    kinds = (loops, *((array.dtype, array.flags.c_contiguous) for array in arrays))
    with _one_at_a_time, nullcontext() if kinds in _called else said_if_slow(COMPILING):
        loops(workers, *arguments)
    _called.add(kinds)


_one_at_a_time = Lock()  # where numba has no OpenMP, it shares out work for one thread of Python at a time
_called: set[tuple[Any, ...]] = set()  # loops and what they took; others are yet to be compiled, or fetched
