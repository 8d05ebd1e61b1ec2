"""A function mapped over many independent items: in this process, in worker processes, or on a Dask cluster."""

import multiprocessing
import os
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Generic, Self, TypeVar

import torch

from vocoder.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
DEATHS = 4  # of processes without any work, in a row: then it is not the items


def shard_of(items: Sequence[Item], shard: str) -> list[Item]:
    """Shard "i/N": every N-th item, from the i-th on. The N shards are disjoint and complete.

    Raises:
        UserError: as `parse_shard`.
    """
    index, count = parse_shard(shard)
    return list(items[index - 1 :: count])


def parse_shard(shard: str) -> tuple[int, int]:
    """The i and N of "i/N".

    Raises:
        UserError: `shard` is not of that form, or i is not in 1 … N.
    """
    try:
        index, count = (int(number) for number in shard.split("/"))
    except ValueError:
        index, count = 0, 0
    if not 1 <= index <= count:
        raise UserError(f"shard={shard}: write i/N, the i-th of N parts, from 1/N to N/N")
    return index, count


def worker_count(workers: int | None) -> int:
    """The setting `workers` of a command; None is one process for each core that may be used.

    Raises:
        UserError: it is below 0.
    """
    if workers is None:
        return len(os.sched_getaffinity(0))
    if workers < 0:
        raise UserError(f"workers={workers}: must be 0 or more processes, or null")
    return workers


def each_alone(work: Callable[[Item], Result], item: Item) -> Result:
    """`work(item)`; whatever goes wrong with one item costs that item, not the job.

    Raises:
        UserError: for any exception.
    """
    try:
        return work(item)
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        name = getattr(item, "path", item)
        raise UserError(f"{name}: cannot be processed ({type(error).__name__}: {reason})") from error


@contextmanager
def dask_executor(scheduler: str) -> Iterator[tuple[Executor, int]]:
    """Yield an executor that runs on a Dask cluster, and the cluster's number of workers.

    Dask reschedules the task of a worker that dies.

    Raises:
        UserError: Dask is not installed, no scheduler answers at that address, no worker is connected, or a task was
            lost because its workers kept dying.
    """
    try:
        from distributed import Client
    except ImportError:
        raise UserError("executor=dask: needs the package distributed; pip install distributed") from None
    try:
        client = Client(scheduler, timeout=10)
    except (OSError, ValueError) as error:
        raise UserError(f"scheduler={scheduler}: no Dask scheduler answers there ({error})") from None
    with client:
        try:
            workers = len(client.scheduler_info()["workers"])
            if not workers:
                raise UserError(f"scheduler={scheduler}: no worker is connected; start some (dask worker {scheduler})")
            yield client.get_executor(pure=False), workers
        except Exception as error:
            if isinstance(error, CancelledError) or type(error).__module__.startswith("distributed"):
                raise UserError(f"scheduler={scheduler}: the cluster lost its work ({error}); start again") from error
            raise


class Processes:
    """Spawned processes that several maps can share: each takes seconds to start, in which it imports everything anew.

    (Forking would be faster, but would copy torch's threads.) They start when they are first needed, and end with the
    context.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        self._executor: ProcessPoolExecutor | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def executor(self) -> ProcessPoolExecutor:
        if self._executor is None:
            self._executor = _processes(self.workers)
        return self._executor

    def end(self) -> None:
        """End them; new ones start when they are needed."""
        if self._executor is not None:
            self._executor.shutdown()
        self._executor = None


def parallel_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, pool: Executor | Processes | None = None
) -> Iterator[tuple[Item, Result | UserError]]:
    """Yield (item, function(item)) in the order of the items; a UserError that an item raises is yielded as its result.

    With `workers` 0 everything runs in this process; otherwise in `pool`, or in that many processes of its own. At most
    4 · `workers` items are submitted ahead of the consumer, to bound memory.

    If a spawned process dies, those of its items that are not finished are tried again, one by one; the result of an
    item whose process dies again is a UserError.

    Raises:
        UserError: several processes in a row died without any work. Results yielded before remain valid.
    """
    waiting = iter(items)
    if workers == 0:
        for item in waiting:
            yield item, _attempt(function, item)
    elif isinstance(pool, Executor):
        yield from _map_in(pool, function, waiting, workers, deque())
    elif pool is not None:
        yield from _map_in_processes(pool, function, waiting)
    else:
        with Processes(workers) as own:
            yield from _map_in_processes(own, function, waiting)


def _map_in_processes(
    processes: Processes, function: Callable[[Item], Result], waiting: Iterator[Item]
) -> Iterator[tuple[Item, Result | UserError]]:
    """As `_map_in`; if a process dies, the unfinished items are tried one by one, and the others in new processes."""
    pending: deque[Pending[Item, Result]] = deque()
    broken = True
    while broken:
        try:
            yield from _map_in(processes.executor, function, waiting, processes.workers, pending)
            broken = False
        except BrokenProcessPool:
            processes.end()
        yield from _one_by_one(function, pending)
        pending.clear()


@dataclass
class Pending(Generic[Item, Result]):
    """An item whose result has not been yielded."""

    item: Item
    future: Future[Result | UserError] | None = None  # None until it is submitted

    def finished(self) -> bool:
        future = self.future
        return future is not None and future.done() and not future.cancelled() and future.exception() is None

    def result(self) -> Result | UserError:
        """Wait for the result."""
        assert self.future is not None
        return self.future.result()


def _map_in(
    pool: Executor,
    function: Callable[[Item], Result],
    waiting: Iterator[Item],
    workers: int,
    pending: deque[Pending[Item, Result]],
) -> Iterator[tuple[Item, Result | UserError]]:
    """Yield results in order; `pending` has the items that are taken and not yielded, also after an exception."""
    try:
        for item in waiting:
            pending.append(Pending(item))
            pending[-1].future = pool.submit(_attempt, function, item)
            if len(pending) >= 4 * workers:
                yield pending[0].item, pending[0].result()
                pending.popleft()
        while pending:
            yield pending[0].item, pending[0].result()
            pending.popleft()
    finally:
        for other in pending:
            if other.future is not None:
                other.future.cancel()


def _one_by_one(
    function: Callable[[Item], Result], pending: Iterable[Pending[Item, Result]]
) -> Iterator[tuple[Item, Result | UserError]]:
    """The results of items whose process may have died; each that is not finished has a process for itself."""
    with ExitStack() as stack:
        pool: Executor | None = None
        for entry in pending:
            if entry.finished():
                yield entry.item, entry.result()
                continue
            pool = pool or _living_process(stack)
            result: Result | UserError
            try:
                result = pool.submit(_attempt, function, entry.item).result()
            except BrokenProcessPool:
                pool = None
                name = getattr(entry.item, "path", entry.item)
                result = UserError(
                    f"{name}: the process that worked on it died (out of memory, or a fault in a decoder)"
                )
            yield entry.item, result


def _living_process(stack: ExitStack) -> Executor:
    """A new process that has done something. Raises UserError where none does, which is not the fault of an item."""
    for _ in range(DEATHS):
        pool = stack.enter_context(_processes(1))
        try:
            pool.submit(abs, 0).result()
        except BrokenProcessPool:
            continue
        return pool
    raise UserError(f"{DEATHS} worker processes in a row died before any work; free some memory, or try workers=0")


def _processes(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_start_worker)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent alone handles Ctrl-C
    torch.set_num_threads(1)


def _attempt(function: Callable[[Item], Result], item: Item) -> Result | UserError:
    try:
        return function(item)
    except UserError as error:
        return error
