"""Training: the trainer, its schedule and moving average, checkpoints of a run, and what people see of it."""

from vocoder.training.monitor import Monitor
from vocoder.training.run import Run
from vocoder.training.settings import TrainingSettings
from vocoder.training.trainer import Trainer

__all__ = ["Monitor", "Run", "Trainer", "TrainingSettings"]
