"""Schedules of a run: the learning rate, and the decay of the EMA weights."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from vocoder.training.config import LengthConfig, ScheduleConfig

TensorList = tuple[Tensor, ...] | list[Tensor]


def learning_rate_factor(config: ScheduleConfig, step: int, progress: float) -> float:
    """The factor on the learning rate in 0-based `step`, when a fraction `progress` of the run is done."""
    warmup = min(1.0, (step + 1) / config.warmup_steps) if config.warmup_steps else 1.0
    decayed = min(1.0, max(0.0, progress - config.decay_start) / (1 - config.decay_start))
    if config.kind == "exponential":
        return warmup * config.final**decayed
    if config.kind == "cosine":
        return warmup * (config.final + (1 - config.final) * 0.5 * (1 + math.cos(math.pi * decayed)))
    if config.kind == "step":
        return warmup * config.factor ** (step // config.interval)
    return warmup


def progress_of(length: LengthConfig, step: int, minutes: float) -> float:
    """The fraction of a run that is done; 1 or more when it is finished."""
    by_steps = step / length.steps if length.steps else 0.0
    by_minutes = minutes / length.minutes if length.minutes else 0.0
    return max(by_steps, by_minutes)


def ema_update(decay: float) -> Callable[[TensorList, TensorList, Tensor | int], None]:
    """AveragedModel's `multi_avg_fn`: an exponential moving average with decay min(decay, (1 + n) / (10 + n)).

    A fixed decay would keep the untrained weights in the average for 1 / (1 - decay) steps. With (1 + n) / (10 + n)
    after n steps, the average covers about the last tenth of the run so far, until `decay` is reached.
    """

    @torch.no_grad()
    def update(ema: TensorList, current: TensorList, count: Tensor | int) -> None:
        # 1 - (1 + n) / (10 + n), as a tensor on the weights' device, which avoids a synchronisation
        weight = (9 / (10 + torch.as_tensor(count))).clamp(min=1 - decay)
        change = torch._foreach_sub(current, ema)
        torch._foreach_mul_(change, weight)
        torch._foreach_add_(ema, change)

    return update
