"""Optional packages, which the extra `metrics` brings."""

import importlib
import importlib.util
import sys
from functools import lru_cache
from importlib.machinery import PathFinder
from types import ModuleType

from vocoder.errors import UserError


def optional_package(name: str) -> ModuleType:
    """Import an optional package.

    Raises:
        UserError: it is not installed, or cannot be imported.
    """
    try:
        return _compiled_pyworld() if name == "pyworld" else importlib.import_module(name)
    except ImportError as error:
        if isinstance(error, ModuleNotFoundError) and error.name == name:
            raise UserError(f"{name} is not installed; pip install {name} (or the extra `metrics`)") from None
        raise UserError(f"{name} cannot be imported ({error}); reinstall it: pip install {name}") from None


def is_usable(name: str) -> bool:
    """Whether an optional package is installed and can be imported."""
    try:
        optional_package(name)
    except UserError:
        return False
    return True


def _compiled_pyworld() -> ModuleType:
    """The compiled module within the package pyworld, which has all of its functions.

    The package itself (0.3.5) looks up its version with pkg_resources, which warns and is gone from setuptools 82.
    """
    package = importlib.util.find_spec("pyworld")
    if package is None:
        raise ModuleNotFoundError("No module named 'pyworld'", name="pyworld")
    return _load_once("pyworld.pyworld", tuple(package.submodule_search_locations or ()))


@lru_cache
def _load_once(name: str, folders: tuple[str, ...]) -> ModuleType:
    """Load a module of a package without running the package's own code."""
    if name in sys.modules:
        return sys.modules[name]
    spec = PathFinder.find_spec(name, list(folders))
    if spec is None or spec.loader is None:
        raise ImportError(f"it has no module {name}")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
