"""A model small enough to test everything a prediction depends on: hop 12, receptive field 15 or 29."""

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from vocoder.distributions import MixtureOfLogistics
from vocoder.features.mel import MelSpec
from vocoder.model.config import (
    ConditioningConfig,
    LinearPredictionConfig,
    ModelConfig,
    VocoderConfig,
    WaveNetConfig,
    build_model,
)
from vocoder.model.vocoder_model import VocoderModel

HOP, N_MELS = 12, 6
SPEC = MelSpec(16000, 64, HOP, 64, N_MELS, 0.0, 8000.0)
SIZES = WaveNetConfig(layers=6, stacks=2, kernel_size=2, residual_channels=8, gate_channels=12, skip_channels=10)
PREDICTIONS = [LinearPredictionConfig("none"), LinearPredictionConfig("mel", order=6, updates=4)]
UPSAMPLINGS = [None, (12,), (3, 4), (2, 3, 2), (1, 12)]


def small_config(**changes: Any) -> VocoderConfig:
    model = ModelConfig(
        replace(
            SIZES,
            kernel_size=changes.pop("kernel_size", 2),
            samples_per_step=changes.pop("samples_per_step", 1),
            head_context=changes.pop("head_context", 0),
        ),
        changes.pop("conditioning", ConditioningConfig(channels=5, context_frames=3)),
        changes.pop("speaker_channels", 0),
        changes.pop("prediction", LinearPredictionConfig()),
    )
    return VocoderConfig(SPEC, model, MixtureOfLogistics(3), **changes)


def small_model(**changes: Any) -> VocoderModel:
    torch.manual_seed(1)
    return build_model(small_config(**changes))


def random_utterance(model: VocoderModel, frames: int, batch: int = 1) -> tuple[Tensor, Tensor]:
    """Waves and mel for a forward pass over so many frames after the history."""
    torch.manual_seed(2)
    waves = 0.5 * torch.randn(batch, (model.history_frames + frames) * HOP)
    mel = torch.randn(batch, N_MELS, model.history_frames + frames + 2 * model.context_frames) - 5
    return model.distribution.grid.round(waves), mel  # type: ignore[attr-defined]


def changed(before: Tensor, after: Tensor) -> list[int]:
    """Times at which [B, P, T] differs at all."""
    return (before != after).any(0).any(0).nonzero().flatten().tolist()
