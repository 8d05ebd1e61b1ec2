"""Auditions: free-running synthesis of dev utterances during training, logged beside the originals."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.training_state import all_tensors, train

from vocoder.features.mel import MelSpec
from vocoder.training import NullMonitor, Trainer
from vocoder.training.audition import audition
from vocoder.training.config import AuditionConfig
from vocoder.training.interrupts import Interrupted

MakeTrainer = Callable[..., Trainer]


class RecordingMonitor(NullMonitor):
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.waves: dict[str, np.ndarray] = {}
        self.figures: dict[str, dict[str, np.ndarray]] = {}

    def audio(self, step: int, name: str, wave: np.ndarray, sample_rate: int) -> None:
        self.waves[name] = wave

    def pictures(self, step: int, name: str, waves: dict[str, np.ndarray], spec: MelSpec) -> None:
        self.figures[name] = waves


def test_an_audition_logs_the_target_and_the_same_synthesis_every_time(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(audition=AuditionConfig(utterances=1, seconds=0.1))
    first, second = RecordingMonitor(), RecordingMonitor()
    audition(trainer, first)
    torch.rand(7)  # the global generator's state must not matter
    audition(trainer, second)
    name, samples = trainer.dev_entries()[0].id, 8 * trainer.store.spec.hop_length
    assert {key: len(wave) for key, wave in first.waves.items()} == {
        f"target/{name}": samples,
        f"synthesized/{name}": samples,
    }
    assert list(first.figures[f"mel/{name}"]) == ["target", "synthesized, step 0"]
    assert {len(wave) for wave in first.figures[f"mel/{name}"].values()} == {samples}
    assert all(np.array_equal(wave, second.waves[key]) for key, wave in first.waves.items())


def test_an_audition_is_abandoned_when_progress_raises(make_trainer: MakeTrainer) -> None:
    def interrupt(*_: Any) -> None:
        raise Interrupted

    monitor = RecordingMonitor()
    with pytest.raises(Interrupted):
        audition(make_trainer(), monitor, interrupt)
    assert not monitor.waves


def test_auditions_do_not_change_training(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    without, with_auditions = make_trainer(), make_trainer(audition=AuditionConfig(every=2, utterances=2, seconds=0.05))
    train(without, tmp_path / "without")
    train(with_auditions, tmp_path / "with_auditions")
    for name, tensor in all_tensors(without).items():
        assert torch.equal(all_tensors(with_auditions)[name], tensor)
