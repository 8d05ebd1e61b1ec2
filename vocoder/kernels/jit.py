"""Loops that numba compiles: kept on disk, made anew when their sources change, and announced where that takes long."""

import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from threading import Timer
from typing import Any

from numba import njit


def checksum(sources: Iterable[Path]) -> int:
    """For a function to close over whose loops are in other files too: numba looks at the function's own file to see
    whether what it kept is still true, and at what the function closes over."""
    return sum(zlib.crc32(path.read_bytes()) for path in sources)


def kept_on_disk(function: Callable[..., None], parallel: bool = False) -> Any:
    """The function compiled, once for a processor; for this process alone where there is no folder to keep it in."""
    try:
        return njit(nogil=True, error_model="numpy", cache=True, parallel=parallel)(function)
    except RuntimeError:
        return njit(nogil=True, error_model="numpy", parallel=parallel)(function)


@contextmanager
def said_if_slow(notice: str) -> Iterator[None]:
    """Print the notice, once, if what is done in here takes a second, as compiling does where nothing was kept."""
    timer = Timer(1.0, _say_once, [notice])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


@cache
def _say_once(notice: str) -> None:
    print(notice, file=sys.stderr)
