"""Trainers of a tiny model on the recordings in tests/speech/allison, fast enough for many steps."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch

from vocoder.data.store import Store
from vocoder.model import VocoderConfig
from vocoder.training import Trainer, TrainingConfig
from vocoder.training.config import (
    AuditionConfig,
    BatchConfig,
    CheckpointConfig,
    LengthConfig,
    ScheduleConfig,
)

CONFIG = TrainingConfig(
    batch=BatchConfig(size=4, segment_frames=2),
    schedule=ScheduleConfig(warmup_steps=4),
    length=LengthConfig(steps=6),
    checkpoint=CheckpointConfig(every=2, keep=3, dev_seconds=1.0),
    audition=AuditionConfig(every=0, utterances=1, seconds=0.1),
    precision="float32",
    log_every=1,
)


@pytest.fixture(scope="session")
def config(tiny_config: VocoderConfig, speech_store: Store) -> VocoderConfig:
    return replace(tiny_config, mel=speech_store.spec)


@pytest.fixture
def make_trainer(config: VocoderConfig, speech_store: Store) -> Callable[..., Trainer]:
    """Makes a trainer on `device`, with some options of the training config or the model replaced."""

    def make(device: str = "cpu", model: VocoderConfig = config, **changes: Any) -> Trainer:
        return Trainer(model, speech_store, replace(CONFIG, **changes), torch.device(device))

    return make
