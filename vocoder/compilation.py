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

from vocoder.errors import UserError


def require_compiler() -> None:
    """Raises UserError where the environment has switched numba off."""
    if getattr(config, "DISABLE_JIT", 0):
        raise UserError("NUMBA_DISABLE_JIT is set, but the network's loops must be compiled; unset it")


def _disabling_itself(initialise: Callable[..., None]) -> Callable[..., None]:
    """The constructor of a cache, which is disabled where there is no folder for it."""

    @wraps(initialise)
    def tolerant(self: Any, *arguments: Any, **options: Any) -> None:
        try:
            initialise(self, *arguments, **options)
        except RuntimeError:
            self._cache_path = None
            self.disable()

    return tolerant


def _passing_over_errors(method: Callable[..., Any]) -> Callable[..., Any]:
    """A cache's method; None where there is no space, or no permission any more."""

    @wraps(method)
    def tolerant(*arguments: Any) -> Any:
        try:
            return method(*arguments)
        except OSError:
            return None

    return tolerant


for _name, _tolerant in (
    ("__init__", _disabling_itself),
    ("load_overload", _passing_over_errors),
    ("save_overload", _passing_over_errors),
):
    setattr(Cache, _name, _tolerant(getattr(Cache, _name)))
