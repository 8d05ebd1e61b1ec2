"""The compiled training loops, run in parallel by numba's threads and cached on disk."""

from contextlib import nullcontext
from threading import Lock
from typing import Any

import numba
import numpy as np
import torch

from vocoder.kernels import head, logistic_mixture
from vocoder.kernels import residual_layer as loops
from vocoder.kernels.jit import announce_if_slow, cached_parallel_jit

COMPILING = "compiling the network for this processor, some minutes in all; it is kept for next time"

transform_weights = cached_parallel_jit(loops.transform_weights)
layer_forward = cached_parallel_jit(loops.layer_forward)
convolve = cached_parallel_jit(loops.convolve)
gate_backward = cached_parallel_jit(loops.gate_backward)
conv_weight_gradient = cached_parallel_jit(loops.conv_weight_gradient)
out_weight_gradient = cached_parallel_jit(loops.out_weight_gradient)
head_forward = cached_parallel_jit(head.head_forward)
head_backward = cached_parallel_jit(head.head_backward)
head_weight_gradient = cached_parallel_jit(head.head_weight_gradient)
mixture_log_prob = cached_parallel_jit(logistic_mixture.mixture_log_prob)


def run_parallel(loop: Any, *arguments: Any) -> None:
    """Run the loop on as many threads as torch uses.

    numba may reset the thread count of the OpenMP runtime it shares with torch, so it is restored.
    """
    threads = torch.get_num_threads()
    workers = min(threads, numba.config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
    numba.set_num_threads(workers)
    if torch.get_num_threads() != threads:
        torch.set_num_threads(threads)
    arrays = [argument for argument in arguments if isinstance(argument, np.ndarray)]
    signature = (loop, *((array.dtype, array.flags.c_contiguous) for array in arrays))
    with _one_at_a_time, nullcontext() if signature in _ready else announce_if_slow(COMPILING):
        loop(workers, *arguments)
    _ready.add(signature)


_one_at_a_time = Lock()  # numba's workqueue layer, used without OpenMP, is not thread-safe
_ready: set[tuple[Any, ...]] = set()  # signatures that are compiled, or loaded from the cache
