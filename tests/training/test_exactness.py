"""Resumed runs equal uninterrupted ones to the bit."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.training_state import all_tensors, digest, losses, resumed, train

from vocoder.data.dataset import Batch, Margins, SegmentBatches
from vocoder.data.store import Store
from vocoder.model import VocoderConfig, load_model
from vocoder.model.checkpoint import checkpoints_in, open_checkpoint
from vocoder.training import Trainer
from vocoder.training.config import BatchConfig, LengthConfig, LossConfig
from vocoder.training.trainer import StepResult

MakeTrainer = Callable[..., Trainer]
one_core = pytest.mark.filterwarnings("ignore:This DataLoader will create")


def with_(config: VocoderConfig, **changes: Any) -> VocoderConfig:
    return replace(config, model=replace(config.model, wavenet=replace(config.model.wavenet, **changes)))


def stopping_at(step: int, trainer: Trainer) -> Trainer:
    """The trainer, changed to send its process a signal during the given step."""
    train_step = trainer.train_step

    def interrupted(batch: Batch) -> StepResult:
        if trainer.step == step - 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return train_step(batch)

    trainer.train_step = interrupted  # type: ignore[method-assign]
    return trainer


@one_core
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"batch": BatchConfig(4, 2, workers=2)},
        {"batch": BatchConfig(4, 2, accumulate=2)},
        {"batch": BatchConfig(4, 2, recompute=True)},
        {"batch": BatchConfig(4, 2, sampling="utterances")},
        {"precision": "bfloat16"},
        {"precision": "float16"},
        {"batch": BatchConfig(2, 6), "loss": LossConfig(spectral_weight=0.1)},
    ],
    ids=["plain", "workers", "parts", "recomputed", "utterances", "bfloat16", "float16", "spectral"],
)
@pytest.mark.parametrize("log_every", [1, 4])
def test_a_resumed_run_equals_the_uninterrupted_one(
    make_trainer: MakeTrainer, tmp_path: Path, changes: dict[str, Any], log_every: int
) -> None:
    def make() -> Trainer:
        return make_trainer(**changes, log_every=log_every, length=LengthConfig(steps=8))

    uninterrupted = make()
    train(uninterrupted, tmp_path / "uninterrupted")
    stopped = stopping_at(5, make())  # with log_every=4, a loss is not logged yet
    train(stopped, tmp_path / "stopped")
    assert stopped.step == 5
    torch.rand(7)  # the global generator's state must not matter
    again = resumed(make(), tmp_path / "stopped")
    train(again, tmp_path / "stopped")
    assert digest(again) == digest(uninterrupted)
    assert losses(tmp_path / "stopped") == losses(tmp_path / "uninterrupted")
    assert again.state.dev_bits == uninterrupted.state.dev_bits


def test_dropout_is_a_function_of_seed_and_batch(
    make_trainer: MakeTrainer, config: VocoderConfig, tmp_path: Path
) -> None:
    dropping = with_(config, dropout=0.3)
    uninterrupted = make_trainer(model=dropping)
    train(uninterrupted, tmp_path / "uninterrupted")
    train(stopping_at(3, make_trainer(model=dropping)), tmp_path / "stopped")
    torch.rand(7)
    again = resumed(make_trainer(model=dropping), tmp_path / "stopped")
    train(again, tmp_path / "stopped")
    assert digest(again) == digest(uninterrupted)
    plain = make_trainer()
    train(plain, tmp_path / "plain")
    assert digest(plain) != digest(uninterrupted)
    batch = uninterrupted.data[0]
    assert uninterrupted.objective(batch, 0) != uninterrupted.objective(batch, 1)
    assert uninterrupted.evaluate() == uninterrupted.evaluate()  # no dropout in evaluation


def test_recomputed_activations_give_the_same_gradients_to_the_bit(make_trainer: MakeTrainer) -> None:
    kept, recomputed = make_trainer(), make_trainer(batch=BatchConfig(4, 2, recompute=True))
    for trainer in (kept, recomputed):
        trainer.train_step(trainer.data[0])
    assert digest(kept) == digest(recomputed)


@one_core
@pytest.mark.parametrize("sampling", ["lengths", "utterances", "speakers"])
def test_segments_do_not_depend_on_workers_or_processes(speech_store: Store, sampling: Any) -> None:
    def ids_and_sums(workers: int, rank: int, size: int) -> list[tuple[str, float]]:
        data = SegmentBatches(speech_store, 4, 3, Margins(2, 2), 1, sampling, rank, size)
        batches = data.batches(5, workers, pin_memory=False)
        found = [next(batches) for _ in range(6)]
        return [
            (id, float(wave.double().sum())) for batch in found for id, wave in zip(batch.ids, batch.waves, strict=True)
        ]

    alone = ids_and_sums(0, 0, 1)
    for workers in (1, 4):
        assert ids_and_sums(workers, 0, 1) == alone
    for size in (2, 4):
        shares = [ids_and_sums(0, rank, size) for rank in range(size)]
        each = 4 // size
        together = [item for n in range(6) for share in shares for item in share[n * each : (n + 1) * each]]
        assert together == alone


def test_folding_weight_norm_leaves_the_output_of_the_network_unchanged(
    make_trainer: MakeTrainer, config: VocoderConfig, tmp_path: Path
) -> None:
    trainer = make_trainer(model=with_(config, weight_norm=True))
    train(trainer, tmp_path)
    assert any("original0" in name for name in all_tensors(trainer))
    loaded = load_model(open_checkpoint(checkpoints_in(tmp_path)[-1]))
    assert not any("original" in name for name in loaded.state_dict())
    batch = trainer.data[0]
    expected = trainer.ema_model().eval()(batch.waves, batch.mel)
    torch.testing.assert_close(loaded(batch.waves, batch.mel), expected, rtol=0, atol=1e-5)
    plain = make_trainer()
    assert torch.equal(plain.model.wavenet.hidden.weight, make_trainer().model.wavenet.hidden.weight)
