"""Measures of synthesised dev speech during training, and the best checkpoint by one of them."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from support.training_state import all_tensors, resumed, train

from vocoder.errors import UserError
from vocoder.evaluation import log_mel_distance
from vocoder.model import find_checkpoint
from vocoder.model.checkpoint import checkpoints_in, open_checkpoint
from vocoder.synthesis import Request, Vocoder
from vocoder.training import Trainer, dev_speech
from vocoder.training.config import CheckpointConfig
from vocoder.training.dev_speech import check_measure, measure_dev_speech, score_of

MakeTrainer = Callable[..., Trainer]
BY_LOG_MEL = CheckpointConfig(every=2, keep=1, dev_seconds=1.0, best="log_mel", best_seconds=0.5)


@pytest.fixture(autouse=True)
def log_mel_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other measures take longer, and their packages may be missing."""
    monkeypatch.setattr(dev_speech, "available_measures", lambda: {"log_mel"})


def test_the_measure_is_of_dev_speech_synthesised_from_its_mel(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(checkpoint=BY_LOG_MEL)
    torch.rand(7)  # the global generator's state must not matter
    found = measure_dev_speech(trainer)
    entry = trainer.dev_entries()[0]
    mel = torch.from_numpy(np.array(trainer.store.read(entry).mel.T))
    (wave,) = Vocoder(trainer.ema_model()).synthesize_batch([Request(entry.id, mel.numpy())], trainer.config.seed)
    assert found == {"log_mel": pytest.approx(log_mel_distance(torch.from_numpy(wave), mel, trainer.store.spec))}


def test_a_score_is_lower_for_what_is_better(make_trainer: MakeTrainer) -> None:
    by_mel = make_trainer(checkpoint=BY_LOG_MEL)
    assert score_of(by_mel, {"log_mel": 3.0}) < score_of(by_mel, {"log_mel": 4.0})
    by_mos = make_trainer(checkpoint=CheckpointConfig(best="mos"))
    assert score_of(by_mos, {"mos": 4.0}) < score_of(by_mos, {"mos": 3.0}) < score_of(by_mos, {}) == math.inf


def test_a_measure_whose_package_is_missing_is_refused(make_trainer: MakeTrainer) -> None:
    check_measure(make_trainer(checkpoint=BY_LOG_MEL))
    with pytest.raises(UserError, match=r"training\.checkpoint\.best=pesq: its package is not installed"):
        check_measure(make_trainer(checkpoint=CheckpointConfig(best="pesq")))


def test_the_best_checkpoint_by_a_measure_is_kept_and_found(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer = make_trainer(checkpoint=BY_LOG_MEL)
    train(trainer, tmp_path)
    records = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    distances = {r["step"]: r["free_running/log_mel"] for r in records if "free_running/log_mel" in r}
    assert set(distances) == {0, 2, 4, 6}
    best = min(distances, key=lambda step: (distances[step], -step))
    assert find_checkpoint(tmp_path).step == best
    assert {open_checkpoint(path).step for path in checkpoints_in(tmp_path)} == {best, 6}
    again = resumed(make_trainer(checkpoint=BY_LOG_MEL), tmp_path)
    assert again.state.dev_score == trainer.state.dev_score == distances[6]


def test_measuring_does_not_change_training(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    without, measured = make_trainer(), make_trainer(checkpoint=BY_LOG_MEL)
    train(without, tmp_path / "without")
    train(measured, tmp_path / "measured")
    assert all(torch.equal(all_tensors(measured)[name], tensor) for name, tensor in all_tensors(without).items())
