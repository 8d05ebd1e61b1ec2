"""The state of a run, besides its weights and optimiser: the loop and the steps change it, the trainer saves it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vocoder.training.guard import Guard


@dataclass
class TrainState:
    """How far a run is, and what it must remember to resume exactly."""

    guard: Guard
    parts: int  # that each batch is split into: `batch.accumulate` at the start, doubled when memory runs out
    step: int = 0  # steps taken, including those that the guard has skipped
    dropped_batches: int = 0  # left out of the sequence by rollbacks after spikes
    minutes: float = 0.0  # of training, evaluation and saving, over all resumptions; a rollback loads the checkpoint's
    unlogged_losses: list[float] = field(default_factory=list)  # since the last line of the log, nats per sample
    dev_bits: float | None = None  # measured at this very step
    last_dev_bits: float | None = None  # the most recent measurement
    dev_score: float | None = None  # by `checkpoint.best`, at this very step; lower is better

    @property
    def next_batch(self) -> int:
        """The number of the batch for the next step."""
        return self.step + self.dropped_batches

    def state_dict(self) -> dict[str, Any]:
        """Everything but dev bits and score, which are in the checkpoint's metrics. The keys are the file format's."""
        return {
            "step": self.step,
            "passed_over": self.dropped_batches,
            "parts": self.parts,
            "minutes": self.minutes,
            "pending": list(self.unlogged_losses),
            "guard": self.guard.state_dict(),
            "last_dev_bits": self.last_dev_bits,
        }

    def load_state_dict(self, saved: Mapping[str, Any], dev_bits: float | None, dev_score: float | None = None) -> None:
        """Take over a saved state in place; keys that older checkpoints lack get their defaults."""
        self.step, self.minutes = saved["step"], saved["minutes"]
        self.dropped_batches = saved.get("passed_over", 0)
        self.parts = saved.get("parts", self.parts)
        self.unlogged_losses = list(saved.get("pending", []))
        self.guard.load_state_dict(saved.get("guard", {}))
        self.dev_bits, self.dev_score = dev_bits, dev_score
        self.last_dev_bits = saved.get("last_dev_bits", dev_bits)
