"""Training runs in forked processes, which the torture tests kill and inspect."""

import hashlib
import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from scripts.benchmarks.stores import noise_store
from vocoder.commands import cli, train
from vocoder.errors import UserError
from vocoder.model.checkpoint import checkpoints_in, open_checkpoint
from vocoder.training import Run

TINY = [
    *("model.wavenet.layers=4", "model.wavenet.stacks=2", "model.wavenet.kernel_size=2", "device=cpu"),
    *("model.wavenet.residual_channels=8", "model.wavenet.gate_channels=16", "model.wavenet.skip_channels=8"),
    *("model.conditioning.channels=8", "distribution.components=3", "training.audition.every=0"),
    *("training.batch.size=2", "training.batch.segment_frames=2", "training.precision=float32"),
    *("training.checkpoint.every=3", "training.checkpoint.dev_seconds=0.1", "training.log_every=1"),
]
ENDLESS = "training.length.steps=1000000"
# Each test of a promise yields (what counts as a failure, trials, failures).
Figures = Iterator[tuple[str, int, int]]


class Torture:
    """A store and a folder of runs; `scale` multiplies the number of trials."""

    def __init__(self, folder: Path, scale: float, seed: int) -> None:
        self.folder, self.scale, self.random = folder, scale, random.Random(seed)
        self.store = folder / "store"
        self.store.mkdir()
        noise_store(self.store, "speech_16k", utterances=40)

    def times(self, count: int) -> int:
        return max(2, round(count * self.scale))

    def run(self, name: str) -> Run:
        return Run(self.folder / "runs" / name)

    def config(self, name: str, *settings: str) -> dict[str, Any]:
        run = self.run(name).directory
        given = [f"data={self.store}", f"name={run.name}", f"runs={run.parent}", *TINY, *settings]
        return cli.compose("train", given)

    def start(self, name: str, *settings: str) -> int:
        """Start a training process; returns its id. Its output is appended to a file in the torture's folder."""
        config = self.config(name, *settings)
        pid = os.fork()
        if pid:
            return pid
        with (self.folder / f"{name.replace('/', '-')}.output").open("a") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            os._exit(self.work(config))

    @staticmethod
    def work(config: dict[str, Any]) -> int:
        torch.set_num_threads(1)
        code = 1
        try:
            code = cli.report_errors("vocoder-train", lambda: train.job(config))
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)  # in `finally`, so that no error reaches the parent's code

    def train(self, name: str, *settings: str) -> int:
        """Train a run until its process ends; returns the exit code."""
        return os.waitstatus_to_exitcode(os.waitpid(self.start(name, *settings), 0)[1])

    def in_process(self, work: Callable[[], list[int]]) -> list[int]:
        """The result of `work`, computed in a process of its own."""
        file = self.folder / "result.json"
        code = in_child(lambda: file.write_text(json.dumps(work())) * 0)
        if code:
            raise RuntimeError(f"the child ended with {code}")
        numbers: list[int] = json.loads(file.read_text())
        return numbers

    def digest(self, name: str) -> str:
        """SHA-256 of everything a resumed run depends on, and of the losses."""
        newest = checkpoints_in(self.run(name).directory)[-1]
        found = hashlib.sha256()
        for file in ("model.safetensors", "ema.safetensors"):
            found.update((newest / file).read_bytes())
        state = open_checkpoint(newest).train_state()
        for index, tensors in sorted(state["optimizer"]["state"].items()):
            for key, tensor in sorted(tensors.items()):
                found.update(f"{index} {key}".encode() + torch.as_tensor(tensor).numpy().tobytes())
        found.update(repr((state["step"], state["guard"], state["pending"], self.losses(name))).encode())
        return found.hexdigest()

    def losses(self, name: str) -> list[tuple[int, float]]:
        lines = (self.run(name).directory / "log.jsonl").read_text().splitlines()
        records = [json.loads(line) for line in lines]
        return [(record["step"], record["loss/train"]) for record in records if "loss/train" in record]


def newest_step(run: Run) -> int | None:
    """The step of the newest undamaged checkpoint, if there is one."""
    try:
        checkpoint = run.recover_newest(lambda message: None)
    except UserError:
        return None
    return checkpoint.step if checkpoint else None


def in_child(work: Callable[[], int]) -> int:
    """The exit code of `work` in a forked process, whose output is discarded."""
    pid = os.fork()
    if pid == 0:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)
        code = 1
        try:
            torch.set_num_threads(1)
            code = work()
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def children_of(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text().split()]


def wait_until(condition: Callable[[], object], process: int, seconds: float = 60) -> None:
    """Wait until the condition holds, the process has ended, or the time is over."""
    deadline = time.monotonic() + seconds
    while not condition() and not has_ended(process) and time.monotonic() < deadline:
        time.sleep(0.001)


def has_ended(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(") ", 1)[1].startswith("Z")
    except OSError:
        return True
