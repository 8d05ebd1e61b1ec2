"""Progress of long work on standard error: a bar on a terminal, plain lines anywhere else.

A log file, a pipe or a dumb terminal cannot redraw a line, so it would keep every state of a bar. There, a line is
printed when a tenth of the work is done and 10 seconds have passed since the last line, whichever comes later: short
work prints few lines, and long work about ten. Work that takes days would then be silent for hours, so a line is also
printed after ten minutes without one. The last state is always printed.
"""

import math
import sys
import time
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from tqdm import tqdm

from vocoder.commands.streams import redraws_lines, write_line

if TYPE_CHECKING:  # preprocessing and synthesis need not import training
    from vocoder.training import Trainer

LINE_SHARE = 0.1  # of the work
LINE_SECONDS = 10.0
LONGEST_SILENCE = 600.0  # seconds
Item = TypeVar("Item")


class Closable:
    """Closed at the end of a `with` block, abandoned where an exception ends it."""

    def close(self) -> None:
        """Show the last state for good. Closing twice does no harm."""

    def abandon(self) -> None:
        """Stop showing anything: an error message follows."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.abandon()


class Progress(Closable):
    """How far some work has come. This one shows nothing; it is for processes whose progress another process shows."""

    def show(self, share: float, amount: str, note: str = "") -> None:
        """Show the share that is done (0 to 1), the same in the work's own unit (`3/10 files`), and any remark."""


class TerminalBar(Progress):
    """A bar of tqdm, which redraws its line."""

    def __init__(self, title: str, share: float, amount: str) -> None:
        self._bar = _AmountBar(
            amount,
            desc=title,
            initial=share,
            total=1.0,
            miniters=0,  # redraw when a note has changed, too
            dynamic_ncols=True,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {amount} [{elapsed}<{remaining}{postfix}]",
        )

    def show(self, share: float, amount: str, note: str = "") -> None:
        self._bar.amount = amount
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update(share - self._bar.n)

    def close(self) -> None:
        self._bar.close()

    abandon = close


class _AmountBar(tqdm):
    """tqdm with one more field for `bar_format`."""

    def __init__(self, amount: str, **options: Any) -> None:
        self.amount = amount
        super().__init__(**options)

    @property
    def format_dict(self) -> dict[str, Any]:
        return {**super().format_dict, "amount": self.amount}


class PlainLines(Progress):
    """A line now and then; the module's docstring says when."""

    def __init__(self, title: str, share: float) -> None:
        self._title = title
        self._started = self._printed_at = time.monotonic()
        self._first_share = self._printed_share = share
        self._pending = ""  # the last state, while it is not printed

    def show(self, share: float, amount: str, note: str = "") -> None:
        now = time.monotonic()
        self._pending = self._line(share, amount, note, now - self._started)
        silence = now - self._printed_at
        tenth_done = share - self._printed_share >= LINE_SHARE - 1e-9
        if silence >= LONGEST_SILENCE or (silence >= LINE_SECONDS and tenth_done):
            self._printed_at, self._printed_share = now, share
            self.close()

    def close(self) -> None:
        if self._pending:
            write_line(sys.stderr, self._pending)
        self._pending = ""

    def abandon(self) -> None:
        self._pending = ""

    def _line(self, share: float, amount: str, note: str, elapsed: float) -> str:
        parts = [f"{math.floor(100 * share)} %", amount, f"{tqdm.format_interval(elapsed)} elapsed"]
        if self._first_share < share < 1:
            left = elapsed * (1 - share) / (share - self._first_share)
            parts.append(f"{tqdm.format_interval(left)} left")
        return f"{self._title}: {', '.join([*parts, *([note] if note else [])])}"


def open_progress(title: str, amount: str, share: float = 0.0) -> Progress:
    """A bar where standard error is a terminal that can redraw a line, plain lines elsewhere."""
    return TerminalBar(title, share, amount) if redraws_lines(sys.stderr) else PlainLines(title, share)


