"""The learning rate and the EMA weights over a run, against values computed by hand."""

import pytest
import torch

from vocoder.training.config import (
    LengthConfig,
    ScheduleConfig,
)
from vocoder.training.schedule import ema_update, learning_rate_factor, progress_of

SCHEDULE = ScheduleConfig(warmup_steps=10, decay_start=0.5, final=0.01)


@pytest.mark.parametrize(
    ("step", "progress", "factor"),
    [
        (0, 0.0, 0.1),
        (4, 0.0, 0.5),
        (9, 0.1, 1.0),
        (500, 0.5, 1.0),
        (750, 0.75, 0.1),  # half-way through the decay: the square root of 0.01
        (1000, 1.0, 0.01),
        (2000, 2.0, 0.01),  # stays at the final rate
        (4, 0.75, 0.05),  # a run so short that decay and warm-up overlap
    ],
)
def test_the_learning_rate_warms_up_linearly_and_decays_exponentially(
    step: int, progress: float, factor: float
) -> None:
    assert learning_rate_factor(SCHEDULE, step, progress) == pytest.approx(factor)


@pytest.mark.parametrize(
    ("config", "step", "progress", "factor"),
    [
        (ScheduleConfig("cosine", 10, 0.5, 0.2), 4, 0.0, 0.5),
        (ScheduleConfig("cosine", 10, 0.5, 0.2), 100, 0.5, 1.0),
        (ScheduleConfig("cosine", 10, 0.5, 0.2), 100, 0.75, 0.6),  # half-way, half of the difference
        (ScheduleConfig("cosine", 10, 0.5, 0.2), 100, 1.0, 0.2),
        (ScheduleConfig("step", 10, interval=100, factor=0.5), 4, 0.9, 0.5),
        (ScheduleConfig("step", 10, interval=100, factor=0.5), 99, 0.0, 1.0),
        (ScheduleConfig("step", 10, interval=100, factor=0.5), 100, 0.0, 0.5),
        (ScheduleConfig("step", 10, interval=100, factor=0.5), 350, 0.0, 0.125),
        (ScheduleConfig("constant", 10), 4, 1.0, 0.5),
        (ScheduleConfig("constant", 10), 10_000, 1.0, 1.0),
    ],
)
def test_the_other_schedules_have_the_same_warm_up_and_their_own_decay(
    config: ScheduleConfig, step: int, progress: float, factor: float
) -> None:
    assert learning_rate_factor(config, step, progress) == pytest.approx(factor)


def test_without_warm_up_the_first_step_has_the_full_rate() -> None:
    assert learning_rate_factor(ScheduleConfig(warmup_steps=0), 0, 0.0) == 1


@pytest.mark.parametrize(
    ("length", "step", "minutes", "progress"),
    [
        (LengthConfig(steps=200), 50, 1e6, 0.25),
        (LengthConfig(steps=None, minutes=10), 10**6, 5, 0.5),
        (LengthConfig(steps=200, minutes=10), 50, 5, 0.5),
        (LengthConfig(steps=200, minutes=10), 150, 5, 0.75),
    ],
)
def test_a_run_is_finished_when_the_first_limit_is_reached(
    length: LengthConfig, step: int, minutes: float, progress: float
) -> None:
    assert progress_of(length, step, minutes) == progress


def test_an_average_with_a_decay_near_one_still_forgets_the_initial_weights() -> None:
    """The weights of n updates ago keep a share of the product of (1 + k) / (10 + k): 10! / ((n + 2) … (n + 10))."""
    average, update = [torch.zeros(3)], ema_update(0.9999)
    for n in range(1, 101):
        update(average, [torch.ones(3)], torch.tensor(n))
    plain = 0.9999**100  # the share of the start with a fixed decay
    assert 1 - float(average[0][0]) < 1e-6
    assert plain > 0.99
