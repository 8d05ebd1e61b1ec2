"""A tiny vocoder with linear prediction, and mels for it."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from vocoder.engines import pick_engine
from vocoder.model import LinearPredictionConfig, VocoderConfig, VocoderModel, build_model
from vocoder.synthesis import MelFormat, Vocoder


def quiet_model(config: VocoderConfig) -> VocoderModel:
    """An untrained model whose output layer starts at the statistics of quiet noise, so that waves do not clip."""
    torch.manual_seed(0)
    model = build_model(config)
    model.initialise_output(0.1 * torch.randn(10_000))
    return model


@pytest.fixture(scope="session")
def config(tiny_config: VocoderConfig) -> VocoderConfig:
    prediction = LinearPredictionConfig("mel", order=5)
    return replace(tiny_config, model=replace(tiny_config.model, linear_prediction=prediction))


@pytest.fixture(scope="session")
def model(config: VocoderConfig) -> VocoderModel:
    return quiet_model(config)


@pytest.fixture(scope="session")
def make_vocoder(model: VocoderModel) -> Callable[..., Vocoder]:
    """Vocoders with that model on the cpu engine; `width` is the number of lanes of a thread."""

    def make(threads: int = 2, width: int | None = None, precision: str = "float32", postfilter: int = 0) -> Vocoder:
        engine = pick_engine(model, "cpu", precision, threads)
        engine.lanes_per_thread = width or engine.lanes_per_thread
        return Vocoder(model, engine, postfilter, MelFormat(layout="bands_first"))  # mels of 8 bands may have 8 frames

    return make


@pytest.fixture(scope="session")
def make_mel(model: VocoderModel) -> Callable[..., np.ndarray]:
    def make(frames: int = 6, seed: int = 0) -> np.ndarray:
        noise = np.random.default_rng(seed).standard_normal((model.spec.n_mels, frames))
        return (noise - 4).astype(np.float32)

    return make
