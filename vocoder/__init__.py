"""A WaveNet vocoder with an exact likelihood: mel-spectrograms to speech.

`import vocoder` is light. The first use of a name below imports torch and the compiled engines.
"""

from typing import TYPE_CHECKING

__all__ = ["Request", "Vocoder", "load"]

if TYPE_CHECKING:
    from vocoder.synthesis import Request, Vocoder, load
else:  # hidden from type checkers, which would otherwise accept any name

    def __getattr__(name: str) -> object:
        """Import a public name when it is first used (PEP 562)."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from vocoder import synthesis

        globals()[name] = value = getattr(synthesis, name)
        return value

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
