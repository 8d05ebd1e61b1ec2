"""What a bad step is: a loss or gradient that is no number, and a loss far from those before it."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum, auto
from typing import Any

from vocoder.errors import UserError
from vocoder.training.config import GuardConfig

SETTLED = 100  # steps before which a loss is no spike: there is nothing to compare it with
MEMORY = 0.98  # of the running mean and variance, for each step


class Verdict(Enum):
    """On a step that was tried."""

    GOOD = auto()
    SKIPPED = auto()
    SPIKE = auto()


@dataclass
class Guard:
    """Watches the losses of a run; part of a checkpoint, so that a resumed run judges as an undisturbed one."""

    settings: GuardConfig
    skipped: int = 0  # steps, since the run began
    in_a_row: int = 0
    rolled_back: int = 0  # times, since the run began
    seen: int = 0
    mean: float = 0.0
    variance: float = 0.0

    def judge(self, step: int, loss: float, gradient_norm: float, applied: bool, ids: Sequence[str]) -> Verdict:
        """Of a step that was taken, or not taken because loss or gradient was no number.

        Raises:
            UserError: too many in a row were not.
        """
        if not applied:
            self.skipped += 1
            self.in_a_row += 1
            if self.in_a_row >= self.settings.skips:
                raise UserError(
                    f"step {step}: {self.in_a_row} steps in a row could not be taken; at the last, "
                    f"of {', '.join(ids)}, the loss was {loss} and the gradient's norm {gradient_norm}. {TOO_FAST}"
                )
            return Verdict.SKIPPED
        self.in_a_row = 0
        spike = self.seen >= SETTLED and loss - self.mean > self.settings.spike * math.sqrt(self.variance)
        if not spike:  # or it would widen what is usual
            self._remember(loss)
        return Verdict.SPIKE if spike else Verdict.GOOD

    def may_roll_back(self, step: int) -> None:
        """Raises UserError where that was done too often to be of help."""
        if self.rolled_back >= self.settings.rollbacks:
            raise UserError(
                f"step {step}: the loss has spiked again after {self.rolled_back} times of going back to the last "
                f"checkpoint. {TOO_FAST}"
            )

    def state_dict(self) -> dict[str, Any]:
        state = asdict(self)
        del state["settings"]
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for name, value in state.items():
            setattr(self, name, value)

    def _remember(self, loss: float) -> None:
        weight = max(1 - MEMORY, 1 / (self.seen + 1))
        change = loss - self.mean
        self.mean += weight * change
        self.variance = (1 - weight) * (self.variance + weight * change * change)
        self.seen += 1


TOO_FAST = "Start again from the last checkpoint (the same command) with a lower training.optimizer.learning_rate"
