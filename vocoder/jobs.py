"""One seam for work over many independent items: in worker processes, in order, past bad items."""

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
def cluster(scheduler: str) -> Iterator[tuple[Executor, int]]:
    """The workers of a Dask cluster as an executor, and how many there are.

    A task whose worker dies is given to another one.

    Raises:
        UserError: Dask is not installed, no cluster answers there, or its workers died again and again.
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


def run(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, pool: Executor | None = None
) -> Iterator[tuple[Item, Result | UserError]]:
    """Yield (item, result) in the order of the items; a UserError of one item is its result.

    With `workers` 0 everything happens in this process. Otherwise in so many spawned processes
    (forking would copy torch's threads), or those of the pool, a few items ahead of the consumer, so memory stays
    bounded.

    Raises:
        UserError: a worker died; what was yielded before stands.
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
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to tell of, once
    torch.set_num_threads(1)


def _attempt(function: Callable[[Item], Result], item: Item) -> Result | UserError:
    try:
        return function(item)
    except UserError as error:
        return error
