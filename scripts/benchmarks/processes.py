"""Processes for what is measured beside other work, each at the end of a pipe."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.connection import Connection


@contextmanager
def piped_process(serve: Callable[[str, Connection], None], name: str) -> Iterator[Connection]:
    """The pipe to a new process, which runs serve(name, its end of the pipe) and is ended at the end of the block."""
    context = get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=serve, args=(name, there), daemon=True)
    process.start()
    there.close()
    try:
        yield here
    finally:
        process.terminate()
        process.join()
