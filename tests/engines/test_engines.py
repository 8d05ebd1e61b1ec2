"""Engines against the model's forward pass: the same parameters, samples drawn from them, and lanes that move."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from support.models import (
    FRAMES,
    HOP,
    MODELS,
    engine_params,
    forced_frames,
    forward_params,
    generate_waves,
    random_mel,
    random_model,
    speakers_of,
)
from torch import Tensor

from vocoder.distributions import MixtureOfLogistics
from vocoder.engines import Engine, Noise, ReferenceEngine, pick_engine
from vocoder.engines.cuda import CudaEngine
from vocoder.kernels import processor
from vocoder.model import LinearPredictionConfig, VocoderModel
from vocoder.model.linear_prediction import Prediction, Predictor

ENGINES: dict[str, Callable[[VocoderModel], Engine]] = {
    "reference": ReferenceEngine,
    "cpu": lambda model: pick_engine(model, "cpu"),
    "cuda without cuda": CudaEngine,
}
every_engine = pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
every_model = pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)


@every_engine
@every_model
def test_an_engine_computes_the_parameters_of_the_forward_pass(
    engine: Callable[[VocoderModel], Engine], options: Any
) -> None:
    model = random_model(**options)
    waves = model.distribution.grid.round((0.5 * torch.randn(2, FRAMES * HOP)).clamp(-0.9, 0.9))
    mel, speaker = random_mel(batch=2), speakers_of(model, 2)
    expected = forward_params(model, waves, mel, speaker)
    assert expected.std() > 0.1
    torch.testing.assert_close(engine_params(engine(model), waves, mel, speaker), expected, rtol=0, atol=1e-4)


@pytest.mark.skipif(not processor.HAS_BF16, reason="this processor does not multiply bfloat16")
@every_model
def test_bfloat16_computes_the_parameters_of_the_forward_pass_to_its_precision(options: Any) -> None:
    model = random_model(**options)
    waves = model.distribution.grid.round((0.5 * torch.randn(9, FRAMES * HOP)).clamp(-0.9, 0.9))
    mel, speaker = random_mel(batch=9), speakers_of(model, 9)
    predicted = engine_params(pick_engine(model, "cpu", "bfloat16"), waves, mel, speaker)
    expected = forward_params(model, waves, mel, speaker)
    torch.testing.assert_close(predicted, expected, rtol=0, atol=0.1 * float(expected.std()))
    assert generate_waves(pick_engine(model, "cpu", "bfloat16"), mel[:2]).unique().numel() > 10


@pytest.mark.cuda
@every_model
def test_a_replayed_cuda_graph_computes_the_parameters_of_the_forward_pass(options: Any) -> None:
    model = random_model(**options)
    waves = model.distribution.grid.round((0.5 * torch.randn(2, FRAMES * HOP)).clamp(-0.9, 0.9))
    mel, speaker = random_mel(batch=2), speakers_of(model, 2)
    expected = forward_params(model, waves, mel, speaker)
    model.cuda()
    speaker = speaker.cuda() if speaker is not None else None
    predicted = engine_params(pick_engine(model, "cuda"), waves, mel, speaker)
    torch.testing.assert_close(predicted, expected, rtol=0, atol=1e-3)


@every_engine
@pytest.mark.parametrize("frames", [1, 2, 3, 17])
def test_parameters_agree_for_utterances_of_any_length(engine: Callable[[VocoderModel], Engine], frames: int) -> None:
    model = random_model(kernel_size=3)
    waves = model.distribution.grid.round(0.5 * torch.randn(1, frames * HOP))
    mel = random_mel(frames=frames)
    predicted = engine_params(engine(model), waves, mel, None)
    torch.testing.assert_close(predicted, forward_params(model, waves, mel, None), rtol=0, atol=1e-4)


@every_engine
@every_model
def test_samples_are_drawn_from_the_parameters_of_the_forward_pass(
    engine: Callable[[VocoderModel], Engine], options: Any
) -> None:
    """With the same noise each sample is equal, or one level away where rounding differs."""
    model = random_model(**options)
    mel = random_mel(batch=2) - 2  # quiet: a clipped sample is in an engine's memory unclipped, but not in `waves`
    waves = model.distribution.grid.round(generate_waves(engine(model), mel, seed=5))
    assert waves.shape == (2, FRAMES * HOP)
    assert waves.unique().numel() > 10
    params = forward_params(model, waves, mel, speakers_of(model, 2))
    noise = Noise(5, ["0", "1"], model.distribution.uniforms).block(0, FRAMES * HOP)
    torch.testing.assert_close(waves, model.distribution.sample(params, noise), rtol=0, atol=1e-4)


@every_engine
def test_temperature_multiplies_the_scale_around_the_mean(engine: Callable[[VocoderModel], Engine]) -> None:
    model = random_model(distribution=MixtureOfLogistics(1))
    mean, scale = 0.25, 0.02
    with torch.no_grad():
        model.wavenet.output.weight.zero_()
        model.wavenet.output.bias.copy_(torch.tensor([0.0, mean, math.log(scale)]))
    u = Noise(0, ["0"], 2).block(0, FRAMES * HOP)[:, 1]
    for temperature in (1.0, 0.5, 1e-6):
        expected = mean + temperature * scale * (u.double() / (1 - u.double())).log()
        waves = generate_waves(engine(model), random_mel(), temperature=temperature)
        torch.testing.assert_close(waves.double(), expected.clamp(-1, 1), rtol=0, atol=1.01 / 65535)


@every_engine
def test_temperature_divides_the_logits(engine: Callable[[VocoderModel], Engine]) -> None:
    model = random_model(distribution=MixtureOfLogistics(2))
    with torch.no_grad():
        model.wavenet.output.weight.zero_()
        model.wavenet.output.bias.copy_(torch.tensor([1.0, 0.0, 0.5, -0.5, -20.0, -20.0]))
    mel = random_mel(frames=100)
    for temperature in (1.0, 0.5):
        waves = generate_waves(engine(model), mel, temperature=temperature)
        expected = 1 / (1 + math.exp(-1 / temperature))
        assert float((waves > 0).double().mean()) == pytest.approx(expected, abs=4.5 * math.sqrt(0.25 / waves.numel()))


@every_engine
def test_the_wave_is_a_function_of_seed_and_id(engine: Callable[[VocoderModel], Engine]) -> None:
    made, mel = engine(random_model()), random_mel()
    first = generate_waves(made, mel, seed=1, ids=["a"])
    assert torch.equal(generate_waves(made, mel, seed=1, ids=["a"]), first)
    assert not torch.equal(generate_waves(made, mel, seed=2, ids=["a"]), first)
    assert not torch.equal(generate_waves(made, mel, seed=1, ids=["b"]), first)


@every_engine
def test_a_moved_lane_continues_its_utterance(engine: Callable[[VocoderModel], Engine]) -> None:
    model = random_model(prediction=LinearPredictionConfig("mel", order=7))
    mel = random_mel()[0]
    waves = model.distribution.grid.round(0.3 * torch.randn(2, FRAMES * HOP))
    first, second = (forced_frames(model, wave, mel, None, b) for b, wave in enumerate(waves))
    lanes, alone = engine(model).lanes(2), engine(model).lanes(1)
    half = len(first) // 2
    for frames in zip(first[:half], second[:half], strict=True):
        lanes.advance(frames)
    lanes.move(1, 0)
    moved = [lanes.predict([frame]) for frame in second[half:]]
    expected = [alone.predict([frame]) for frame in second][half:]
    np.testing.assert_allclose(np.stack(moved), np.stack(expected), rtol=0, atol=1e-5)


def test_a_linear_prediction_driven_beyond_full_scale_decays_afterwards() -> None:
    """Four resonances, driven into clipping and then without excitation, decay like a linear filter."""
    poles = [0.995 * np.exp(1j * 2 * np.pi * hertz / 16000) for hertz in (300, 700, 2500, 3500)]
    polynomial = np.real(np.poly([*poles, *np.conj(poles)]))
    weights = torch.from_numpy(-polynomial[1:][::-1].copy()).float()
    predictor = Predictor(weights[None, None], torch.zeros(1, 1))
    grid = MixtureOfLogistics().grid

    def level_at_the_end(remember: Callable[[Prediction, Tensor], Tensor]) -> float:
        past, level = torch.zeros(1, 8), 0.0
        for t in range(6000):
            prediction = predictor.predict(past[:, None])
            x = grid.round(prediction.mean + (1.5 if t < 40 and t % 7 == 0 else 0.0))
            past = torch.cat((past[:, 1:], remember(prediction, x)), 1)
            level = max(level, float(x.abs())) if t >= 5000 else 0.0
        return level

    assert level_at_the_end(lambda prediction, x: x) > 0.9  # fed with clipped samples it oscillates for ever
    assert level_at_the_end(Prediction.clip_compensated) < 0.05  # not 0: rounding to levels keeps a faint oscillation


def test_only_clipped_samples_are_replaced_by_the_prediction() -> None:
    prediction = Prediction(torch.tensor([[0.5, 1.5, 1.5, -2.0, -2.0, 1.5]]), torch.zeros(1, 6))
    x = torch.tensor([[0.4, 1.0, 0.9, -1.0, 1.0, -1.0]])
    expected = (0.4, 1.5, 0.9, -2.0, 1.0, -1.0)
    assert prediction.clip_compensated(x).tolist() == [[pytest.approx(value) for value in expected]]
