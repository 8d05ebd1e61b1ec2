"""Progress: bars on a terminal, plain lines elsewhere, and the units that they count in."""

import io
import os
import sys
from collections.abc import Callable
from contextlib import redirect_stderr
from types import SimpleNamespace
from typing import Any

import pytest

from vocoder.commands import progress
from vocoder.commands.progress import SynthesisProgress, TrainingProgress, open_progress, track
from vocoder.commands.streams import write_line

Read = Callable[[], str]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that only the test moves."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress.time, "monotonic", lambda: clock.now)
    return clock


@pytest.fixture
def log(capsys: pytest.CaptureFixture[str]) -> Read:
    """Standard error as a file; reads what was written to it."""
    return lambda: capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """A terminal, for redirect_stderr: pytest sets sys.stderr after the fixtures."""
    monkeypatch.setenv("TERM", "xterm")
    return Terminal()


def run_for(seconds: float, clock: SimpleNamespace, count: int = 1000) -> None:
    for _ in track(range(count), "working", count):
        clock.now += seconds / count


def trainer(
    steps: int | None,
    minutes: float | None,
    step: int = 0,
    after: float = 0.0,
    last_dev_bits: float | None = None,
    **changes: Any,
) -> Any:
    shares = [step / steps if steps else 0, after / minutes if minutes else 0]
    fields = {
        "config": SimpleNamespace(length=SimpleNamespace(steps=steps, minutes=minutes)),
        "world": SimpleNamespace(is_first=True),
        "objective": SimpleNamespace(is_likelihood=True),
        "state": SimpleNamespace(minutes=after, last_dev_bits=last_dev_bits),
        **{"step": step, "progress": max(shares), "unit": "bits"},
    }
    return SimpleNamespace(**fields | changes)


def test_short_work_without_a_terminal_is_one_line(clock: SimpleNamespace, log: Read) -> None:
    run_for(9, clock)
    assert log() == "working: 100 %, 1000/1000 files, 00:09 elapsed, 111 files/s\n"


@pytest.mark.parametrize(("seconds", "lines"), [(30, 3), (100, 10), (3000, 10), (60_000, 100)])
def test_lines_are_ten_seconds_and_a_tenth_apart_but_no_more_than_ten_minutes(
    clock: SimpleNamespace, log: Read, seconds: float, lines: int
) -> None:
    run_for(seconds, clock)
    printed = log()
    assert len(printed.splitlines()) in (lines, lines - 1)  # the clock moves in steps
    assert "\r" not in printed
    assert printed.splitlines()[-1].startswith("working: 100 %, 1000/1000 files, ")


def test_a_line_has_the_time_left(clock: SimpleNamespace, log: Read) -> None:
    run_for(100, clock, count=4)
    assert log().splitlines()[0] == "working: 25 %, 1/4 files, 00:25 elapsed, 01:15 left, 0.04 files/s"


def test_on_a_terminal_a_bar_is_redrawn(terminal: Terminal) -> None:
    with redirect_stderr(terminal):
        assert list(track("abc", "working", 3)) == ["a", "b", "c"]
    states = terminal.getvalue().split("\r")
    assert states[1].startswith("working:   0%|")
    assert "| 0/3 files [" in states[1]
    assert states[-1].startswith("working: 100%|")
    assert "| 3/3 files [" in states[-1]
    assert states[-1].endswith("files/s]\n")


