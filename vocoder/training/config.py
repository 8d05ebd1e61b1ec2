"""Everything a training run can be told, with reasons for the numbers."""

from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Literal

from vocoder.data.dataset import Sampling
from vocoder.errors import UserError


@dataclass(frozen=True)
class BatchConfig:
    """What one step is computed on."""

    size: int = 4  # segments
    segment_frames: int = 25  # frames predicted in each; their receptive field comes on top
    accumulate: int = 1  # parts a batch is split into, one after another, to save memory; doubled where that runs out
    recompute: bool = False  # the layers' activations in the backward pass, in place of keeping them
    sampling: Sampling = "lengths"  # what weighs alike: all of the corpus, all utterances, or all speakers
    workers: int = 0  # loading processes; a batch takes about a millisecond out of a mapped store


@dataclass(frozen=True)
class LossConfig:
    """The exact likelihood, and what may be added to it."""

    spectral_weight: float = 0.0  # nats a sample for one unit of multi-resolution STFT distance of a relaxed draw
    spectral_temperature: float = 0.5  # of the relaxed choice of components in that draw


@dataclass(frozen=True)
class OptimizerConfig:
    """Adamax (Kingma and Ba 2015): no step is longer than the rate, also at the rare huge gradients of a mixture."""

    learning_rate: float = 4e-3
    betas: tuple[float, ...] = (0.9, 0.999)
    gradient_norm: float = 1.0  # longer gradients are scaled down to this
    ema_decay: float = 0.999  # approached from below: min(ema_decay, (1 + n) / (10 + n)) after n steps


@dataclass(frozen=True)
class ScheduleConfig:
    """Learning rate: linear warm-up, constant, then down to `final` times its value, or by `factor` at intervals."""

    kind: Literal["exponential", "cosine", "step", "constant"] = "exponential"
    warmup_steps: int = 200
    decay_start: float = 0.3  # fraction of the run (exponential, cosine)
    final: float = 0.02
    interval: int = 200_000  # steps (step)
    factor: float = 0.5


@dataclass(frozen=True)
class GuardConfig:
    """What is done about steps that would do harm."""

    skips: int = 10  # steps in a row whose loss or gradient is no number end the run
    spike: float = 6.0  # standard deviations of the recent losses, above their mean
    roll_back: bool = False  # after a spike to the last checkpoint, and on without the batches since
    rollbacks: int = 5  # how often


@dataclass(frozen=True)
class LengthConfig:
    """A run ends at whichever comes first; null does not count."""

    steps: int | None = 500_000
    minutes: float | None = None  # of training, over all resumptions


@dataclass(frozen=True)
class CheckpointConfig:
    """Evaluate on dev and save, every so many steps."""

    every: int = 1000
    keep: int = 3  # newest ones, and the best by dev bits besides
    keep_every: int | None = None  # steps: these stay for good
    dev_seconds: float = 30.0  # of dev speech to evaluate on, always the same


@dataclass(frozen=True)
class AuditionConfig:
    """Free-running synthesis of the same dev utterances into TensorBoard."""

    every: int = 10_000  # steps; 0 never
    utterances: int = 2
    seconds: float = 2.0  # of each: the reference engine is slow


@dataclass(frozen=True)
class TrainingConfig:
    """A whole training run, but for data and model."""

    batch: BatchConfig = field(default_factory=BatchConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    length: LengthConfig = field(default_factory=LengthConfig)
    guard: GuardConfig = field(default_factory=GuardConfig)
    checkpoint: CheckpointConfig = field(default_factory=CheckpointConfig)
    audition: AuditionConfig = field(default_factory=AuditionConfig)
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    seed: int = 0
    log_every: int = 20  # steps between scalars

    def __post_init__(self) -> None:
        self._at_least(1, ("batch.size", "batch.segment_frames", "batch.accumulate", "log_every"))
        self._at_least(1, ("checkpoint.every", "checkpoint.keep", "schedule.interval", "guard.skips"))
        self._at_least(0, ("batch.workers", "schedule.warmup_steps", "audition.every", "audition.utterances", "seed"))
        self._at_least(0, ("guard.rollbacks",))
        self._above_zero(("optimizer.learning_rate", "optimizer.gradient_norm", "schedule.final", "schedule.factor"))
        self._above_zero(("guard.spike", "checkpoint.keep_every"))
        self._above_zero(("length.steps", "length.minutes", "checkpoint.dev_seconds", "audition.seconds"))
        if not 0 <= self.loss.spectral_weight < float("inf"):
            raise UserError(f"training.loss.spectral_weight={self.loss.spectral_weight}: must be 0 or more")
        self._above_zero(("loss.spectral_temperature",))
        if self.length.steps is None and self.length.minutes is None:
            raise UserError("training.length: give steps or minutes, or the run never ends")
        if not 0 <= self.schedule.decay_start < 1:
            raise UserError(f"training.schedule.decay_start={self.schedule.decay_start}: a fraction of the run below 1")
        betas, decay = self.optimizer.betas, self.optimizer.ema_decay
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise UserError(f"training.optimizer.betas={list(betas)}: Adamax takes two numbers from 0 to below 1")
        if not 0 <= decay < 1:
            raise UserError(f"training.optimizer.ema_decay={decay}: must lie between 0 and 1, without 1")
        if self.batch.accumulate > self.batch.size:
            raise UserError(f"training.batch.accumulate={self.batch.accumulate}: more parts than segments in a batch")

    def _at_least(self, bound: int, names: tuple[str, ...]) -> None:
        for name in names:
            if self._value(name) < bound:
                raise UserError(f"training.{name}={self._value(name)}: must be at least {bound}")

    def _above_zero(self, names: tuple[str, ...]) -> None:
        for name in names:
            value = self._value(name)
            if value is not None and not 0 < value < float("inf"):
                raise UserError(f"training.{name}={value}: must be above 0")

    def _value(self, name: str) -> Any:
        return reduce(getattr, name.split("."), self)
