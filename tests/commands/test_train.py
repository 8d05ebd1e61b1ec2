"""vocoder-train: signals, sweeps, and what it says at the end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vocoder.data.store import Store
from vocoder.evaluation import likelihood
from vocoder.model.checkpoint import checkpoints_in, find_checkpoint, open_checkpoint

Command = Callable[..., Any]


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    program = Path(sys.executable).parent / "vocoder-train"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen([program, *arguments], cwd=folder, env=environment, **pipes)  # type: ignore[call-overload, no-any-return]


def children(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


@pytest.mark.slow
@pytest.mark.parametrize(("number", "workers"), [(signal.SIGTERM, 0), (signal.SIGTERM, 2), (signal.SIGUSR1, 2)])
def test_a_signal_saves_and_leaves_no_process_behind(
    speech_store: Store, tiny: list[str], tmp_path: Path, number: signal.Signals, workers: int
) -> None:
    settings = [f"data={speech_store.directory}", "name=told", *tiny, f"training.batch.workers={workers}"]
    process = started(tmp_path, *settings, "training.length.steps=100000", "training.log_every=1")
    run = tmp_path / "runs/told"
    deadline = time.monotonic() + 60
    while not (run / "log.jsonl").exists() or len((run / "log.jsonl").read_text().splitlines()) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    loaders = children(process.pid)
    assert len(loaders) >= workers
    process.send_signal(number)
    time.sleep(0.02)
    process.send_signal(number)  # a second one changes nothing
    said, _ = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "stopped by a signal; the same command goes on from here" in said
    assert "Traceback" not in said
    last = json.loads((run / "log.jsonl").read_text().splitlines()[-1])["step"]
    assert open_checkpoint(checkpoints_in(run)[-1]).step == last
    assert not any(Path(f"/proc/{loader}").exists() for loader in loaders)


def test_a_signal_during_an_evaluation_does_not_wait_for_its_end(
    speech_store: Store, tiny: list[str], tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: Any) -> float:
        evaluated.append(1)
        if len(evaluated) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return 1.0

    evaluated: list[int] = []
    monkeypatch.setattr(likelihood, "_nats", slow)
    monkeypatch.setattr(likelihood, "PIECE_FRAMES", 1)
    given = [f"data={speech_store.directory}", "name=slow", f"runs={tmp_path}", *tiny, "training.length.steps=9"]
    stopped = command("train", *given, "training.checkpoint.dev_seconds=100")
    assert stopped.code == 143
    frames = [entry.frames for entry in speech_store.split("dev")]
    assert len(evaluated) <= max(frames) < sum(frames) or len(frames) == 1
    assert checkpoints_in(tmp_path / "slow")


def test_the_end_says_what_was_best_and_what_to_run_next(
    speech_store: Store, tiny: list[str], tmp_path: Path, command: Command
) -> None:
    given = [f"data={speech_store.directory}", "name=done", f"runs={tmp_path}", *tiny, "training.length.steps=2"]
    ended = command("train", *given)
    assert ended.code == 0
    *_, last, listen = ended.out.splitlines()
    assert last.startswith(f"{tmp_path}/done: step 2 after ")
    assert "best is step" in last or "none was better" in last
    assert listen.startswith(f"listen: vocoder-synthesize model={tmp_path}/done ")


@pytest.mark.slow
def test_a_sweep_has_a_run_for_each_of_its_jobs_and_a_table(
    speech_store: Store, tiny: list[str], tmp_path: Path, script: Command
) -> None:
    given = [f"data={speech_store.directory}", "name=sweep", *tiny, "training.length.steps=2"]
    done = script("train", "--multirun", *given, "training.optimizer.learning_rate=1e-3,1e-2", cwd=tmp_path)
    assert done.code == 0, done.err
    assert sorted(path.name for path in (tmp_path / "runs").iterdir()) == ["sweep-0", "sweep-1", "sweep.sweep.md"]
    head, _, *rows = (tmp_path / "runs/sweep.sweep.md").read_text().splitlines()
    assert head == "| settings | best dev bits | at step | steps | run |"
    rates = {float(row.split(" | ")[0].removeprefix("| training.optimizer.learning_rate=")) for row in rows}
    assert rates == {1e-3, 1e-2}
    bits = [float(row.split(" | ")[1]) for row in rows]
    assert bits == sorted(bits)
    assert all(row in done.out for row in rows)
    assert not (tmp_path / "multirun").exists()


def test_a_fine_tuned_run_starts_where_the_other_ended(
    command: Command, trained: Path, speech_store: Store, tiny: list[str], tmp_path: Path
) -> None:
    before = find_checkpoint(trained)
    given = [f"data={speech_store.directory}", f"runs={tmp_path}", *tiny, f"init_from={trained}"]
    result = command("train", *given, "name=tuned", "training.length.steps=1")
    assert result.code == 0
    assert f"begins with {before.directory}, step {before.step}" in result.out
    begun = open_checkpoint(tmp_path / "tuned/checkpoints/step-00000000")
    assert begun.dev_bits == pytest.approx(before.dev_bits, abs=1e-6)
    again = command("train", *given, "name=tuned", "training.length.steps=2")
    assert again.code == 0
    assert "goes on from step 1" in again.out
    missing = command("train", *given[:-1], "name=other", "init_from=nowhere")
    assert missing.code == 2
    assert "nowhere" in missing.err
