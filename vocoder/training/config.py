"""Options of a training run, with reasons for the numbers."""

from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Literal

from vocoder.data.dataset import Sampling
from vocoder.errors import UserError


@dataclass(frozen=True)
class BatchConfig:
    """The batch of a training step."""

    size: int = 4  # segments
    segment_frames: int = 25  # mel frames predicted in each; the receptive field comes on top
    accumulate: int = 1  # parts a batch is split into, to save memory; doubled when memory runs out
    recompute: bool = False  # activation checkpointing: recompute the layers' activations in the backward pass
    sampling: Sampling = "lengths"  # draw uniformly over the corpus, over utterances, or over speakers
    workers: int = 0  # data-loading processes; reading a batch from the store takes about a millisecond or two


@dataclass(frozen=True)
class LossConfig:
    """The exact likelihood, plus an optional spectral loss."""

    spectral_weight: float = 0.0  # nats per sample per unit of a straight-through draw's multi-resolution STFT distance
    spectral_temperature: float = 0.5  # of the Gumbel-softmax choice of components in that draw's gradient


@dataclass(frozen=True)
class OptimizerConfig:
    """Adamax (Kingma and Ba 2015), whose steps never exceed the rate: mixtures have rare, huge gradients."""

    learning_rate: float = 4e-3
    betas: tuple[float, ...] = (0.9, 0.999)
    gradient_norm: float = 1.0  # gradients are clipped to this norm
    ema_decay: float = 0.999  # reached gradually: min(ema_decay, (1 + n) / (10 + n)) after n steps


@dataclass(frozen=True)
class ScheduleConfig:
    """Learning rate: linear warm-up, constant, then decay to `final` times its value, or by `factor` per interval."""

    kind: Literal["exponential", "cosine", "step", "constant"] = "exponential"
    warmup_steps: int = 200
    decay_start: float = 0.3  # fraction of the run after which the rate decays (exponential, cosine)
    final: float = 0.02  # fraction of the rate at the end (exponential, cosine)
    interval: int = 200_000  # steps between decays (step)
    factor: float = 0.5  # of each decay (step)


@dataclass(frozen=True)
class GuardConfig:
    """Protection against steps that would do harm."""

    skips: int = 10  # consecutive steps with a loss or gradient that is not finite, which end the run
    spike: float = 6.0  # a loss this many standard deviations above the mean of the recent ones is a spike
    roll_back: bool = False  # after a spike, to the last checkpoint; the batches since then are left out
    rollbacks: int = 5  # at most, in a run


@dataclass(frozen=True)
class LengthConfig:
    """The run ends when the first of these is reached; null is no limit."""

    steps: int | None = 500_000
    minutes: float | None = None  # with evaluation and saving, over all resumptions; not those that a rollback undoes


@dataclass(frozen=True)
class CheckpointConfig:
    """Evaluation on dev utterances, and saving."""

    every: int = 1000  # steps
    keep: int = 3  # the newest checkpoints; the best is kept too
    keep_every: int | None = None  # steps; checkpoints at its multiples are never deleted
    dev_seconds: float = 30.0  # of dev speech to evaluate on, always the same utterances
    best: Literal["bits", "log_mel", "pesq", "mos"] = "bits"  # the measure by which a checkpoint is the best
    best_seconds: float = 20.0  # of dev speech, synthesised at each checkpoint to measure any other than bits


@dataclass(frozen=True)
class AuditionConfig:
    """An audition: free-running synthesis of a few dev utterances, always the same, logged to TensorBoard."""

    every: int = 10_000  # steps; 0 never
    utterances: int = 2
    seconds: float = 2.0  # of each utterance, to limit the time it takes


@dataclass(frozen=True)
class TrainingConfig:
    """All options of a training run except data and model."""

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
    log_every: int = 20  # steps between log entries

    def __post_init__(self) -> None:
        self._at_least(1, ("batch.size", "batch.segment_frames", "batch.accumulate", "log_every"))
        self._at_least(1, ("checkpoint.every", "checkpoint.keep", "schedule.interval", "guard.skips"))
        self._at_least(0, ("batch.workers", "schedule.warmup_steps", "audition.every", "audition.utterances", "seed"))
        self._at_least(0, ("guard.rollbacks",))
        self._above_zero(("optimizer.learning_rate", "optimizer.gradient_norm", "schedule.final", "schedule.factor"))
        self._above_zero(("guard.spike", "checkpoint.keep_every"))
        self._above_zero(
            ("length.steps", "length.minutes", "checkpoint.dev_seconds", "checkpoint.best_seconds", "audition.seconds")
        )
        if not 0 <= self.loss.spectral_weight < float("inf"):
            raise UserError(f"training.loss.spectral_weight={self.loss.spectral_weight}: must be 0 or more")
        self._above_zero(("loss.spectral_temperature",))
        if self.length.steps is None and self.length.minutes is None:
            raise UserError("training.length: give steps or minutes; otherwise the run never ends")
        if not 0 <= self.schedule.decay_start < 1:
            raise UserError(f"training.schedule.decay_start={self.schedule.decay_start}: must be a fraction below 1")
        betas, decay = self.optimizer.betas, self.optimizer.ema_decay
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise UserError(f"training.optimizer.betas={list(betas)}: must be two numbers from 0 to below 1")
        if not 0 <= decay < 1:
            raise UserError(f"training.optimizer.ema_decay={decay}: must be from 0 to below 1")
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
