"""numba as the package needs it: compiling, and without complaint where compiled loops cannot be kept on disk.

numba keeps compiled loops in a folder. Where it finds none that it can write to (a read-only installation, no home
folder), loops that ask for it fail when they are declared, those of librosa at its import; where the disk is full, at
their first call. Keeping them only saves time, so both are passed over: the loops are compiled for this process alone.
This module must be imported before librosa.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from numba.core import config
from numba.core.caching import Cache
from numba.core.dispatcher import Dispatcher
from numba.np.ufunc.ufuncbuilder import UFuncDispatcher

from vocoder.errors import UserError


def require_compiler() -> None:
    """Raises UserError where the environment has switched numba off."""
    if getattr(config, "DISABLE_JIT", 0):
        raise UserError("NUMBA_DISABLE_JIT is set, but the network's loops must be compiled; unset it")


def _passing_over(method: Callable[..., Any], error: type[Exception]) -> Callable[..., Any]:
    """The method; None where it raises `error`."""

    @wraps(method)
    def tolerant(*arguments: Any) -> Any:
        try:
            return method(*arguments)
        except error:
            return None

    return tolerant


for _class, _name, _error in (
    (Dispatcher, "enable_caching", RuntimeError),  # no folder; the dispatcher then stays with its cache of nothing
    (UFuncDispatcher, "enable_caching", RuntimeError),
    (Cache, "load_overload", OSError),
    (Cache, "save_overload", OSError),  # no space, or no permission any more
):
    setattr(_class, _name, _passing_over(getattr(_class, _name), _error))
