"""Processes started by torchrun: they compute what one process computes, and they stop, fail and restart together."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch.distributed as dist
from support.overrides import TINY
from support.training_state import losses
from torch import Tensor

from vocoder.data.store import Store
from vocoder.model.checkpoint import checkpoints_in
from vocoder.training.distributed import agree_on_prefix

pytestmark = pytest.mark.slow
BIN = Path(sys.executable).parent
SETTINGS = [
    *TINY,
    "training.precision=float32",
    "training.schedule.warmup_steps=0",
    "training.log_every=1",
]


def torchrun(processes: int, *options: str) -> list[str | Path]:
    return [BIN / "torchrun", "--standalone", f"--nproc-per-node={processes}", *options, "--no-python"]


def start(
    store: Store, folder: Path, *settings: str, launcher: list[str | Path] | None = None
) -> subprocess.Popen[str]:
    command = [*(launcher or []), BIN / "vocoder-train", f"data={store.directory}", *SETTINGS, *settings]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True, **pipes)  # type: ignore[call-overload, no-any-return]


def finished(process: subprocess.Popen[str], timeout: float = 120) -> tuple[int, str]:
    try:
        output, _ = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, output


def newest(run: Path, name: str = "model") -> dict[str, Tensor]:
    return safetensors.torch.load_file(checkpoints_in(run)[-1] / f"{name}.safetensors")


def children(process: subprocess.Popen[str]) -> list[int]:
    """The process ids of a torchrun's training processes."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            lines = status.read_text().splitlines()
        except OSError:  # it has ended
            continue
        if f"PPid:\t{process.pid}" in lines and "vocoder-train" in (status.parent / "cmdline").read_text():
            found.append(int(status.parent.name))
    return sorted(found)


def wait_for(condition: Callable[[], Any], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_two_processes_train_like_one_with_the_whole_batch(speech_store: Store, tmp_path: Path) -> None:
    length = "training.length.steps=20"
    assert finished(start(speech_store, tmp_path, "name=one", length))[0] == 0
    assert finished(start(speech_store, tmp_path, "name=two", length, launcher=torchrun(2)))[0] == 0
    one, two = tmp_path / "runs/one", tmp_path / "runs/two"
    initial = safetensors.torch.load_file(checkpoints_in(one)[0] / "model.safetensors")
    for name in ("model", "ema"):
        ours, theirs = newest(two, name), newest(one, name)
        for key, weights in theirs.items():
            if "conditioning.mean" in key or "conditioning.std" in key:
                assert float((ours[key] - weights).norm()) == 0
                continue
            assert float((ours[key] - weights).norm() / weights.norm()) <= 1e-6
            if name == "model":  # and training did change the weights
                assert float((initial[key] - weights).norm()) > 1e3 * float((ours[key] - weights).norm())
    assert [step for step, _ in losses(two)] == list(range(1, 21))
    for (_, mine), (_, other) in zip(losses(two), losses(one), strict=True):
        assert mine == pytest.approx(other, rel=1e-6)


def test_a_batch_size_that_is_no_multiple_of_the_processes_is_refused(speech_store: Store, tmp_path: Path) -> None:
    code, output = finished(start(speech_store, tmp_path, "name=odd", "training.batch.size=3", launcher=torchrun(2)))
    assert code != 0
    assert "batch.size=3: this is the batch of all 2 processes together; take a multiple of 2" in output


def test_after_a_killed_process_is_restarted_the_run_ends_like_an_uninterrupted_one(
    speech_store: Store, tmp_path: Path
) -> None:
    settings = ["training.length.steps=160", "training.checkpoint.every=20"]
    assert finished(start(speech_store, tmp_path, "name=uninterrupted", *settings, launcher=torchrun(2)))[0] == 0
    killed = start(speech_store, tmp_path, "name=killed", *settings, launcher=torchrun(2, "--max-restarts=2"))
    run = tmp_path / "runs/killed"
    wait_for(lambda: len(checkpoints_in(run)) > 2)
    os.kill(children(killed)[1], signal.SIGKILL)
    code, output = finished(killed)
    assert code == 0, output
    assert "resumes from step" in output
    for name in ("model", "ema"):
        expected = newest(tmp_path / "runs/uninterrupted", name)
        assert all((newest(run, name)[key] == weights).all() for key, weights in expected.items())
    assert losses(run) == losses(tmp_path / "runs/uninterrupted")


# One of four processes dies, and after the restart one process starts late: until it does, the others find the address
# of its dead predecessor in the store. (With two processes this often goes well by chance: gloo compares ports to
# decide which of them connects.)
LATE = """
import os, signal, time, torch
from vocoder.training import process_group

restarted, rank = os.environ["TORCHELASTIC_RESTART_COUNT"] == "1", os.environ["RANK"]
if restarted and rank == os.environ["LATE"]:
    time.sleep(3)
with process_group(torch.device("cpu")) as world:
    world.barrier()
    if not restarted and rank == "1":
        os.kill(os.getpid(), signal.SIGKILL)
    print(world.all_reduce_sum([world.rank + 1], torch.device("cpu")))
"""


@pytest.mark.parametrize("late", ["0", "3"])
def test_restarted_processes_connect_to_the_late_process_and_not_to_the_dead_one(tmp_path: Path, late: str) -> None:
    script = tmp_path / "late.py"
    script.write_text(LATE)
    command = [BIN / "torchrun", "--standalone", "--nproc-per-node=4", "--max-restarts=1", script]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "LATE": late}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("[10.0]") == 4


