"""Training: the trainer and its loop, in one process or several; the run's checkpoints, logs and TensorBoard."""

from vocoder.training.config import TrainingConfig
from vocoder.training.distributed import World, local_device, process_group
from vocoder.training.loop import Loop
from vocoder.training.monitor import Monitor, NullMonitor
from vocoder.training.run import Run
from vocoder.training.train_state import TrainState
from vocoder.training.trainer import Trainer

__all__ = [
    "Loop",
    "Monitor",
    "NullMonitor",
    "Run",
    "TrainState",
    "Trainer",
    "TrainingConfig",
    "World",
    "local_device",
    "process_group",
]
