"""Compilation by numba: the decorators of the loops, their cache on disk, and a notice while compiling takes long."""

import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path
from threading import Timer
from typing import Any

from numba import njit, prange, types
from numba.core import cgutils
from numba.extending import intrinsic, overload, register_jitable

from vocoder.kernels.processor import HAS_AMX

OPTIONS: Any = {"nogil": True, "error_model": "numpy"}  # runs beside other threads; x / 0 is infinite
compiled = njit(**OPTIONS)
inlined = njit(**OPTIONS, inline="always")
jitable = register_jitable(**OPTIONS)  # a Python function that compiled code may call, too
implements = partial(overload, jit_options=OPTIONS)  # compiles what the decorated function returns for given types

SOURCES_CRC = sum(zlib.crc32(path.read_bytes()) for path in Path(__file__).parent.glob("*.py")) & 0xFFFFFFFF
VERSION = f"{SOURCES_CRC:x}_amx" if HAS_AMX else f"{SOURCES_CRC:x}"  # of compiled loops


@intrinsic
def use_whole_vectors(typing_context: Any) -> Any:
    """Let LLVM use the widest vectors in this function. For some Intel processors it takes half of them by default."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')  # llvmlite's own `add` does not know it
        return context.get_dummy_value()

    return types.void(), generate


@intrinsic
def borrowed(typing_context: Any, value: Any) -> Any:
    """An array, or a tuple of arrays and tuples, without reference counts. Its owner must outlive it.

    numba counts the references of each view, of a row of an array for instance, by an atomic operation on a counter
    that threads share, in loops over rows again and again. The caller of a function holds the arrays that it passes:
    borrow a function's arguments, not its own variables, which numba frees after their last use.
    """

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _without_owner(context, builder, value, arguments[0])

    return value(value), generate


def _without_owner(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    if isinstance(kind, types.Array):
        array = context.make_array(kind)(context, builder, value)
        array.meminfo, array.parent = (cgutils.get_null_value(field.type) for field in (array.meminfo, array.parent))
        return array._getvalue()
    items: Any = kind if isinstance(kind, types.BaseTuple) else ()
    for i, item in enumerate(items):
        part = _without_owner(context, builder, item, builder.extract_value(value, i))
        value = builder.insert_value(value, part, i)
    return value


def cached_jit(loop: Callable[..., None]) -> Any:
    """The `jitable` loop, compiled at its first call and cached on disk."""

    def call(*args):
        loop(*borrowed(args))

    return _cached(call, loop.__name__)


def cached_parallel_jit(loop: Callable[..., None]) -> Any:
    """loop(worker, workers, *args) as a function of (workers, *args) that calls it for each worker, in parallel.

    `args` are arrays and numbers: numba passes no tuples to threads.
    """

    def call(workers, *args):
        for worker in prange(workers):
            loop(worker, workers, *borrowed(args))

    return _cached(call, loop.__name__, parallel=True)


def _cached(call: Callable[..., None], name: str, parallel: bool = False) -> Any:
    """`call`, compiled; where no folder can be written, for this process alone.

    numba names the files of its cache after the function, so the name has the CRC of all sources here. After a change
    to any of them the loops are compiled again, and files of other versions, which may name types that this one does
    not have, are never read. The name also tells loops with matrix units from those without: numba's own key has the
    features of the processor, but not whether this process may use them.
    """
    call.__name__ = call.__qualname__ = f"{name}_{VERSION}"
    try:
        return njit(**OPTIONS, parallel=parallel, cache=True)(call)
    except RuntimeError:
        return njit(**OPTIONS, parallel=parallel)(call)


@contextmanager
def announce_if_slow(notice: str) -> Iterator[None]:
    """Print the notice, once in a process, if the block takes longer than a second, as it does when it compiles."""
    timer = Timer(1.0, _print_once, [notice])
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


@cache
def _print_once(notice: str) -> None:
    print(notice, file=sys.stderr)
