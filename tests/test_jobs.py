"""parallel_map: results in order, one item's error does not stop the others, and a dead worker is reported."""

import os

import pytest

from vocoder import jobs
from vocoder.errors import UserError


def root(number: int) -> float:
    if number < 0:
        raise UserError(f"{number} has no root")
    return number**0.5


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_results_are_in_order_and_a_user_error_is_the_result_of_its_item(workers: int) -> None:
    items = [9, -1, *(n * n for n in range(20))]
    results = list(jobs.parallel_map(root, items, workers))
    assert [item for item, _ in results] == items
    assert results[0] == (9, 3.0)
    assert isinstance(results[1][1], UserError)
    assert str(results[1][1]) == "-1 has no root"
    assert [result for _, result in results[2:]] == list(range(20))


def test_any_other_exception_is_raised() -> None:
    with pytest.raises(ZeroDivisionError):
        list(jobs.parallel_map(lambda n: 1 / n, [1, 0], 0))


def test_without_workers_items_are_consumed_one_at_a_time() -> None:
    consumed: list[int] = []
    results = jobs.parallel_map(root, (consumed.append(n) or n for n in range(10)), 0)
    next(results)
    assert consumed == [0]


def test_a_worker_that_dies_is_a_user_error() -> None:
    with pytest.raises(UserError, match=r"worker process died.*workers=0"):
        list(jobs.parallel_map(os._exit, [3, 4], 1))
