"""parallel_map: results in order, one item's error does not stop the others, and a dead worker is reported."""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor

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


def root_or_death(number: int) -> float:
    if number < 0:
        os._exit(number)
    return root(number)


@pytest.mark.slow
def test_an_item_whose_process_dies_costs_this_item_alone() -> None:
    items = [*range(5), -1, *range(30)]
    results = list(jobs.parallel_map(root_or_death, items, 2))
    assert [item for item, _ in results] == items
    died = [(item, result) for item, result in results if isinstance(result, UserError)]
    assert [item for item, _ in died] == [-1]
    assert str(died[0][1]).startswith("-1: the process that worked on it died")
    assert [result for item, result in results if item >= 0] == [item**0.5 for item in items if item >= 0]


@pytest.mark.slow
def test_many_adjacent_items_whose_processes_die_cost_these_items_alone() -> None:
    items = [1, *[-1] * 5, 4]
    results = list(jobs.parallel_map(root_or_death, items, 1))
    assert [item for item, _ in results] == items
    assert [item for item, result in results if isinstance(result, UserError)] == [-1] * 5
    assert [result for item, result in results if item > 0] == [1.0, 2.0]


def stillborn(workers: int) -> ProcessPoolExecutor:
    """Processes that die when they start."""
    return ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), os._exit, (1,))


@pytest.mark.slow
def test_processes_that_die_without_work_end_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs, "_processes", stillborn)
    with pytest.raises(UserError, match=r"worker processes in a row died before any work"):
        list(jobs.parallel_map(root, range(1000), 1))
