"""How the learning rate and the averaging of weights change over a run."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vocoder.training.config import LengthConfig, ScheduleConfig

TensorList = tuple[Tensor, ...] | list[Tensor]


def learning_rate_factor(settings: ScheduleConfig, step: int, progress: float) -> float:
    """What to multiply the learning rate by in 0-based `step`, with `progress` of the run in [0, 1] done."""
    warmup = min(1.0, (step + 1) / settings.warmup_steps) if settings.warmup_steps else 1.0
    decayed = min(1.0, max(0.0, progress - settings.decay_start) / (1 - settings.decay_start))
    if settings.kind == "exponential":
        return warmup * settings.final**decayed
    if settings.kind == "cosine":
        return warmup * (settings.final + (1 - settings.final) * 0.5 * (1 + math.cos(math.pi * decayed)))
    if settings.kind == "step":
        return warmup * settings.factor ** (step // settings.interval)
    return warmup


def progress_of(length: LengthConfig, step: int, minutes: float) -> float:
    """The fraction of a run that is done; 1 or more when it is over."""
    by_steps = step / length.steps if length.steps else 0.0
    by_minutes = minutes / length.minutes if length.minutes else 0.0
    return max(by_steps, by_minutes)


def warmed_up_average(decay: float) -> Callable[[TensorList, TensorList, Tensor | int], None]:
    """The update of an exponential moving average whose decay grows to `decay`, for AveragedModel.

    A fixed decay remembers the untrained weights for 1 / (1 - decay) steps; with (1 + n) / (10 + n) the
    average always covers about the last tenth of the run so far, until `decay` takes over.
    """

    @torch.no_grad()
    def update(averaged: TensorList, current: TensorList, count: Tensor | int) -> None:
        # 1 - (1 + n) / (10 + n), as a tensor where the weights are: no number is read back from the device
        weight = (9 / (10 + torch.as_tensor(count))).clamp(min=1 - decay)
        change = torch._foreach_sub(current, averaged)
        torch._foreach_mul_(change, weight)
        torch._foreach_add_(averaged, change)

    return update