def test_a_dumb_terminal_gets_lines(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    with redirect_stderr(terminal):
        assert list(track("abc", "working", 3)) == ["a", "b", "c"]
    printed = terminal.getvalue()
    assert printed.startswith("working: 100 %, 3/3 files, ")
    assert "\r" not in printed


def test_work_ends_though_nobody_can_read_its_progress(monkeypatch: pytest.MonkeyPatch) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    for stream in (None, os.fdopen(writer, "w")):
        monkeypatch.setattr(sys, "stderr", stream)
        assert list(track("abc", "working", 3)) == ["a", "b", "c"]
    write_line(stream, "and the null device takes the rest")
    stream.close()


def test_work_that_fails_leaves_the_last_word_to_its_error(log: Read) -> None:
    def fail() -> None:
        with open_progress("working", "0/3 files") as shown:
            shown.show(0.5, "1/3 files")
            raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        fail()
    assert log() == ""


def test_work_without_items_says_nothing(log: Read) -> None:
    assert list(track([], "working", 0)) == []
    assert log() == ""


def test_a_single_utterance_is_counted_in_seconds_of_speech(clock: SimpleNamespace, log: Read) -> None:
    with SynthesisProgress(1, 2.0, 16000) as bar:
        clock.now = 11
        bar.add_samples(16000)
        clock.now = 20
        bar.add_samples(16000)
        bar.add_utterances(1)
    assert log().splitlines() == [
        "synthesising: 50 %, 1.0/2.0 s, 00:11 elapsed, 00:11 left, 1.0 s of speech, 0.0909 × real time",
        "synthesising: 100 %, 2.0/2.0 s, 00:20 elapsed, 2.0 s of speech, 0.1 × real time",
    ]


def test_several_utterances_are_counted(clock: SimpleNamespace, log: Read) -> None:
    with SynthesisProgress(4, None, 16000) as bar:
        bar.add_samples(16000)
        clock.now = 12
        bar.add_utterances(1)
    assert log().startswith("synthesising: 25 %, 1/4 utterances, 00:12 elapsed, 00:36 left, 1.0 s of speech")


@pytest.mark.parametrize(
    ("steps", "minutes", "step", "after", "shown"),
    [
        (1000, None, 250, 1.0, "training: 25 %, 250/1000 steps, "),
        (None, 60.0, 250, 15.0, "training: 25 %, 15.0/60 min, "),
        (500_000, 60.0, 250, 15.0, "training: 25 %, 15.0/60 min, "),
        (500_000, 0.5, 250, 0.125, "training: 25 %, 0.1/0.5 min, "),
        (1000, 60.0, 500, 15.0, "training: 50 %, 500/1000 steps, "),
    ],
)
def test_training_counts_towards_the_limit_that_is_nearer(
    log: Read, steps: int | None, minutes: float | None, step: int, after: float, shown: str
) -> None:
    with TrainingProgress(trainer(steps, minutes, step, after)) as bar:
        bar.show(1.0, 2000.0)
    (line,) = log().splitlines()
    assert line.startswith(shown)
    assert (f"step={step}" in line) == ("min" in shown)
    assert line.endswith("loss=1.000, bits=1.443, samples=2.0k/s")


def test_training_shows_what_it_measures(log: Read) -> None:
    with TrainingProgress(
        trainer(10, None, 5, last_dev_bits=7.5, objective=SimpleNamespace(is_likelihood=False))
    ) as bar:
        bar.show(1.0, 2000.0)
    assert log().endswith("loss=1.000, dev=7.500, samples=2.0k/s\n")


def test_a_minutes_bar_on_a_terminal_starts_in_minutes(terminal: Terminal) -> None:
    run = trainer(500_000, 60.0)
    with redirect_stderr(terminal), TrainingProgress(run) as bar:
        run.step, run.state.minutes, run.progress = 20, 30.0, 0.5
        bar.show(1.0, 2000.0)
    first, *_, last = terminal.getvalue().split("\r")[1:]
    assert first.startswith("training:   0%|")
    assert "| 0.0/60 min [" in first
    assert last.startswith("training:  50%|")
    assert "| 30.0/60 min [" in last
    assert ", step=20, loss=1.000" in last


def test_the_last_line_of_training_has_its_last_step(log: Read) -> None:
    run = trainer(30, None, 20)
    with TrainingProgress(run) as bar:
        bar.show(1.0, 2000.0)
        run.step, run.progress = 30, 1.0
    (line,) = log().splitlines()
    assert line.startswith("training: 100 %, 30/30 steps, ")


def test_only_the_first_process_of_a_run_shows_its_progress(log: Read) -> None:
    with TrainingProgress(trainer(10, None, 5, world=SimpleNamespace(is_first=False))) as bar:
        bar.show(1.0, 2000.0)
    assert log() == ""
