"""Training in a test, and the state of a trainer for comparisons."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vocoder.training import Loop, Monitor, Run, Trainer
from vocoder.training.interrupts import Interrupts


def all_tensors(trainer: Trainer) -> dict[str, Tensor]:
    """Copies of the weights, their average, and the optimiser's state."""
    tensors = {f"model.{name}": tensor for name, tensor in trainer.model.state_dict().items()}
    tensors |= {f"ema.{name}": tensor for name, tensor in trainer.ema.state_dict().items()}
    for index, state in trainer.optimizer.state_dict()["state"].items():
        tensors |= {f"adamax.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
    return {name: tensor.clone() for name, tensor in tensors.items()}


def digest(trainer: Trainer) -> str:
    """SHA-256 of `all_tensors`."""
    found = hashlib.sha256()
    for name, tensor in sorted(all_tensors(trainer).items()):
        found.update(name.encode() + tensor.cpu().numpy().tobytes())
    return found.hexdigest()


def losses(directory: Path) -> list[tuple[int, float]]:
    """(step, loss) from a run's log, at full precision."""
    records = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
    return [(record["step"], record["loss/train"]) for record in records if "loss/train" in record]


def ignore(*_: Any) -> None: ...


def train(trainer: Trainer, directory: Path, show: Callable[[Interrupts, Trainer], None] = ignore) -> None:
    """Run the loop to its end; `show` is called at every log interval."""
    monitor = Monitor(directory, trainer.step)
    try:
        with Interrupts() as interrupts:
            Loop(trainer, Run(directory), monitor, interrupts, lambda *_: show(interrupts, trainer)).train()
    finally:
        monitor.close()


def resumed(trainer: Trainer, directory: Path) -> Trainer:
    """The trainer, restored from the newest checkpoint."""
    checkpoint = Run(directory).recover_newest(ignore)
    assert checkpoint is not None
    trainer.restore(checkpoint)
    return trainer
