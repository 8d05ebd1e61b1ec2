"""Training: the learner and its loop, in one process or several; checkpoints of a run, and what people see of it."""

from vocoder.training.config import TrainingConfig
from vocoder.training.distributed import World, joined, local_device
from vocoder.training.loop import Loop
from vocoder.training.monitor import Monitor, NullMonitor
from vocoder.training.run import Run
from vocoder.training.trainer import Trainer

__all__ = ["Loop", "Monitor", "NullMonitor", "Run", "Trainer", "TrainingConfig", "World", "joined", "local_device"]
