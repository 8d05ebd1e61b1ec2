"""A function mapped over many independent items: in this process, in worker processes, or on a Dask cluster."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import CancelledError, Executor, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from typing import TypeVar, cast

import torch

from vocoder.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


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


def parallel_map(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, pool: Executor | None = None
) -> Iterator[tuple[Item, Result | UserError]]:
    """Yield (item, function(item)) in the order of the items; a UserError that an item raises is yielded as its result.

    With `workers` 0 everything runs in this process; otherwise in `pool`, or in that many spawned processes (forking
    would copy torch's threads). At most 4 · `workers` items are submitted ahead of the consumer, to bound memory.

    Raises:
        UserError: a worker process died. Results yielded before remain valid.
    """
    if workers == 0:
        for item in items:
            yield item, _attempt(function, item)
        return
    spawn = multiprocessing.get_context("spawn")
    owned = ProcessPoolExecutor(workers, mp_context=spawn, initializer=_start_worker) if pool is None else None
    with owned or nullcontext():
        pool = pool or cast(Executor, owned)
        pending: deque[tuple[Item, Future[Result | UserError]]] = deque()
        try:
            for item in items:
                first = item
                pending.append((item, pool.submit(_attempt, function, item)))
                if len(pending) >= 4 * workers:
                    first, future = pending.popleft()
                    yield first, future.result()
            while pending:
                first, future = pending.popleft()
                yield first, future.result()
        except BrokenProcessPool:
            raise UserError(f"a worker process died at {first} or near it (out of memory?); try workers=0") from None
        finally:
            for _, future in pending:
                future.cancel()


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent alone handles Ctrl-C
    torch.set_num_threads(1)


def _attempt(function: Callable[[Item], Result], item: Item) -> Result | UserError:
    try:
        return function(item)
    except UserError as error:
        return error
