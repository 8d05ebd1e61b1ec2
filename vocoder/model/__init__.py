"""The network: residual layers, mel conditioning, WaveNet, and the vocoder model they make."""

from vocoder.model.checkpoint import Checkpoint, find_checkpoint, load_model, open_checkpoint, save_checkpoint
from vocoder.model.config import (
    ConditioningConfig,
    LinearPredictionConfig,
    ModelConfig,
    VocoderConfig,
    WaveNetConfig,
    build_model,
)
from vocoder.model.vocoder_model import Conditioning, VocoderModel, extend_edges

__all__ = [
    "Checkpoint",
    "Conditioning",
    "ConditioningConfig",
    "LinearPredictionConfig",
    "ModelConfig",
    "VocoderConfig",
    "VocoderModel",
    "WaveNetConfig",
    "build_model",
    "extend_edges",
    "find_checkpoint",
    "load_model",
    "open_checkpoint",
    "save_checkpoint",
]
