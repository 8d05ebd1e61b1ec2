"""Arrays without reference counts."""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from vocoder.kernels.jit import borrowed


class Pair(NamedTuple):
    array: np.ndarray
    number: int


def adder(prepare: Any) -> Any:
    """A compiled function that adds rows, after `prepare` on its argument."""

    @njit
    def add_rows(arrays):  # type: ignore[no-untyped-def]
        (a, b), pair, _ = prepare(arrays)
        for i in range(len(a)):
            row = pair.array[i]
            row += a[i] + b[i] * pair.number

    return add_rows


def reference_calls(function: Any) -> int:
    assembly = next(iter(function.inspect_asm().values()))
    return int(assembly.count("NRT_incref"))


def test_borrowed_arrays_share_memory_with_their_owners_and_are_not_counted() -> None:
    a, b, total = np.ones((3, 2)), np.full((3, 2), 2.0), np.zeros((3, 2))
    counting, add_rows = adder(njit(lambda arrays: arrays)), adder(borrowed)
    for _ in range(3):
        add_rows(((a, b), Pair(total, 10), 1))
    assert (total == 63).all()
    counting(((a, b), Pair(total, 10), 1))
    assert reference_calls(add_rows) < reference_calls(counting)
