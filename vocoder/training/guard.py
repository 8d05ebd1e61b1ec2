"""Detection of bad steps: a loss or gradient that is not finite, and a loss far above the recent ones."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import Enum, auto
from typing import Any

from vocoder.errors import UserError
from vocoder.training.config import GuardConfig

MIN_HISTORY = 100  # losses before spikes are looked for: earlier, there is too little to compare with
DECAY = 0.98  # of the running mean and variance, per step
ADVICE = "Start again from the last checkpoint (the same command) with a lower training.optimizer.learning_rate"


class Verdict(Enum):
    """How the guard classifies a step."""

    GOOD = auto()
    SKIPPED = auto()
    SPIKE = auto()


@dataclass
class Guard:
    """Watches the losses of a run; part of a checkpoint, so that a resumed run judges like an uninterrupted one."""

    config: GuardConfig
    skipped: int = 0  # steps since the run began, because loss or gradient was not finite
    in_a_row: int = 0  # steps skipped since the last good one
    rolled_back: int = 0  # times since the run began
    seen: int = 0  # losses in the mean and variance
    mean: float = 0.0
    variance: float = 0.0

    def judge(self, step: int, loss: float, gradient_norm: float, applied: bool, ids: Sequence[str]) -> Verdict:
        """Judge a step; `applied` is False if it was skipped because loss or gradient was not finite.

        Raises:
            UserError: `config.skips` steps in a row were skipped.
        """
        if not applied:
            self.skipped += 1
            self.in_a_row += 1
            if self.in_a_row >= self.config.skips:
                raise UserError(self._too_many_skips(step, loss, gradient_norm, ids))
            return Verdict.SKIPPED
        self.in_a_row = 0
        spike = self.seen >= MIN_HISTORY and loss - self.mean > self.config.spike * math.sqrt(self.variance)
        if not spike:  # spikes would inflate the variance
            self._update_statistics(loss)
        return Verdict.SPIKE if spike else Verdict.GOOD

    def check_rollbacks(self, step: int) -> None:
        """Raise UserError if the run has already rolled back `config.rollbacks` times."""
        if self.rolled_back >= self.config.rollbacks:
            times = "1 rollback" if self.rolled_back == 1 else f"{self.rolled_back} rollbacks"
            raise UserError(f"step {step}: the loss has spiked again after {times} to the last checkpoint. {ADVICE}")

    def state_dict(self) -> dict[str, Any]:
        state = asdict(self)
        del state["config"]
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    def _too_many_skips(self, step: int, loss: float, gradient_norm: float, ids: Sequence[str]) -> str:
        skips = f"{self.in_a_row} steps in a row were skipped" if self.in_a_row > 1 else "the step was skipped"
        return (
            f"step {step}: {skips} because loss or gradient was not finite; in the last, on {', '.join(ids)}, "
            f"the loss was {loss} and the gradient's norm {gradient_norm}. {ADVICE}"
        )

    def _update_statistics(self, loss: float) -> None:
        weight = max(1 - DECAY, 1 / (self.seen + 1))
        change = loss - self.mean
        self.mean += weight * change
        self.variance = (1 - weight) * (self.variance + weight * change * change)
        self.seen += 1
