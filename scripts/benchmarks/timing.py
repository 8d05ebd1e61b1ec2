"""Timing of several functions under equal conditions, in one process."""

import time
from collections.abc import Callable, Sequence

import numpy as np

WARM_UP = 3  # rounds that are not counted


def time_interleaved(functions: Sequence[Callable[[], object]], rounds: int, warm_up: int = WARM_UP) -> np.ndarray:
    """Seconds [rounds, functions] of calls that take turns: each round calls every function once, in order."""
    seconds = []
    for _ in range(warm_up + rounds):
        row = []
        for function in functions:
            started = time.perf_counter()
            function()
            row.append(time.perf_counter() - started)
        seconds.append(row)
    return np.array(seconds[warm_up:])
