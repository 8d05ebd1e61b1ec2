"""Signals as a request to stop at the next step, so that a run can save first."""

import signal
from collections.abc import Iterable, Iterator
from types import FrameType, TracebackType
from typing import TypeVar

Item = TypeVar("Item")
# Ctrl-C; what schedulers and shells end a process with; what SLURM sends ahead of the end (--signal=USR1@60)
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Interrupted(Exception):  # noqa: N818 - it is none
    """Something long was given up because a signal came."""


class Interrupts:
    """While active, the first signal is only noted; a second Ctrl-C stops at once, and any other changes nothing.

    With `to_the_end` others change nothing afterwards either: for a process that is about to end.
    """

    def __init__(self, *, to_the_end: bool = False) -> None:
        self.signal: int | None = None
        self._to_the_end = to_the_end
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "Interrupts":
        for number in SIGNALS:
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            ending = self.signal and self._to_the_end and number != signal.SIGINT
            signal.signal(number, signal.SIG_IGN if ending else handler)  # type: ignore[arg-type]

    @property
    def exit_code(self) -> int:
        """By the shells' convention 128 + signal, that of SIGTERM for SIGUSR1 too; 0 where none came."""
        number = signal.SIGTERM if self.signal == signal.SIGUSR1 else self.signal
        return 128 + number if number else 0

    def until(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items, until a signal comes."""
        for item in items:
            if self.signal:
                return
            yield item

    def check(self, *_: object) -> None:
        """Raises Interrupted once a signal came."""
        if self.signal:
            raise Interrupted

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.signal == number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = self.signal or number
