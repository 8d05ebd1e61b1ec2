"""The training loop: checkpoints, logs, limits, and what ends a run."""

import errno
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.training_state import all_tensors, ignore, losses, train
from torch import Tensor

from vocoder.data.store import Store
from vocoder.errors import UserError
from vocoder.model import find_checkpoint
from vocoder.model.checkpoint import checkpoints_in, open_checkpoint
from vocoder.training import Run, Trainer, TrainState
from vocoder.training.config import CheckpointConfig, GuardConfig, LengthConfig
from vocoder.training.guard import Guard
from vocoder.training.interrupts import Interrupts
from vocoder.training.loop import Clock

MakeTrainer = Callable[..., Trainer]


def test_a_run_stopped_by_a_signal_and_resumed_equals_an_uninterrupted_one(
    make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    uninterrupted = make_trainer()
    train(uninterrupted, tmp_path / "uninterrupted")

    def stop_after_three(interrupts: Interrupts, trainer: Trainer) -> None:
        interrupts.signal = 15 if trainer.step == 3 else None

    stopped = make_trainer()
    train(stopped, tmp_path / "stopped", stop_after_three)
    assert stopped.step == 3
    resumed = make_trainer()
    torch.rand(7)  # the global generator's state must not matter
    checkpoint = Run(tmp_path / "stopped").recover_newest(ignore)
    assert checkpoint is not None
    resumed.restore(checkpoint)
    train(resumed, tmp_path / "stopped")

    expected = all_tensors(uninterrupted)
    found = all_tensors(resumed)
    assert resumed.step == uninterrupted.step == 6
    assert expected.keys() == found.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in expected.items())
    assert resumed.state.dev_bits == uninterrupted.state.dev_bits


def test_a_run_keeps_its_last_checkpoints_and_the_best_and_a_log(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    train(make_trainer(length=LengthConfig(steps=9)), tmp_path)
    assert [path.name for path in checkpoints_in(tmp_path)][-3:] == ["step-00000006", "step-00000008", "step-00000009"]
    found = find_checkpoint(tmp_path)
    assert found.dev_bits == min(open_checkpoint(path).dev_bits for path in checkpoints_in(tmp_path))
    assert (tmp_path / "log.jsonl").read_text().count("bits/dev") == 6  # at the start, steps 2, 4, 6, 8 and the end


def test_a_finished_run_continues_with_a_greater_length(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    train(make_trainer(), tmp_path)
    longer = make_trainer(length=LengthConfig(steps=8))
    longer.restore(open_checkpoint(checkpoints_in(tmp_path)[-1]))
    assert longer.step == 6
    assert longer.progress == 6 / 8
    train(longer, tmp_path)
    assert checkpoints_in(tmp_path)[-1].name == "step-00000008"


def test_a_limit_in_minutes_counts_over_resumptions(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer = make_trainer(length=LengthConfig(steps=None, minutes=0.02))
    train(trainer, tmp_path)
    assert trainer.step > 0
    assert trainer.state.minutes >= 0.02
    resumed = make_trainer(length=LengthConfig(steps=None, minutes=0.02))
    resumed.restore(open_checkpoint(checkpoints_in(tmp_path)[-1]))
    assert resumed.progress == 1


def test_too_many_skipped_steps_end_the_run_and_name_the_step_and_the_utterances(
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


def test_weights_that_are_not_finite_are_never_saved(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer = make_trainer(log_every=100, length=LengthConfig(steps=8))

    def break_after_four(batch: Any) -> tuple[Tensor, Tensor]:
        if trainer.step == 4:
            torch.nn.init.constant_(trainer.model.wavenet.hidden.weight, math.nan)
        return train_step(batch)

    train_step, trainer.train_step = trainer.train_step, break_after_four  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"step 6: wavenet.hidden.weight holds NaN .* not saved"):
        train(trainer, tmp_path)
    assert checkpoints_in(tmp_path)[-1].name == "step-00000004"


def test_a_full_disk_ends_the_run_and_leaves_the_last_checkpoint_intact(
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


def test_a_store_without_dev_utterances_is_refused_before_the_first_step(
    make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = make_trainer()
    split = Store.split
    monkeypatch.setattr(Store, "split", lambda store, name: [] if name == "dev" else split(store, name))
    with pytest.raises(UserError, match="no dev utterances"):
        train(trainer, tmp_path)


@pytest.mark.parametrize("log_every", [1, 3])
def test_each_logged_loss_is_the_mean_since_the_last_log_entry(
    make_trainer: MakeTrainer, tmp_path: Path, log_every: int
) -> None:
    trainer = make_trainer(log_every=log_every)
    each, train_step = [], trainer.train_step

    def recorded(batch: Any) -> Any:
        result = train_step(batch)
        each.append(float(result.loss))
        return result

    trainer.train_step = recorded  # type: ignore[method-assign]
    train(trainer, tmp_path)
    means = [sum(each[i : i + log_every]) / log_every for i in range(0, 6, log_every)]
    assert losses(tmp_path) == [(log_every * (i + 1), pytest.approx(mean)) for i, mean in enumerate(means)]


def test_dev_bits_that_are_not_finite_end_the_run_unsaved(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer = make_trainer()
    trainer.evaluate = lambda *_: math.nan  # type: ignore[method-assign]
    with pytest.raises(UserError, match="step 0: dev bits are nan; not saved"):
        train(trainer, tmp_path)
    assert checkpoints_in(tmp_path) == []


def test_minutes_begin_after_compilation_and_the_first_evaluation(
    make_trainer: MakeTrainer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seconds = [0.0]
    monkeypatch.setattr("vocoder.training.loop.time.monotonic", lambda: seconds[0])

    def taking(duration: float, work: Callable[..., Any]) -> Callable[..., Any]:
        def slow(*arguments: Any) -> Any:
            seconds[0] += duration
            return work(*arguments)

        return slow

    trainer = make_trainer()
    for name, duration in (("warm_up", 1000.0), ("evaluate", 100.0), ("train_step", 1.0)):
        monkeypatch.setattr(trainer, name, taking(duration, getattr(trainer, name)))
    train(trainer, tmp_path)
    checkpoints = len(checkpoints_in(tmp_path))
    assert trainer.state.minutes * 60 == pytest.approx(trainer.step + 100 * (checkpoints - 1))


def test_warming_up_changes_nothing(make_trainer: MakeTrainer) -> None:
    warm, cold = make_trainer(), make_trainer()
    warm.warm_up()
    batch = warm.data[0]
    assert float(warm.train_step(batch).loss) == float(cold.train_step(batch).loss)
    weights = zip(warm.model.parameters(), cold.model.parameters(), strict=True)
    assert all(torch.equal(ours, theirs) for ours, theirs in weights)


def test_the_clock_separates_steps_and_waiting_from_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 5.0, 6.0, 8.0, 20.0])
    monkeypatch.setattr("vocoder.training.loop.time.monotonic", lambda: next(times))
    state = TrainState(Guard(GuardConfig()), parts=1)
    clock = Clock(state)
    clock.count_break()  # 5 s
    clock.count_waiting()  # 1 s
    clock.count_step()  # 2 s
    assert clock.lap() == (3.0, 1.0)
    clock.count_break()  # 12 s
    assert clock.lap() == (0.0, 0.0)
    assert state.minutes == pytest.approx(20 / 60)
