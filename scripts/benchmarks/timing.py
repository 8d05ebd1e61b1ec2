"""Fair timing of several kinds of work in one process."""

import time
from collections.abc import Callable

import numpy as np

WARM_UP = 3  # rounds that do not count


def in_turn(works: list[Callable[[], None]], rounds: int, warm_up: int = WARM_UP) -> np.ndarray:
    """Seconds [rounds, works] of several kinds of work, one after another in each round."""
    seconds = []
    for _ in range(warm_up + rounds):
        row = []
        for work in works:
            started = time.perf_counter()
            work()
            row.append(time.perf_counter() - started)
        seconds.append(row)
    return np.array(seconds[warm_up:])
