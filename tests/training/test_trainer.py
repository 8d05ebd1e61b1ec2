"""The trainer: what a step does, what a resumed run does, and what its numbers mean."""

import errno
import math
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from support.training_state import everything, ignore, train
from torch import Tensor

from vocoder.data.store import Store
from vocoder.distributions import MixtureOfLogistics
from vocoder.errors import UserError
from vocoder.features.audio import int16_to_grid
from vocoder.features.mel import PRESETS
from vocoder.model import LinearPredictionConfig, VocoderConfig, extend_edges, find_checkpoint
from vocoder.model.checkpoint import checkpoints_in, open_checkpoint
from vocoder.training import Run, Trainer
from vocoder.training.config import (
    AuditionConfig,
    BatchConfig,
    CheckpointConfig,
    LengthConfig,
    OptimizerConfig,
)
from vocoder.training.interrupts import Interrupts

MakeTrainer = Callable[..., Trainer]


def with_prediction(config: VocoderConfig, kind: Any) -> VocoderConfig:
    return replace(config, model=replace(config.model, linear_prediction=LinearPredictionConfig(kind)))


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


def take_steps(trainer: Trainer, count: int) -> list[float]:
    return [float(trainer.train_step(trainer.data[trainer.step])[0]) for _ in range(count)]


def log_prob_of_whole_utterances(trainer: Trainer, split: str) -> Tensor:
    """Log-probabilities by the averaged weights, each utterance in one piece after zeros; oracle for evaluation."""
    model, store = trainer.averaged_model().eval(), trainer.store
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
    rate = trainer.settings.optimizer.learning_rate / trainer.settings.schedule.warmup_steps
    # Adamax (Kingma and Ba 2015, algorithm 2) at t = 1: m / (1 - beta1) = g and u = |g|, so a step of rate * sign(g).
    for name, parameter in trainer.model.named_parameters():
        assert parameter.grad is not None
        clear = parameter.grad.abs() > 1e-4  # far above Adamax's epsilon
        moved = (parameter.detach() - before[name])[clear]
        torch.testing.assert_close(moved, -rate * parameter.grad[clear].sign(), rtol=1e-3, atol=1e-6)


