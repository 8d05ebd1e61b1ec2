"""Generation is the model run one sample at a time: same equations, same start, same distribution."""

import math
from collections.abc import Callable, Iterable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from vocoder import synthesis
from vocoder.distributions import MixtureOfLogistics
from vocoder.engines import Noise, ReferenceEngine
from vocoder.mel import MelSpec
from vocoder.model import (
    Conditioning,
    ConditioningConfig,
    LinearPredictionConfig,
    ModelConfig,
    VocoderConfig,
    VocoderModel,
    WaveNetConfig,
    build_model,
    extend_edges,
)
from vocoder.model.linear_prediction import Predictor
from vocoder.synthesis import conditioning_blocks, silence_conditioning

HOP, N_MELS, FRAMES = 12, 6, 8
MEL = ConditioningConfig("mel", channels=5, context_frames=3)
SIZES = WaveNetConfig(layers=6, stacks=2, kernel_size=2, residual_channels=8, gate_channels=12, skip_channels=10)
MODELS = {
    "kernel 2": {},
    "kernel 3": {"kernel_size": 3},
    "kernel 1": {"kernel_size": 1},
    "one stack": {"stacks": 1, "kernel_size": 3},
    "three stacks": {"stacks": 3},
    "one layer": {"layers": 1, "stacks": 1},
    "staged upsampling": {"conditioning": replace(MEL, upsample_scales=(3, 4))},
    "no conditioning": {"conditioning": ConditioningConfig("none")},
    "speakers": {"speakers": ("ann", "bob")},
    "speakers only": {"conditioning": ConditioningConfig("none"), "speakers": ("ann", "bob"), "kernel_size": 3},
    "one component": {"components": 1},
    "linear prediction": {"prediction": LinearPredictionConfig("mel", order=7, updates=5)},
    "linear prediction, speakers": {
        "prediction": LinearPredictionConfig("mel", order=1, updates=1),
        "speakers": ("ann", "bob"),
        "kernel_size": 3,
    },
}


def a_model(
    conditioning: ConditioningConfig = MEL,
    speakers: tuple[str, ...] = (),
    components: int = 3,
    prediction: LinearPredictionConfig = LinearPredictionConfig(),  # noqa: B008
    **sizes: int,
) -> VocoderModel:
    torch.manual_seed(1)
    spec = MelSpec(16000, 64, HOP, 64, N_MELS, 0.0, 8000.0)
    parts = ModelConfig(replace(SIZES, **sizes), conditioning, 4 if speakers else 0, prediction)
    model = build_model(VocoderConfig(spec, parts, MixtureOfLogistics(components), speakers))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)  # so that every path matters, biases too
    return model.eval()


def a_mel(batch: int = 1, frames: int = FRAMES) -> Tensor:
    torch.manual_seed(2)
    return torch.randn(batch, N_MELS, frames) - 5  # as loud as speech, to linear prediction


def speakers_of(model: VocoderModel, batch: int) -> Tensor | None:
    return torch.arange(batch) % 2 if model.speakers else None


@torch.inference_mode()
def in_parallel(model: VocoderModel, waves: Tensor, mel: Tensor, speaker: Tensor | None) -> Tensor:
    """Parameters [B, P, F H] of whole utterances by `forward`, after zeros and the repeated first frame."""
    before = model.history_frames + model.context_frames
    with_silence = torch.cat([waves.new_zeros(len(waves), model.history_frames * HOP), waves], 1)
    return model(with_silence, extend_edges(mel, before, model.context_frames), speaker)


@torch.inference_mode()
def one_by_one(model: VocoderModel, waves: Tensor, mel: Tensor, speaker: Tensor | None) -> Tensor:
    """The same by the engine, which is told the true sample after each prediction."""
    engine = ReferenceEngine(model)
    state = engine.start(silence_conditioning(model, mel, speaker))
    conditioning = joined(conditioning_blocks(model, mel, speaker))
    params = []
    for t, known in enumerate(conditioning.unbind()):
        params.append(engine.step(state, known))
        state.hear(waves[:, t : t + 1])
    return torch.cat(params, 2)


def joined(blocks: Iterable[Conditioning]) -> Conditioning:
    """Blocks one after another as one."""
    blocks = list(blocks)
    channels = torch.cat([block.channels for block in blocks], 1)
    predictors = [block.predictor for block in blocks if block.predictor]
    if not predictors:
        return Conditioning(channels)
    parts = ([getattr(predictor, field.name) for predictor in predictors] for field in fields(Predictor))
    return Conditioning(channels, Predictor(*(torch.cat(part, 1) for part in parts)))


def generate(model: VocoderModel, mel: Tensor, seed: int = 0, ids: list[str] | None = None, **options: Any) -> Tensor:
    speaker = speakers_of(model, len(mel))
    noise = Noise(seed, ids or [str(i) for i in range(len(mel))], model.distribution.uniforms)
    history, blocks = silence_conditioning(model, mel, speaker), conditioning_blocks(model, mel, speaker)
    return torch.cat(list(ReferenceEngine(model).generate(history, blocks, noise, **options)), 1)


