"""Untrained networks for benchmarks: of this project, and of r9y9's wavenet-vocoder in the same size."""

from typing import Any

import numpy as np
import torch

from vocoder.commands import cli
from vocoder.distributions import MixtureOfLogistics
from vocoder.features.mel import PRESETS, MelSpec
from vocoder.model import ModelConfig, VocoderConfig, VocoderModel, build_model
from vocoder.settings import from_mapping


def untrained_model(mel: str, *settings: str) -> VocoderModel:
    """A model with random weights.

    Args:
        mel: a preset of the mel.
        settings: of vocoder-train; model=r9y9 has the size of his mixture-of-logistics recipe.
    """
    config = cli.compose("train", ["data=none", "name=none", *settings])
    torch.manual_seed(0)
    model = build_model(VocoderConfig(PRESETS[mel], from_mapping(ModelConfig, config["model"]), MixtureOfLogistics()))
    model.initialise_output(0.05 * torch.randn(10_000))
    return model.eval()


def random_mel(spec: MelSpec, frames: int) -> np.ndarray:
    """A log-mel [n_mels, F] of noise."""
    noise = np.random.default_rng(0).standard_normal((spec.n_mels, frames))
    return (noise - 5).astype(np.float32)


# The network of r9y9's mixture-of-logistics recipe, as his settings name it.
R9Y9_SIZES: dict[str, Any] = {
    "out_channels": 30,
    "layers": 24,
    "stacks": 4,
    "residual_channels": 128,
    "gate_channels": 256,
    "skip_out_channels": 128,
    "cin_channels": 80,
    "upsample_conditional_features": True,
    "upsample_scales": [4, 4, 4, 4],
}


def r9y9_wavenet() -> Any:
    """The network of r9y9's mixture-of-logistics recipe, from his package, with random weights.

    Raises:
        ImportError: the package (wavenet-vocoder 0.1.1 on PyPI) is not installed.
    """
    from wavenet_vocoder import WaveNet  # type: ignore[import-not-found, import-untyped, unused-ignore]

    torch.manual_seed(0)
    return WaveNet(**R9Y9_SIZES, scalar_input=True)
