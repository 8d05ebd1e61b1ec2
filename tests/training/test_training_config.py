"""Options that cannot work are refused by name."""

from collections.abc import Callable

import pytest

from vocoder.errors import UserError
from vocoder.training.config import (
    BatchConfig,
    LengthConfig,
    LossConfig,
    OptimizerConfig,
    ScheduleConfig,
    TrainingConfig,
)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: TrainingConfig(length=LengthConfig(None, None)), "never ends"),
        (lambda: TrainingConfig(schedule=ScheduleConfig(decay_start=1.0)), "decay_start"),
        (lambda: TrainingConfig(optimizer=OptimizerConfig(betas=(0.9,))), "two numbers"),
        (lambda: TrainingConfig(batch=BatchConfig(size=2, accumulate=3)), "more parts than segments"),
        (lambda: TrainingConfig(batch=BatchConfig(size=0)), r"batch\.size=0"),
        (lambda: TrainingConfig(log_every=0), "log_every=0"),
    ],
)
def test_options_that_cannot_work_are_refused(make: Callable[[], TrainingConfig], message: str) -> None:
    with pytest.raises(UserError, match=message):
        make()


@pytest.mark.parametrize("option", [{"spectral_weight": -1.0}, {"spectral_temperature": 0.0}])
def test_invalid_spectral_options_are_refused(option: dict[str, float]) -> None:
    (name,) = option
    with pytest.raises(UserError, match=f"training.loss.{name}"):
        TrainingConfig(loss=LossConfig(**option))
