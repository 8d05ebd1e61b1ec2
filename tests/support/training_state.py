"""All of a trainer that decides how it goes on, to be compared."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vocoder.training import Loop, Monitor, Run, Trainer
from vocoder.training.interrupts import Interrupts


def everything(trainer: Trainer) -> dict[str, Tensor]:
    """Weights, their average, and the optimiser's state."""
    tensors = {f"model.{name}": tensor for name, tensor in trainer.model.state_dict().items()}
    tensors |= {f"ema.{name}": tensor for name, tensor in trainer.averaged.state_dict().items()}
    for index, state in trainer.optimizer.state_dict()["state"].items():
        tensors |= {f"adamax.{index}.{name}": torch.as_tensor(value) for name, value in state.items()}
    return {name: tensor.clone() for name, tensor in tensors.items()}


def digest(trainer: Trainer) -> str:
    """SHA-256 over all of that."""
    found = hashlib.sha256()
    for name, tensor in sorted(everything(trainer).items()):
        found.update(name.encode() + tensor.cpu().numpy().tobytes())
    return found.hexdigest()


def losses(directory: Path) -> list[tuple[int, float]]:
    """The losses in a run's log, at full precision."""
    records = [json.loads(line) for line in (directory / "log.jsonl").read_text().splitlines()]
    return [(record["step"], record["loss/train"]) for record in records if "loss/train" in record]


def ignore(*_: Any) -> None: ...


def train(trainer: Trainer, directory: Path, bar: Callable[..., None] = ignore) -> None:
    monitor = Monitor(directory, trainer.step)
    try:
        with Interrupts() as interrupts:
            Loop(trainer, Run(directory), monitor, interrupts, lambda *_: bar(interrupts, trainer)).train()
    finally:
        monitor.close()


def resumed(trainer: Trainer, directory: Path) -> Trainer:
    """A new trainer where the newest checkpoint left it."""
    checkpoint = Run(directory).newest(ignore)
    assert checkpoint is not None
    trainer.restore(checkpoint)
    return trainer
