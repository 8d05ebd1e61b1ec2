"""A WaveNet vocoder with an exact likelihood: mel-spectrograms to speech.

`import vocoder` is light. The first use of a name below imports torch and the compiled engines; modules of the package,
such as `vocoder.errors`, are imported when they are first used, too.
"""

import os
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

__all__ = ["MelFormat", "Request", "Vocoder", "load"]

# OpenMP's idle threads spin before they sleep, by default for some 15 ms. On a machine that others use too, they spin
# while the thread they wait for is not even running, and training falls to a third of its speed. The runtime reads this
# when torch is imported; a user's own setting has precedence.
if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
    os.environ["GOMP_SPINCOUNT"] = "10000"

if TYPE_CHECKING:
    from vocoder.synthesis import MelFormat, Request, Vocoder, load
else:  # hidden from type checkers, which would otherwise accept any name

    def __getattr__(name: str) -> object:
        """Import a public name, or a module of the package, when it is first used (PEP 562)."""
        if name in __all__:
            globals()[name] = value = getattr(import_module("vocoder.synthesis"), name)
            return value
        if name.startswith("_") or find_spec(f"vocoder.{name}") is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return import_module(f"vocoder.{name}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