def test_the_loss_is_the_mean_over_the_samples_of_all_segments(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    batch = trainer.data[0]
    with torch.no_grad():
        each = [
            -float(trainer.model.log_prob(batch.waves[i : i + 1], batch.mel[i : i + 1]).mean())
            for i in range(len(batch.waves))
        ]
    assert take_steps(trainer, 1)[0] == pytest.approx(np.mean(each), rel=1e-5)


def test_long_gradients_are_scaled_down_to_the_bound(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(optimizer=OptimizerConfig(gradient_norm=0.01))
    _, norm, _ = trainer.train_step(trainer.data[0])
    clipped = math.sqrt(sum(float(p.grad.square().sum()) for p in trainer.model.parameters() if p.grad is not None))
    assert norm > 0.1
    assert clipped == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize("parts", [2, 3, 4])
def test_accumulation_changes_nothing_but_memory(make_trainer: MakeTrainer, parts: int) -> None:
    whole, accumulated = make_trainer(), make_trainer(batch=BatchConfig(4, 2, accumulate=parts))
    assert take_steps(whole, 3) == pytest.approx(take_steps(accumulated, 3), rel=1e-4)
    for name, tensor in weights(whole).items():
        torch.testing.assert_close(weights(accumulated)[name], tensor, rtol=0, atol=2e-5)


def test_the_average_follows_its_recursion_from_the_weights_of_the_first_step(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(optimizer=OptimizerConfig(ema_decay=0.3))  # reached within these steps
    expected: dict[str, np.ndarray] = {}
    for n in range(6):
        take_steps(trainer, 1)
        for name, tensor in weights(trainer).items():
            decay = min(0.3, (1 + n) / (10 + n)) if n else 0.0
            expected[name] = decay * expected.get(name, 0.0) + (1 - decay) * tensor.double().numpy()
    for name, tensor in trainer.averaged_model().state_dict().items():
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
    tensors = [*everything(trainer).items()]
    return {tensor.device.type for name, tensor in tensors if not name.endswith((".step", "n_averaged"))}


@pytest.mark.parametrize("kind", ["none", "mel"])
def test_a_step_on_the_meta_device_finds_no_tensor_elsewhere(
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
def test_dev_bits_are_those_of_whole_utterances(
    make_trainer: MakeTrainer, config: VocoderConfig, monkeypatch: pytest.MonkeyPatch, kind: Any
) -> None:
    trainer = make_trainer(model=with_prediction(config, kind))
    take_steps(trainer, 3)
    trainer.settings = replace(trainer.settings, checkpoint=replace(trainer.settings.checkpoint, dev_seconds=1e6))
    expected = -float(log_prob_of_whole_utterances(trainer, "dev").double().mean()) / math.log(2)
    for frames in (7, 100_000):
        monkeypatch.setattr("vocoder.evaluation.likelihood.PIECE_FRAMES", frames)
        assert trainer.evaluate() == pytest.approx(expected, abs=1e-5)


def test_training_starts_at_the_bits_of_the_datas_histogram(make_trainer: MakeTrainer, config: VocoderConfig) -> None:
    trainer = make_trainer(model=replace(config, distribution=MixtureOfLogistics(10)))
    waves = np.concatenate([trainer.store.read(entry).wave for entry in trainer.store.split("dev")])
    # The histogram in bins of 64 levels, each sample's share of its bin equally likely.
    counts = np.bincount((waves.astype(int) + 32768) // 64, minlength=1024)
    share = counts[counts > 0] / counts.sum()
    entropy = -(share * np.log2(share)).sum() + 6
    assert entropy - 0.1 < trainer.evaluate() < entropy + 0.7


def test_it_is_the_averaged_weights_that_are_evaluated(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    take_steps(trainer, 2)
    bits = trainer.evaluate()
    torch.nn.init.zeros_(trainer.model.wavenet.output.bias)
    assert trainer.evaluate() == bits
    torch.nn.init.zeros_(trainer.averaged_model().wavenet.output.bias)
    assert trainer.evaluate() > bits + 0.5


# A run: saved, stopped, taken up again


def test_a_stopped_and_resumed_run_ends_with_the_same_bits_as_an_undisturbed_one(
    make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    undisturbed = make_trainer()
    train(undisturbed, tmp_path / "undisturbed")

    def stop_after_three(interrupts: Interrupts, trainer: Trainer) -> None:
        interrupts.signal = 15 if trainer.step == 3 else None

    stopped = make_trainer()
    train(stopped, tmp_path / "stopped", stop_after_three)
    assert stopped.step == 3
    resumed = make_trainer()
    torch.rand(7)  # whatever torch's generator stands at must not matter
    checkpoint = Run(tmp_path / "stopped").newest(ignore)
    assert checkpoint is not None
    resumed.restore(checkpoint)
    train(resumed, tmp_path / "stopped")

    expected = everything(undisturbed)
    found = everything(resumed)
    assert resumed.step == undisturbed.step == 6
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert resumed.dev_bits == undisturbed.dev_bits


def test_a_run_leaves_its_last_checkpoints_the_best_and_a_log(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    train(make_trainer(length=LengthConfig(steps=9)), tmp_path)
    assert [path.name for path in checkpoints_in(tmp_path)][-3:] == ["step-00000006", "step-00000008", "step-00000009"]
    found = find_checkpoint(tmp_path)
    assert found.dev_bits == min(open_checkpoint(path).dev_bits for path in checkpoints_in(tmp_path))
    assert (tmp_path / "log.jsonl").read_text().count("bits/dev") == 6  # at the start, steps 2, 4, 6, 8 and the end


def test_a_longer_run_goes_on_where_a_finished_one_ended(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    train(make_trainer(), tmp_path)
    longer = make_trainer(length=LengthConfig(steps=8))
    longer.restore(open_checkpoint(checkpoints_in(tmp_path)[-1]))
    assert longer.step == 6
    assert longer.progress == 6 / 8
    train(longer, tmp_path)
    assert checkpoints_in(tmp_path)[-1].name == "step-00000008"


def test_a_run_bounded_in_minutes_counts_them_over_resumptions(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer = make_trainer(length=LengthConfig(steps=None, minutes=0.02))
    train(trainer, tmp_path)
    assert trainer.step > 0
    assert trainer.minutes >= 0.02
    resumed = make_trainer(length=LengthConfig(steps=None, minutes=0.02))
    resumed.restore(open_checkpoint(checkpoints_in(tmp_path)[-1]))
    assert resumed.progress == 1


def test_steps_that_cannot_be_taken_end_the_run_with_the_step_and_the_utterances(
    make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    trainer = make_trainer()
    train(trainer, tmp_path)
    broken = make_trainer(length=LengthConfig(steps=20), checkpoint=CheckpointConfig(every=100, dev_seconds=1.0))
    broken.restore(open_checkpoint(checkpoints_in(tmp_path)[-1]))
    torch.nn.init.constant_(broken.model.wavenet.hidden.weight, math.nan)
    with pytest.raises(UserError, match=rf"step 16: 10 steps in a row.*{broken.data[15].ids[0]}.*loss was nan"):
        train(broken, tmp_path)
    assert checkpoints_in(tmp_path)[-1].name == "step-00000006"


def test_weights_that_are_no_numbers_are_never_saved(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer = make_trainer(log_every=100, length=LengthConfig(steps=8))

    def break_after_four(batch: Any) -> tuple[Tensor, Tensor]:
        if trainer.step == 4:
            torch.nn.init.constant_(trainer.model.wavenet.hidden.weight, math.nan)
        return train_step(batch)

    train_step, trainer.train_step = trainer.train_step, break_after_four  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"step 6: wavenet.hidden.weight holds NaN .* not saved"):
        train(trainer, tmp_path)
    assert checkpoints_in(tmp_path)[-1].name == "step-00000004"


def test_a_resumed_run_tells_which_settings_changed(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    train(make_trainer(), tmp_path)
    newest = open_checkpoint(checkpoints_in(tmp_path)[-1])
    assert make_trainer().restore(newest) == []
    other = make_trainer(seed=5, optimizer=OptimizerConfig(betas=(0.8, 0.99)))
    told = other.restore(newest)
    assert told == ["training.optimizer.betas (0.9, 0.999) then, (0.8, 0.99) now", "training.seed 0 then, 5 now"]
    assert other.optimizer.param_groups[0]["betas"] == (0.8, 0.99)


def test_a_run_can_go_on_in_another_precision(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    train(make_trainer(), tmp_path)
    for precision in ("float16", "bfloat16"):
        trainer = make_trainer(precision=precision)
        trainer.restore(open_checkpoint(checkpoints_in(tmp_path)[-1]))
        assert math.isfinite(take_steps(trainer, 1)[0])


def test_a_full_disk_ends_the_run_and_leaves_the_last_checkpoint_whole(
    make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer()
    train(trainer, tmp_path)
    longer = make_trainer(length=LengthConfig(steps=8))
    longer.restore(open_checkpoint(checkpoints_in(tmp_path)[-1]))

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(UserError, match="no space left"):
        train(longer, tmp_path)
    assert open_checkpoint(checkpoints_in(tmp_path)[-1]).step == 6
    assert not list(tmp_path.rglob("*.partial"))


def test_a_run_of_another_model_is_not_taken_up(
    make_trainer: MakeTrainer, config: VocoderConfig, tmp_path: Path
) -> None:
    train(make_trainer(), tmp_path)
    wider = replace(config, model=replace(config.model, wavenet=replace(config.model.wavenet, skip_channels=12)))
    with pytest.raises(UserError, match=r"model\.wavenet\.skip_channels 10 then, 12 now"):
        make_trainer(model=wider).restore(open_checkpoint(checkpoints_in(tmp_path)[-1]))


def test_a_shipped_model_cannot_be_trained_on(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    train(make_trainer(), tmp_path)
    (checkpoints_in(tmp_path)[-1] / "train_state.pt").unlink()
    with pytest.raises(UserError, match="training cannot go on"):
        make_trainer().restore(open_checkpoint(checkpoints_in(tmp_path)[-1]))


def test_a_store_with_other_mels_than_the_models_is_refused(make_trainer: MakeTrainer, config: VocoderConfig) -> None:
    with pytest.raises(UserError, match=r"sample_rate 16000 / 22050"):
        make_trainer(model=replace(config, mel=PRESETS["hifigan_22k"]))


def test_a_store_without_a_dev_utterance_is_refused_before_training(
    make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer()
    split = Store.split
    monkeypatch.setattr(Store, "split", lambda store, name: [] if name == "dev" else split(store, name))
    with pytest.raises(UserError, match="dev split is empty"):
        train(trainer, tmp_path)


def test_auditions_are_synthesised_without_disturbing_training(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    silent, heard = make_trainer(), make_trainer(audition=AuditionConfig(every=2, utterances=2, seconds=0.05))
    train(silent, tmp_path / "silent")
    train(heard, tmp_path / "heard")
    for name, tensor in everything(silent).items():
        assert torch.equal(everything(heard)[name], tensor)