def track(items: Iterable[Item], title: str, total: int, unit: str = "files") -> Iterator[Item]:
    """The items, while the share of them that is done is shown. `unit` is a plural."""
    started = time.monotonic()
    with open_progress(title, f"0/{total} {unit}") as progress:
        for done, item in enumerate(items, 1):
            yield item
            rate = done / max(time.monotonic() - started, 1e-9)
            progress.show(done / total, f"{done}/{total} {unit}", f"{rate:.3g} {unit}/s")


def write_above(line: str) -> None:
    """Print a line to standard output; a bar on the terminal stays below it."""
    tqdm.write(line)


class Meter(Closable):
    """Turns what a command counts into a share, an amount and a note."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def close(self) -> None:
        self._progress.close()

    def abandon(self) -> None:
        self._progress.abandon()


class SynthesisProgress(Meter):
    """Progress of synthesis: in utterances, or in seconds of speech where a single utterance's length is known."""

    def __init__(self, utterances: int, seconds: float | None, sample_rate: int) -> None:
        self._utterances, self._seconds, self._sample_rate = utterances, seconds, sample_rate
        self._finished = self._samples = 0
        self._started = time.monotonic()
        super().__init__(open_progress("synthesising", self._amount()))

    def add_samples(self, count: int) -> None:
        """Samples were generated."""
        self._samples += count
        self._show()

    def add_utterances(self, count: int) -> None:
        """Utterances were finished."""
        self._finished += count
        if self._seconds is None:
            self._show()

    def _show(self) -> None:
        speech = self._samples / self._sample_rate
        speed = speech / max(time.monotonic() - self._started, 1e-9)
        total, done = (self._utterances, self._finished) if self._seconds is None else (self._seconds, speech)
        share = min(1.0, done / total) if total else 1.0
        self._progress.show(share, self._amount(), f"{speech:.1f} s of speech, {speed:.3g} × real time")

    def _amount(self) -> str:
        if self._seconds is None:
            return f"{self._finished}/{self._utterances} utterances"
        return f"{self._samples / self._sample_rate:.1f}/{self._seconds:.1f} s"


class TrainingProgress(Meter):
    """Progress of a training run: in steps or in minutes, whichever limit is the nearer one."""

    def __init__(self, trainer: "Trainer") -> None:
        self._trainer, self._note = trainer, ""
        shown = trainer.world.is_first
        super().__init__(open_progress("training", self._amount(), trainer.progress) if shown else Progress())

    def show(self, loss: float, samples_per_second: float) -> None:
        """Show a log interval's mean loss, in nats per sample, and its speed."""
        trainer = self._trainer
        note = {"step": str(trainer.step)} if self._minutes_bind() else {}
        note["loss"] = f"{loss:.3f}"
        if trainer.objective.is_likelihood:
            note[trainer.unit] = f"{loss / math.log(2):.3f}"
        if trainer.state.last_dev_bits is not None:
            note["dev"] = f"{trainer.state.last_dev_bits:.3f}"
        note["samples"] = f"{samples_per_second / 1000:.1f}k/s"
        self._note = ", ".join(f"{key}={value}" for key, value in note.items())
        self._progress.show(trainer.progress, self._amount(), self._note)

    def close(self) -> None:
        if self._note:  # the last steps may be fewer than a log interval
            self._progress.show(self._trainer.progress, self._amount(), self._note)
            self._note = ""
        super().close()

    def _minutes_bind(self) -> bool:
        """Whether the limit in minutes will be reached first, at the pace so far."""
        step, minutes, length = self._trainer.step, self._trainer.state.minutes, self._trainer.config.length
        if length.minutes is None or length.steps is None:
            return length.steps is None
        return minutes / length.minutes >= step / length.steps  # before the first step, minutes

    def _amount(self) -> str:
        step, minutes, length = self._trainer.step, self._trainer.state.minutes, self._trainer.config.length
        return f"{minutes:.1f}/{length.minutes:g} min" if self._minutes_bind() else f"{step}/{length.steps} steps"
