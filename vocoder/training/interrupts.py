"""Signals as requests to stop at the next step, so that a run can save first."""

import signal
from collections.abc import Iterable, Iterator
from types import FrameType, TracebackType
from typing import TypeVar

Item = TypeVar("Item")
# Ctrl-C; the usual signal of schedulers and shells; SLURM's advance warning (--signal=USR1@60).
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class Interrupted(Exception):  # noqa: N818 - a request, not an error
    """A long computation was abandoned because a signal came."""


class Interrupts:
    """A context that records the first signal; a second Ctrl-C raises KeyboardInterrupt, others have no effect.

    Args:
        ignore_afterwards: after a signal, keep ignoring SIGTERM and SIGUSR1 when the context ends: for a process
            that is about to exit.
    """

    def __init__(self, *, ignore_afterwards: bool = False) -> None:
        self.signal: int | None = None
        self._ignore_afterwards = ignore_afterwards
        self._previous: dict[int, object] = {}

    def __enter__(self) -> "Interrupts":
        for number in SIGNALS:
            self._previous[number] = signal.signal(number, self._record)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._previous.items():
            ignore = self.signal and self._ignore_afterwards and number != signal.SIGINT
            signal.signal(number, signal.SIG_IGN if ignore else handler)  # type: ignore[arg-type]

    @property
    def exit_code(self) -> int:
        """128 + signal, by the shells' convention (SIGUSR1 counts as SIGTERM); 0 if no signal came."""
        number = signal.SIGTERM if self.signal == signal.SIGUSR1 else self.signal
        return 128 + number if number else 0

    def until_signal(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items, until a signal comes."""
        for item in items:
            if self.signal:
                return
            yield item

    def check(self, *_: object) -> None:
        """Raise Interrupted if a signal has come; takes any arguments, to serve as a progress callback."""
        if self.signal:
            raise Interrupted

    def _record(self, number: int, frame: FrameType | None) -> None:
        if self.signal == number == signal.SIGINT:
            raise KeyboardInterrupt
        self.signal = self.signal or number
