"""Bad steps: they change nothing, are logged with their utterances, and end a run if there are too many in a row."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.training_state import digest, losses, resumed, train

from vocoder.data.dataset import Batch
from vocoder.errors import UserError
from vocoder.model.checkpoint import checkpoints_in
from vocoder.training import Trainer
from vocoder.training.config import BatchConfig, CheckpointConfig, GuardConfig, LengthConfig
from vocoder.training.guard import MIN_HISTORY, Guard, Verdict

MakeTrainer = Callable[..., Trainer]


def spoiled(trainer: Trainer, numbers: set[int], spoil: Callable[[Batch], Batch]) -> Trainer:
    """The trainer, with `spoil` applied to the batches of these numbers."""
    original = type(trainer.data).__getitem__

    class Spoiled(type(trainer.data)):  # type: ignore[misc]
        def __getitem__(self, number: int) -> Batch:
            batch = original(self, number)
            return spoil(batch) if number in numbers else batch

    trainer.data.__class__ = Spoiled
    return trainer


def with_a_nan(batch: Batch) -> Batch:
    batch.mel[0, 0, 3] = math.nan
    return batch


def with_infinity(batch: Batch) -> Batch:
    batch.mel[-1, 7, 5] = math.inf
    return batch


@pytest.mark.parametrize("spoil", [with_a_nan, with_infinity])
@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("parts", [1, 2])
def test_a_step_on_nan_or_infinite_data_changes_nothing(
    make_trainer: MakeTrainer, spoil: Callable[[Batch], Batch], precision: str, parts: int
) -> None:
    trainer = make_trainer(precision=precision, batch=BatchConfig(4, 2, accumulate=parts))
    trainer.train_step(trainer.data[0])
    before, scale = digest(trainer), trainer.scaler.get_scale()
    step = trainer.train_step(spoil(trainer.data[1]))
    assert not step.applied
    assert digest(trainer) == before
    if not math.isfinite(step.loss):
        assert trainer.scaler.get_scale() == scale
    assert trainer.step == 2
    assert trainer.train_step(trainer.data[2]).applied


def test_an_infinite_gradient_is_detected_even_if_the_loss_is_finite(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()
    trainer.train_step(trainer.data[0])
    before = digest(trainer)
    trainer.model.wavenet.hidden.weight.register_hook(lambda gradient: gradient * math.inf)
    step = trainer.train_step(trainer.data[1])
    assert math.isfinite(step.loss)
    assert not step.applied
    assert digest(trainer) == before


def test_consecutive_skips_end_the_run_and_scattered_ones_do_not(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    guard, length = GuardConfig(skips=3), LengthConfig(steps=12)
    checkpoint = CheckpointConfig(every=4, dev_seconds=1.0)
    scattered = spoiled(make_trainer(guard=guard, length=length, checkpoint=checkpoint), {1, 2, 4, 6, 7}, with_a_nan)
    train(scattered, tmp_path / "scattered")
    assert scattered.state.guard.skipped == 5
    in_a_row = spoiled(make_trainer(guard=guard, length=length, checkpoint=checkpoint), {6, 7, 8}, with_a_nan)
    with pytest.raises(UserError, match=r"step 9: 3 steps in a row .* loss was nan") as raised:
        train(in_a_row, tmp_path / "in a row")
    assert all(id in str(raised.value) for id in in_a_row.data[8].ids)
    assert checkpoints_in(tmp_path / "in a row")[-1].name == "step-00000008"


def test_a_resumed_run_restores_the_guard(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer = spoiled(make_trainer(), {1, 3}, with_a_nan)
    train(trainer, tmp_path)
    assert resumed(make_trainer(), tmp_path).state.guard == trainer.state.guard


# Spikes


def judged(guard: Guard, losses: list[float]) -> list[Verdict]:
    return [guard.judge(n, loss, 1.0, True, ["a"]) for n, loss in enumerate(losses)]


def test_a_spike_is_a_loss_far_above_the_recent_ones() -> None:
    generator = torch.Generator().manual_seed(0)
    usual = (5 + 0.3 * torch.randn(1000, generator=generator)).tolist()
    guard = Guard(GuardConfig(spike=6.0))
    assert set(judged(guard, usual)) == {Verdict.GOOD}
    assert guard.mean == pytest.approx(5, abs=0.1)
    assert math.sqrt(guard.variance) == pytest.approx(0.3, rel=0.3)
    assert judged(guard, [5 + 6 * 0.3 * 1.5]) == [Verdict.SPIKE]
    assert judged(guard, [5.5]) == [Verdict.GOOD]


def test_no_spikes_are_reported_during_the_first_steps() -> None:
    assert set(judged(Guard(GuardConfig(spike=1.0)), [10.0, 1e6] * (MIN_HISTORY // 2))) == {Verdict.GOOD}


def test_a_rolled_back_run_continues_with_later_batches(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer = make_trainer(
        guard=GuardConfig(roll_back=True),
        length=LengthConfig(steps=12),
        checkpoint=CheckpointConfig(every=4, dev_seconds=1.0),
    )
    judge, seen = trainer.state.guard.judge, []

    def spike_at_batch_six(step: int, *rest: Any) -> Verdict:
        seen.append(trainer.state.next_batch - 1)
        verdict = judge(step, *rest)
        return Verdict.SPIKE if seen[-1] == 6 else verdict

    trainer.state.guard.judge = spike_at_batch_six  # type: ignore[method-assign]
    messages: list[Any] = []
    trainer.log = messages.append
    train(trainer, tmp_path)
    assert seen == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]  # from step 7 back to 4, then batch 7
    assert trainer.step == 12
    assert (trainer.state.dropped_batches, trainer.state.guard.rolled_back) == (3, 1)
    assert any("back to step 4" in line for line in messages)
    assert [step for step, _ in losses(tmp_path)] == list(range(1, 13))
    again = resumed(make_trainer(length=LengthConfig(steps=14)), tmp_path)
    assert again.state.next_batch == 15


def test_too_many_rollbacks_end_the_run(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer = make_trainer(guard=GuardConfig(roll_back=True, rollbacks=2), length=LengthConfig(steps=12))
    trainer.state.guard.judge = lambda *_: Verdict.SPIKE  # type: ignore[method-assign]
    with pytest.raises(UserError, match="spiked again after 2 rollbacks"):
        train(trainer, tmp_path)


def test_a_skipped_step_is_logged_with_its_utterances_and_left_out_of_the_mean_loss(
    make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    trainer = spoiled(make_trainer(), {2}, with_a_nan)
    messages: list[Any] = []
    trainer.log = messages.append
    train(trainer, tmp_path)
    assert trainer.state.guard.skipped == 1
    (event,) = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines() if "event" in line]
    assert (event["step"], event["ids"]) == (3, trainer.data[2].ids)
    assert "skipped" in event["event"]
    assert messages == [event["event"]]
    assert [step for step, _ in losses(tmp_path)] == [1, 2, 4, 5, 6]
