"""One seam for work over many independent items: in worker processes, in order, past bad items."""

import multiprocessing
import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import torch

from vocoder.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")


def run(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[tuple[Item, Result | UserError]]:
    """Yield (item, result) in the order of the items; a UserError of one item is its result.

    With `workers` 0 everything happens in this process. Otherwise in so many spawned processes
    (forking would copy torch's threads), a few items ahead of the consumer, so memory stays bounded.

    Raises:
        UserError: a worker died; what was yielded before stands.
    """
    if workers == 0:
        for item in items:
            yield item, _attempt(function, item)
        return
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=_start_worker) as pool:
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
            pool.shutdown(cancel_futures=True)


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent to tell of, once
    torch.set_num_threads(1)


def _attempt(function: Callable[[Item], Result], item: Item) -> Result | UserError:
    try:
        return function(item)
    except UserError as error:
        return error