@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_the_engine_predicts_what_the_model_predicts(options: dict[str, Any]) -> None:
    model = a_model(**options)
    waves = model.distribution.grid.round(0.5 * torch.randn(2, FRAMES * HOP))
    mel, speaker = a_mel(batch=2), speakers_of(model, 2)
    expected = in_parallel(model, waves, mel, speaker)
    assert expected.std() > 0.1
    torch.testing.assert_close(one_by_one(model, waves, mel, speaker), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_an_utterance_shorter_than_the_context_is_predicted_alike(frames: int) -> None:
    model = a_model(kernel_size=3)
    waves = model.distribution.grid.round(0.5 * torch.randn(1, frames * HOP))
    mel = a_mel(frames=frames)
    torch.testing.assert_close(
        one_by_one(model, waves, mel, None), in_parallel(model, waves, mel, None), rtol=0, atol=1e-4
    )


@pytest.mark.parametrize("options", MODELS.values(), ids=MODELS)
def test_what_is_generated_is_on_the_grid_and_the_model_finds_it_likely(options: dict[str, Any]) -> None:
    model = a_model(**options)
    mel = a_mel(batch=2)
    waves = generate(model, mel)
    assert waves.shape == (2, FRAMES * HOP)
    assert torch.equal(waves, model.distribution.grid.round(waves))
    assert waves.unique().numel() > 10
    params = in_parallel(model, waves, mel, speakers_of(model, 2))
    assert model.distribution.log_prob(params, waves).isfinite().all()


def test_generation_draws_from_the_parameters_with_the_noise_of_each_sample() -> None:
    model = a_model()
    mel = a_mel(batch=2)
    waves = generate(model, mel, seed=5)
    params = in_parallel(model, waves, mel, None)
    drawn = model.distribution.sample(params, Noise(5, ["0", "1"], model.distribution.uniforms).block(0, FRAMES * HOP))
    torch.testing.assert_close(waves, drawn, rtol=0, atol=1e-4)


def test_temperature_multiplies_the_scale_around_the_mean() -> None:
    model = a_model(components=1)
    mean, scale = 0.25, 0.02
    with torch.no_grad():
        model.wavenet.output.weight.zero_()
        model.wavenet.output.bias.copy_(torch.tensor([0.0, mean, math.log(scale)]))
    u = Noise(0, ["0"], 2).block(0, FRAMES * HOP)[:, 1]
    for temperature in (1.0, 0.5, 1e-6):
        expected = mean + temperature * scale * (u.double() / (1 - u.double())).log()
        waves = generate(model, a_mel(), temperature=temperature)
        torch.testing.assert_close(waves.double(), expected.clamp(-1, 1), rtol=0, atol=1.01 / 65535)


def test_the_same_seed_and_id_give_the_same_wave_and_others_another() -> None:
    model, mel = a_model(), a_mel()
    first = generate(model, mel, seed=1, ids=["a"])
    assert torch.equal(generate(model, mel, seed=1, ids=["a"]), first)
    assert not torch.equal(generate(model, mel, seed=2, ids=["a"]), first)
    assert not torch.equal(generate(model, mel, seed=1, ids=["b"]), first)


@pytest.mark.parametrize("size", [1, 5, 12, 1000])
@pytest.mark.parametrize("kind", ["none", "mel"])
def test_a_wave_does_not_depend_on_how_conditioning_is_cut(size: int, kind: Any) -> None:
    model, mel = a_model(kernel_size=3, prediction=LinearPredictionConfig(kind, order=7)), a_mel(batch=2)
    history = silence_conditioning(model, mel, None)
    conditioning = joined(conditioning_blocks(model, mel, None))
    noise = Noise(0, ["a", "b"], model.distribution.uniforms)
    whole = torch.cat(list(ReferenceEngine(model).generate(history, [conditioning], noise)), 1)
    pieces = [conditioning[first : first + size] for first in range(0, FRAMES * HOP, size)]
    cut = list(ReferenceEngine(model).generate(history, pieces, noise))
    assert torch.equal(torch.cat(cut, 1), whole)


@pytest.mark.parametrize("scales", [None, (3, 4)])
@pytest.mark.parametrize("block_frames", [1, 3, 8])
def test_conditioning_in_blocks_is_that_of_the_whole_mel(monkeypatch, block_frames: int, scales) -> None:
    prediction = LinearPredictionConfig("mel", order=7)
    model, mel = a_model(replace(MEL, upsample_scales=scales), prediction=prediction), a_mel(batch=2)
    monkeypatch.setattr(synthesis, "BLOCK_FRAMES", block_frames)
    blocks = list(conditioning_blocks(model, mel, None))
    assert len(blocks) == math.ceil(FRAMES / block_frames)
    whole = model.condition(extend_edges(mel, model.context_frames, model.context_frames))
    found = joined(blocks)
    torch.testing.assert_close(found.channels, whole.channels, rtol=0, atol=1e-5)
    assert found.predictor is not None
    assert whole.predictor is not None
    torch.testing.assert_close(found.predictor.weights, whole.predictor.weights, rtol=0, atol=1e-5)
    torch.testing.assert_close(found.predictor.log_gain, whole.predictor.log_gain, rtol=0, atol=1e-5)


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
