"""Out of memory: batches are split into more parts, or the user is advised."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from support.training_state import resumed

from vocoder.errors import UserError
from vocoder.training import Trainer
from vocoder.training.config import BatchConfig
from vocoder.training.memory import out_of_memory_advice

MakeTrainer = Callable[..., Trainer]


def test_out_of_memory_halves_the_parts_and_computes_the_same(make_trainer: MakeTrainer, tmp_path: Path) -> None:
    trainer, whole = make_trainer(), make_trainer()
    messages: list[str] = []
    trainer.log = messages.append
    log_prob = trainer.model.log_prob

    def frugal(waves: torch.Tensor, *rest: Any) -> Any:
        if len(waves) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return log_prob(waves, *rest)

    trainer.model.log_prob = frugal  # type: ignore[method-assign]
    for each in (trainer, whole):
        each.train_step(each.data[0])
    assert trainer.state.parts == 4
    assert [line for line in messages if "out of memory" in line] == [
        "step 0: out of memory; batches are computed in 2 parts from here on",
        "step 0: out of memory; batches are computed in 4 parts from here on",
    ]
    for name, tensor in whole.model.state_dict().items():
        torch.testing.assert_close(trainer.model.state_dict()[name], tensor, rtol=0, atol=2e-5)
    del trainer.model.log_prob
    trainer.save(tmp_path / "checkpoints/step-00000001")
    assert resumed(make_trainer(), tmp_path).state.parts == 4  # otherwise the resumed run would round differently


def test_memory_that_is_too_small_for_one_segment_is_reported(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer(batch=BatchConfig(2, 2))

    def never(*_: Any) -> Any:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried …")

    trainer.model.log_prob = never  # type: ignore[method-assign]
    with pytest.raises(UserError, match=r"single segment; take a smaller training\.batch\.segment_frames"):
        trainer.train_step(trainer.data[0])


def test_other_errors_are_not_mistaken_for_out_of_memory(make_trainer: MakeTrainer) -> None:
    trainer = make_trainer()

    def broken(*_: Any) -> Any:
        raise RuntimeError("shapes do not match")

    trainer.model.log_prob = broken  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="shapes"):
        trainer.train_step(trainer.data[0])


def test_several_processes_are_advised_to_accumulate() -> None:
    assert "take training.batch.accumulate=4" in out_of_memory_advice(parts=2, segments=8)
