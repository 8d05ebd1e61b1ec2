"""The trainer: steps, evaluation, saving and restoring."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.training_state import all_tensors, train
from torch import Tensor

from vocoder.distributions import MixtureOfLogistics
from vocoder.errors import UserError
from vocoder.features.audio import int16_to_grid
from vocoder.model import LinearPredictionConfig, VocoderConfig, extend_edges
from vocoder.model.checkpoint import checkpoints_in, open_checkpoint
from vocoder.training import Trainer
from vocoder.training.config import (
    BatchConfig,
    LengthConfig,
    OptimizerConfig,
)

MakeTrainer = Callable[..., Trainer]


def with_prediction(config: VocoderConfig, kind: Any) -> VocoderConfig:
    return replace(config, model=replace(config.model, linear_prediction=LinearPredictionConfig(kind)))


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


def take_steps(trainer: Trainer, count: int) -> list[float]:
    return [float(trainer.train_step(trainer.data[trainer.step])[0]) for _ in range(count)]


def log_prob_of_whole_utterances(trainer: Trainer, split: str) -> Tensor:
    """Oracle for evaluation: log-probabilities of the EMA weights, each utterance in one piece after silence."""
    model, store = trainer.ema_model().eval(), trainer.store
    found = []
    for entry in store.split(split):
        utterance = store.read(entry)
        silence = np.zeros(model.history_frames * store.spec.hop_length, np.float32)
        wave = torch.from_numpy(np.concatenate([silence, int16_to_grid(utterance.wave)]))[None]
        mel = extend_edges(
            torch.from_numpy(utterance.mel.T.copy())[None],
            model.history_frames + model.context_frames,
            model.context_frames,
        )
        with torch.no_grad():
            found.append(model.log_prob(wave, mel)[0])
    return torch.cat(found)


# A step


def test_the_first_step_moves_every_weight_by_the_warmed_up_learning_rate(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    before = weights(trainer)
    take_steps(trainer, 1)
    rate = trainer.config.optimizer.learning_rate / trainer.config.schedule.warmup_steps
    # Adamax (Kingma and Ba 2015, algorithm 2) at t = 1: m / (1 - beta1) = g and u = |g|, so a step of rate * sign(g).
    for name, parameter in trainer.model.named_parameters():
        assert parameter.grad is not None
        large = parameter.grad.abs() > 1e-4  # far above Adamax's epsilon
        moved = (parameter.detach() - before[name])[large]
        torch.testing.assert_close(moved, -rate * parameter.grad[large].sign(), rtol=1e-3, atol=1e-6)


def test_the_loss_is_the_mean_over_the_samples_of_all_segments(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    batch = trainer.data[0]
    with torch.no_grad():
        each = [
            -float(trainer.model.log_prob(batch.waves[i : i + 1], batch.mel[i : i + 1]).mean())
            for i in range(len(batch.waves))
        ]
    assert take_steps(trainer, 1)[0] == pytest.approx(np.mean(each), rel=1e-5)


def test_gradients_are_clipped_to_the_bound(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(optimizer=OptimizerConfig(gradient_norm=0.01))
    _, norm, _ = trainer.train_step(trainer.data[0])
    clipped = math.sqrt(sum(float(p.grad.square().sum()) for p in trainer.model.parameters() if p.grad is not None))
    assert norm > 0.1
    assert clipped == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_gradients_accumulated_over_parts_equal_those_of_the_whole_batch(make_trainer: MakeTrainer, parts: int) -> None:
    whole, accumulated = make_trainer(), make_trainer(batch=BatchConfig(4, 2, accumulate=parts))
    assert take_steps(whole, 3) == pytest.approx(take_steps(accumulated, 3), rel=1e-4)
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(weights(accumulated)[name], tensor, rtol=0, atol=2e-5)


def test_the_ema_weights_follow_their_recursion(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(optimizer=OptimizerConfig(ema_decay=0.3))  # reached within these steps
    expected: dict[str, np.ndarray] = {}
    for n in range(6):
        take_steps(trainer, 1)
        for name, tensor in weights(trainer).items():
            decay = min(0.3, (1 + n) / (10 + n)) if n else 0.0
            expected[name] = decay * expected.get(name, 0.0) + (1 - decay) * tensor.double().numpy()
    for name, tensor in trainer.ema_model().state_dict().items():
        np.testing.assert_allclose(tensor.numpy(), expected[name], rtol=0, atol=1e-6)


def test_training_lowers_the_loss_of_real_speech(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(length=LengthConfig(steps=200))
    start = trainer.evaluate()
    take_steps(trainer, 200)
    assert trainer.evaluate() < start - 0.3


@pytest.mark.parametrize("precision", ["bfloat16", "float16"])
def test_half_precision_takes_the_same_step_with_the_loss_in_float32(make_trainer: MakeTrainer, precision: str) -> None:
    full, half = make_trainer(), make_trainer(precision=precision)
    loss, _, _ = half.train_step(half.data[0])
    assert loss.dtype == torch.float32
    assert float(loss) == pytest.approx(take_steps(full, 1)[0], rel=2e-3)
    assert {parameter.dtype for parameter in half.model.parameters()} == {torch.float32}
    assert sum(take_steps(half, 3)) == pytest.approx(sum(take_steps(full, 3)), rel=5e-3)


# Devices


def devices_of(trainer: Trainer) -> set[str]:
    tensors = [*all_tensors(trainer).items()]
    return {tensor.device.type for name, tensor in tensors if not name.endswith((".step", "n_averaged"))}


@pytest.mark.parametrize("kind", ["none", "mel"])
def test_a_step_on_the_meta_device_creates_no_tensor_elsewhere(
    make_trainer: MakeTrainer, config: VocoderConfig, kind: Any
) -> None:
    trainer = make_trainer("meta", with_prediction(config, kind))
    loss, norm, _ = trainer.train_step(trainer.data[0].to(trainer.device))
    trainer.train_step(trainer.data[1].to(trainer.device))
    assert loss.device.type == norm.device.type == "meta"
    assert devices_of(trainer) == {"meta"}


@pytest.mark.cuda
@pytest.mark.parametrize("kind", ["none", "mel"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_gpu_trains_like_the_cpu(make_trainer: MakeTrainer, config: VocoderConfig, precision: str, kind: Any) -> None:
    model = with_prediction(config, kind)
    trainer, on_cpu = make_trainer("cuda", model, precision=precision), make_trainer("cpu", model)
    losses = [float(trainer.train_step(trainer.data[n].to(trainer.device))[0]) for n in range(3)]
    assert devices_of(trainer) == {"cuda"}
    assert losses == pytest.approx(take_steps(on_cpu, 3), rel=1e-4 if precision == "float32" else 1e-2)
    assert trainer.evaluate() == pytest.approx(on_cpu.evaluate(), rel=1e-2)


# Evaluation


@pytest.mark.parametrize("kind", ["none", "mel"])
def test_dev_bits_equal_those_of_undivided_utterances(
    make_trainer: MakeTrainer, config: VocoderConfig, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    trainer = make_trainer(model=with_prediction(config, kind))
    take_steps(trainer, 3)
    trainer.config = replace(trainer.config, checkpoint=replace(trainer.config.checkpoint, dev_seconds=1e6))
    expected = -float(log_prob_of_whole_utterances(trainer, "dev").double().mean()) / math.log(2)
    for frames in (7, 100_000):
        monkeypatch.setattr("vocoder.evaluation.likelihood.PIECE_FRAMES", frames)
        assert trainer.evaluate() == pytest.approx(expected, abs=1e-5)


def test_training_starts_near_the_entropy_of_the_data(make_trainer: MakeTrainer, config: VocoderConfig) -> None:
    trainer = make_trainer(model=replace(config, distribution=MixtureOfLogistics(10)))
    waves = np.concatenate([trainer.store.read(entry).wave for entry in trainer.store.split("dev")])
    # Entropy of a histogram in bins of 64 levels, with the levels of a bin equally likely.
    counts = np.bincount((waves.astype(int) + 32768) // 64, minlength=1024)
    share = counts[counts > 0] / counts.sum()
    entropy = -(share * np.log2(share)).sum() + 6
    assert entropy - 0.1 < trainer.evaluate() < entropy + 0.7


def test_the_ema_weights_are_evaluated(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    take_steps(trainer, 2)
    bits = trainer.evaluate()
    torch.nn.init.zeros_(trainer.model.wavenet.output.bias)
    assert trainer.evaluate() == bits
    torch.nn.init.zeros_(trainer.ema_model().wavenet.output.bias)
    assert trainer.evaluate() > bits + 0.5


# Saving and restoring


def test_restoring_returns_the_options_that_changed(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    train(make_trainer(), tmp_path)
    newest = open_checkpoint(checkpoints_in(tmp_path)[-1])
    assert make_trainer().restore(newest) == []
    other = make_trainer(seed=5, optimizer=OptimizerConfig(betas=(0.8, 0.99)))
    changed = other.restore(newest)
    assert changed == ["training.optimizer.betas (0.9, 0.999) then, (0.8, 0.99) now", "training.seed 0 then, 5 now"]
    assert other.optimizer.param_groups[0]["betas"] == (0.8, 0.99)


def test_a_run_that_goes_on_with_other_data_says_so(
    make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train(make_trainer(), tmp_path)
    newest = open_checkpoint(checkpoints_in(tmp_path)[-1])
    logged: list[str] = []
    for identity, told in ((newest.data, False), ("0123456789abcdef", True)):
        trainer = make_trainer()
        monkeypatch.setattr(trainer, "log", logged.append)
        monkeypatch.setitem(trainer.store.description, "identity", identity)
        trainer.restore(newest)
        assert any("holds other data" in line for line in logged) == told
    assert newest.data is not None


def test_a_run_can_be_resumed_in_another_precision(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    train(make_trainer(), tmp_path)
    for precision in ("float16", "bfloat16"):
        trainer = make_trainer(precision=precision)
        trainer.restore(open_checkpoint(checkpoints_in(tmp_path)[-1]))
        assert math.isfinite(take_steps(trainer, 1)[0])


def test_a_checkpoint_of_another_model_is_refused(
    make_trainer: MakeTrainer, config: VocoderConfig, tmp_path: Path
) -> None:
    train(make_trainer(), tmp_path)
    wider = replace(config, model=replace(config.model, wavenet=replace(config.model.wavenet, skip_channels=12)))
    with pytest.raises(UserError, match=r"model\.wavenet\.skip_channels 10 then, 12 now"):
        make_trainer(model=wider).restore(open_checkpoint(checkpoints_in(tmp_path)[-1]))


def test_a_shipped_model_without_train_state_cannot_be_resumed(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    train(make_trainer(), tmp_path)
    (checkpoints_in(tmp_path)[-1] / "train_state.pt").unlink()
    with pytest.raises(UserError, match="training cannot resume"):
        make_trainer().restore(open_checkpoint(checkpoints_in(tmp_path)[-1]))