@pytest.mark.parametrize("late", range(3))
def test_processes_agree_on_a_prefix_that_is_new_in_the_store(late: int) -> None:
    store, size = dist.HashStore(), 3

    def arrive(rank: int) -> str:
        if rank == late:
            time.sleep(0.2)
        return agree_on_prefix(store, rank, size)

    with ThreadPoolExecutor(size) as pool:
        store.set("ask/1", "a request of a process that died before the answer")
        starts = [set(pool.map(arrive, range(size))) for _ in range(5)]
    assert [len(prefixes) for prefixes in starts] == [1] * 5
    assert len(set.union(*starts)) == 5


def test_when_a_process_dies_the_others_stop_with_a_clear_error(speech_store: Store, tmp_path: Path) -> None:
    process = start(speech_store, tmp_path, "name=dead", "training.length.steps=100000", launcher=torchrun(2))
    wait_for(lambda: (tmp_path / "runs/dead/log.jsonl").exists())
    processes = children(process)
    os.kill(processes[1], signal.SIGKILL)
    code, output = finished(process, timeout=60)
    assert code != 0
    assert "SIGKILL" in output or "Signal 9" in output
    assert "vocoder-train: another process of this run is gone" in output
    assert "RuntimeError" not in output
    assert not any(Path(f"/proc/{pid}").exists() for pid in processes)


def test_sigterm_to_torchrun_stops_all_processes_and_saves(speech_store: Store, tmp_path: Path) -> None:
    process = start(speech_store, tmp_path, "name=ended", "training.length.steps=100000", launcher=torchrun(2))
    run = tmp_path / "runs/ended"
    wait_for(lambda: (run / "log.jsonl").exists() and len(losses(run)) > 5)
    processes = children(process)
    os.kill(process.pid, signal.SIGTERM)
    code, output = finished(process, timeout=60)
    assert code != 0
    assert "stopped by a signal" in output
    assert checkpoints_in(run)[-1].name == f"step-{losses(run)[-1][0]:08d}"
    assert not any(Path(f"/proc/{pid}").exists() for pid in processes)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_to_one_process_stops_all_at_the_same_step_and_saves(
    speech_store: Store, tmp_path: Path, number: signal.Signals
) -> None:
    process = start(speech_store, tmp_path, "name=signalled", "training.length.steps=100000", launcher=torchrun(2))
    run = tmp_path / "runs/signalled"
    wait_for(lambda: (run / "log.jsonl").exists() and len(losses(run)) > 5)
    os.kill(children(process)[1], number)
    code, output = finished(process, timeout=60)
    assert code != 0
    assert "stopped by a signal" in output
    last = json.loads((run / "log.jsonl").read_text().splitlines()[-1])["step"]
    assert checkpoints_in(run)[-1].name == f"step-{last:08d}"
