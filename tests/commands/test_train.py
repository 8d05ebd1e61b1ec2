"""vocoder-train: signals, refused starts, sweeps, fine-tuning, and the summary at the end."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vocoder.commands import cli
from vocoder.data.store import Store
from vocoder.evaluation import likelihood
from vocoder.features.pre_emphasis import PreEmphasis
from vocoder.model.checkpoint import checkpoints_in, find_checkpoint, open_checkpoint
from vocoder.synthesis import Vocoder, load

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
def test_a_signal_stops_the_run_saved_and_without_leftover_processes(
    speech_store: Store, tiny: list[str], tmp_path: Path, number: signal.Signals, workers: int
) -> None:
    arguments = [f"data={speech_store.directory}", "name=signalled", *tiny, f"training.batch.workers={workers}"]
    process = started(tmp_path, *arguments, "training.length.steps=100000", "training.log_every=1")
    run = tmp_path / "runs/signalled"
    deadline = time.monotonic() + 60
    while not (run / "log.jsonl").exists() or len((run / "log.jsonl").read_text().splitlines()) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    loaders = children(process.pid)
    assert len(loaders) >= workers
    process.send_signal(number)
    time.sleep(0.02)
    process.send_signal(number)  # a second signal has no effect
    output, _ = process.communicate(timeout=30)
    assert process.returncode == 143
    assert "stopped by a signal; run the same command again to resume" in output
    assert "Traceback" not in output
    last = json.loads((run / "log.jsonl").read_text().splitlines()[-1])["step"]
    assert open_checkpoint(checkpoints_in(run)[-1]).step == last
    assert not any(Path(f"/proc/{loader}").exists() for loader in loaders)


def test_a_signal_during_an_evaluation_abandons_it(
    speech_store: Store, tiny: list[str], tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: Any) -> np.ndarray:
        evaluated.append(1)
        if len(evaluated) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return np.ones(1)

    evaluated: list[int] = []
    monkeypatch.setattr(likelihood, "frame_bits", slow)
    arguments = [f"data={speech_store.directory}", "name=slow", f"runs={tmp_path}", *tiny, "training.length.steps=9"]
    stopped = command("train", *arguments, "training.checkpoint.dev_seconds=100")
    assert stopped.code == 143
    assert len(evaluated) == 2  # utterances, of the evaluations of steps 0 and 9
    assert checkpoints_in(tmp_path / "slow")


def test_the_summary_names_the_best_checkpoint_and_the_next_command(
    speech_store: Store, tiny: list[str], tmp_path: Path, command: Command
) -> None:
    arguments = [f"data={speech_store.directory}", "name=done", f"runs={tmp_path}", *tiny, "training.length.steps=2"]
    ended = command("train", *arguments)
    assert ended.code == 0
    *_, last, listen = ended.out.splitlines()
    assert last.startswith(f"{tmp_path}/done: step 2 after ")
    assert "best is step" in last or "none was better" in last
    assert listen.startswith(f"listen: vocoder-synthesize model={tmp_path}/done ")


@pytest.mark.slow
def test_a_sweep_trains_a_run_per_job_and_writes_a_table(
    speech_store: Store, tiny: list[str], tmp_path: Path, script: Command
) -> None:
    arguments = [f"data={speech_store.directory}", "name=sweep", *tiny, "training.length.steps=2"]
    done = script("train", "--multirun", *arguments, "training.optimizer.learning_rate=1e-3,1e-2", cwd=tmp_path)
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


def test_a_fine_tuned_run_starts_with_the_weights_of_the_other(
    command: Command, trained: Path, speech_store: Store, tiny: list[str], tmp_path: Path
) -> None:
    before = find_checkpoint(trained)
    arguments = [f"data={speech_store.directory}", f"runs={tmp_path}", *tiny, f"init_from={trained}"]
    result = command("train", *arguments, "name=tuned", "training.length.steps=1")
    assert result.code == 0
    assert f"starts with the weights of {before.directory}, step {before.step}" in result.out
    initial = open_checkpoint(tmp_path / "tuned/checkpoints/step-00000000")
    assert initial.dev_bits == pytest.approx(before.dev_bits, abs=1e-6)
    again = command("train", *arguments, "name=tuned", "training.length.steps=2")
    assert again.code == 0
    assert "resumes from step 1" in again.out
    missing = command("train", *arguments[:-1], "name=other", "init_from=nowhere")
    assert missing.code == 2
    assert missing.err == "vocoder-train: init_from=nowhere: no such directory; give a run or a checkpoint\n"


def test_pre_emphasised_samples_are_learned_and_undone_and_must_fit_the_other_models(
    command: Command, speech_store: Store, tiny: list[str], tmp_path: Path
) -> None:
    emphasis = ["pre_emphasis.coefficient=0.85", "pre_emphasis.gain=0.55"]
    arguments = [f"data={speech_store.directory}", f"runs={tmp_path}", *tiny, "training.length.steps=2"]
    refused = command("train", *arguments, *emphasis, "name=one", "model.linear_prediction.kind=mel")
    assert (refused.code, "set model.linear_prediction.kind=none" in refused.err) == (2, True)
    plain = "model.linear_prediction.kind=none"
    assert command("train", *arguments, *emphasis, plain, "name=one").code == 0
    one = load(tmp_path / "one", engine="reference")
    assert one.model.pre_emphasis == PreEmphasis(0.85, 0.55)
    entry = speech_store.entries[0]
    checkpoint = find_checkpoint(tmp_path / "one")
    assert checkpoint.dev_bits == pytest.approx(
        likelihood.likelihood(one.model, speech_store, speech_store.split("dev")).per_sample, abs=1e-3
    )
    mel = speech_store.read(entry).mel[:5].T
    drawn = Vocoder(one.model, postfilter=0).synthesize(mel)
    one.model.pre_emphasis = PreEmphasis()
    raw = Vocoder(one.model, postfilter=0).synthesize(mel)
    assert np.corrcoef(drawn[1:] - 0.85 * drawn[:-1], raw[1:])[0, 1] > 0.9
    other = command("train", *arguments, plain, "name=two", f"init_from={tmp_path / 'one'}")
    assert other.code == 2
    assert "give pre_emphasis.coefficient=0.85 pre_emphasis.gain=0.55" in other.err
    assert not (tmp_path / "two").exists()


@pytest.mark.parametrize("runs", ["new/runs", "runs"])
@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("data=nowhere", "nowhere"),
        ("init_from=nowhere", "init_from=nowhere"),
        ("init_from=.", "not a complete model"),
        ("training.batch.segment_frames=100000", "segment_frames"),
        ("training.batch.size=0", "batch.size=0"),
    ],
)
def test_a_refused_start_leaves_nothing_behind(
    speech_store: Store, tiny: list[str], tmp_path: Path, command: Command, wrong: str, words: str, runs: str
) -> None:
    (tmp_path / "runs").mkdir()
    wrong = wrong.replace("=.", f"={speech_store.directory}")
    result = command("train", f"data={speech_store.directory}", "name=run", f"runs={tmp_path}/{runs}", *tiny, wrong)
    assert result.code == 2
    assert words in result.err
    assert list(tmp_path.rglob("*")) == [tmp_path / "runs"]


def test_a_start_without_dev_utterances_is_refused_and_leaves_nothing_behind(
    speech_store: Store, tiny: list[str], tmp_path: Path, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = Store.split
    monkeypatch.setattr(Store, "split", lambda store, name: [] if name == "dev" else split(store, name))
    result = command("train", f"data={speech_store.directory}", "name=run", f"runs={tmp_path}/runs", *tiny)
    assert result.code == 2
    assert "no dev utterances" in result.err
    assert list(tmp_path.iterdir()) == []


def test_a_refused_start_leaves_an_existing_run_as_it_was(
    speech_store: Store, tiny: list[str], tmp_path: Path, command: Command, trained: Path
) -> None:
    before = sorted(trained.rglob("*"))
    arguments = [f"data={speech_store.directory}", f"name={trained.name}", f"runs={trained.parent}", *tiny]
    result = command("train", *arguments, "model.wavenet.layers=2")
    assert result.code == 2
    assert "trained as another model" in result.err
    assert sorted(trained.rglob("*")) == before


@pytest.mark.parametrize(("number", "words"), [(0, "0 steps"), (1, "1 step"), (2, "2 steps")])
def test_counts_of_one_are_singular(number: int, words: str) -> None:
    assert cli.count(number, "step") == words
