"""Generation is the model run one sample at a time: same equations, same start, same distribution."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from support.models import FRAMES, HOP, MODELS, a_mel, a_model, generated, in_parallel, one_by_one, speakers_of, told_of
from torch import Tensor

from vocoder.distributions import MixtureOfLogistics
from vocoder.engines import Engine, Noise, ReferenceEngine, pick_engine
from vocoder.engines.cuda import CudaEngine
from vocoder.errors import UserError
from vocoder.kernels import matmul
from vocoder.model import LinearPredictionConfig, VocoderModel
from vocoder.model.linear_prediction import Predictor

ENGINES: dict[str, Callable[[VocoderModel], Engine]] = {
    "reference": ReferenceEngine,
    "cpu": lambda model: pick_engine(model, "cpu"),
    "cuda without cuda": CudaEngine,
}
every_engine = pytest.mark.parametrize("engine", ENGINES.values(), ids=ENGINES)
every_model = pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)


@every_engine
@every_model
def test_an_engine_predicts_what_the_model_predicts(engine: Callable[[VocoderModel], Engine], options: Any) -> None:
    model = a_model(**options)
    waves = model.distribution.grid.round((0.5 * torch.randn(2, FRAMES * HOP)).clamp(-0.9, 0.9))
    mel, speaker = a_mel(batch=2), speakers_of(model, 2)
    expected = in_parallel(model, waves, mel, speaker)
    assert expected.std() > 0.1
    torch.testing.assert_close(one_by_one(engine(model), waves, mel, speaker), expected, rtol=0, atol=1e-4)


@pytest.mark.skipif(not matmul.HAS_BF16, reason="this processor does not multiply bfloat16")
@every_model
def test_bfloat16_predicts_what_the_model_predicts_but_for_its_digits(options: Any) -> None:
    model = a_model(**options)
    waves = model.distribution.grid.round((0.5 * torch.randn(9, FRAMES * HOP)).clamp(-0.9, 0.9))
    mel, speaker = a_mel(batch=9), speakers_of(model, 9)
    predicted = one_by_one(pick_engine(model, "cpu", "bfloat16"), waves, mel, speaker)
    expected = in_parallel(model, waves, mel, speaker)
    torch.testing.assert_close(predicted, expected, rtol=0, atol=0.1 * float(expected.std()))
    assert generated(pick_engine(model, "cpu", "bfloat16"), mel[:2]).unique().numel() > 10


@pytest.mark.cuda
@every_model
def test_a_graph_replayed_is_the_step(options: Any) -> None:
    model = a_model(**options)
    waves = model.distribution.grid.round((0.5 * torch.randn(2, FRAMES * HOP)).clamp(-0.9, 0.9))
    mel, speaker = a_mel(batch=2), speakers_of(model, 2)
    expected = in_parallel(model, waves, mel, speaker)
    model.cuda()
    speaker = speaker.cuda() if speaker is not None else None
    predicted = one_by_one(pick_engine(model, "cuda"), waves, mel, speaker)
    torch.testing.assert_close(predicted, expected, rtol=0, atol=1e-3)


def test_a_model_that_diverged_is_refused() -> None:
    model = a_model()
    with torch.no_grad():
        model.wavenet.output.bias[0] = torch.nan
    with pytest.raises(UserError, match="diverged"):
        pick_engine(model)


@every_engine
@pytest.mark.parametrize("frames", [1, 2, 3, 17])
def test_an_utterance_of_any_length_is_predicted_alike(engine: Callable[[VocoderModel], Engine], frames: int) -> None:
    model = a_model(kernel_size=3)
    waves = model.distribution.grid.round(0.5 * torch.randn(1, frames * HOP))
    mel = a_mel(frames=frames)
    predicted = one_by_one(engine(model), waves, mel, None)
    torch.testing.assert_close(predicted, in_parallel(model, waves, mel, None), rtol=0, atol=1e-4)


@every_engine
@every_model
def test_what_is_generated_is_drawn_from_what_the_model_predicts(
    engine: Callable[[VocoderModel], Engine], options: Any
) -> None:
    """Sample by sample, with the noise of each; where rounding flips a level, by one level."""
    model = a_model(**options)
    mel = a_mel(batch=2) - 2  # quiet: what full scale cuts off, an engine remembers otherwise than a recording has it
    waves = model.distribution.grid.round(generated(engine(model), mel, seed=5))
    assert waves.shape == (2, FRAMES * HOP)
    assert waves.unique().numel() > 10
    params = in_parallel(model, waves, mel, speakers_of(model, 2))
    noise = Noise(5, ["0", "1"], model.distribution.uniforms).block(0, FRAMES * HOP)
    torch.testing.assert_close(waves, model.distribution.sample(params, noise), rtol=0, atol=1e-4)


@every_engine
def test_temperature_multiplies_the_scale_around_the_mean(engine: Callable[[VocoderModel], Engine]) -> None:
    model = a_model(distribution=MixtureOfLogistics(1))
    mean, scale = 0.25, 0.02
    with torch.no_grad():
        model.wavenet.output.weight.zero_()
        model.wavenet.output.bias.copy_(torch.tensor([0.0, mean, math.log(scale)]))
    u = Noise(0, ["0"], 2).block(0, FRAMES * HOP)[:, 1]
    for temperature in (1.0, 0.5, 1e-6):
        expected = mean + temperature * scale * (u.double() / (1 - u.double())).log()
        waves = generated(engine(model), a_mel(), temperature=temperature)
        torch.testing.assert_close(waves.double(), expected.clamp(-1, 1), rtol=0, atol=1.01 / 65535)


@every_engine
def test_temperature_divides_the_logits(engine: Callable[[VocoderModel], Engine]) -> None:
    model = a_model(distribution=MixtureOfLogistics(2))
    with torch.no_grad():
        model.wavenet.output.weight.zero_()
        model.wavenet.output.bias.copy_(torch.tensor([1.0, 0.0, 0.5, -0.5, -20.0, -20.0]))
    mel = a_mel(frames=100)
    for temperature in (1.0, 0.5):
        waves = generated(engine(model), mel, temperature=temperature)
        expected = 1 / (1 + math.exp(-1 / temperature))
        assert float((waves > 0).double().mean()) == pytest.approx(expected, abs=4.5 * math.sqrt(0.25 / waves.numel()))


@every_engine
def test_the_same_seed_and_id_give_the_same_wave_and_others_another(engine: Callable[[VocoderModel], Engine]) -> None:
    picked, mel = engine(a_model()), a_mel()
    first = generated(picked, mel, seed=1, ids=["a"])
    assert torch.equal(generated(picked, mel, seed=1, ids=["a"]), first)
    assert not torch.equal(generated(picked, mel, seed=2, ids=["a"]), first)
    assert not torch.equal(generated(picked, mel, seed=1, ids=["b"]), first)


@every_engine
def test_a_lane_goes_on_where_it_is_moved_to(engine: Callable[[VocoderModel], Engine]) -> None:
    model = a_model(prediction=LinearPredictionConfig("mel", order=7))
    mel = a_mel()[0]
    waves = model.distribution.grid.round(0.3 * torch.randn(2, FRAMES * HOP))
    first, second = (told_of(model, wave, mel, None, b) for b, wave in enumerate(waves))
    lanes, alone = engine(model).lanes(2), engine(model).lanes(1)
    half = len(first) // 2
    for frames in zip(first[:half], second[:half], strict=True):
        lanes.advance(frames)
    lanes.move(1, 0)
    moved = [lanes.predict([frame]) for frame in second[half:]]
    expected = [alone.predict([frame]) for frame in second][half:]
    np.testing.assert_allclose(np.stack(moved), np.stack(expected), rtol=0, atol=1e-5)


def test_a_loud_filter_does_not_howl_after_it_was_cut_off_at_full_scale() -> None:
    """Four resonances in one: driven beyond full scale, then left alone, it has to die away as a linear filter does."""
    poles = [0.995 * np.exp(1j * 2 * np.pi * hertz / 16000) for hertz in (300, 700, 2500, 3500)]
    polynomial = np.real(np.poly([*poles, *np.conj(poles)]))
    weights = torch.from_numpy(-polynomial[1:][::-1].copy()).float()
    predictor = Predictor(weights, torch.zeros(1, 1))
    grid = MixtureOfLogistics().grid

    def left_alone(remember: Callable[[Tensor, Tensor], Tensor]) -> float:
        past, level = torch.zeros(1, 8), 0.0
        for t in range(6000):
            p = predictor.predict(past)[:, None]
            x = grid.round(p + (1.5 if t < 40 and t % 7 == 0 else 0.0))
            past = torch.cat((past[:, 1:], remember(x, p)), 1)
            level = max(level, float(x.abs())) if t >= 5000 else 0.0
        return level

    assert left_alone(lambda x, p: x) > 0.9  # what saturation does to this filter
    assert left_alone(predictor.continued) < 0.05  # rounding to levels keeps a whisper alive


def test_what_lies_within_full_scale_is_remembered_as_it_is() -> None:
    p = torch.tensor([[0.5, 1.5, 1.5, -2.0, -2.0, 1.5]])
    x = torch.tensor([[0.4, 1.0, 0.9, -1.0, 1.0, -1.0]])
    assert Predictor.continued(x, p).tolist() == [[pytest.approx(v) for v in (0.4, 1.5, 0.9, -2.0, 1.0, -1.0)]]
