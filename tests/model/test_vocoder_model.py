"""The vocoder model: what a prediction depends on, its first loss, devices and precision."""

import math

import numpy as np
import pytest
import torch
from support.small_model import HOP, N_MELS, PREDICTIONS, SPEC, UPSAMPLINGS, changed, random_utterance, small_model
from torch import Tensor

from vocoder.distributions import MixtureOfLogistics
from vocoder.features.audio import int16_to_grid
from vocoder.model.config import (
    ConditioningConfig,
    ModelConfig,
    VocoderConfig,
    WaveNetConfig,
    build_model,
)
from vocoder.model.interpolation import hold_knot


def speech_like(samples: int) -> Tensor:
    """Noise under a slow envelope, with pauses, on the grid."""
    generator = np.random.default_rng(3)
    envelope = np.exp(1.5 * np.repeat(generator.standard_normal(samples // 50 + 1), 50)[:samples])
    noise = 600 * envelope * generator.laplace(size=samples)
    return torch.from_numpy(int16_to_grid(noise.clip(-32768, 32767).astype(np.int16)))


# (samples_per_step, head_context)
with_steps = pytest.mark.parametrize(("samples", "context"), [(1, 0), (1, 4), (2, 1), (3, 5), (4, 8), (6, 2)])


@pytest.mark.parametrize("prediction", PREDICTIONS, ids=lambda config: config.kind)
@pytest.mark.parametrize("kernel_size", [2, 3])
@with_steps
def test_a_prediction_depends_on_exactly_the_past_receptive_field(
    samples: int, context: int, kernel_size: int, prediction
) -> None:
    """From the first sample of a step; from the i-th, on i samples more."""
    sizes = {"kernel_size": kernel_size, "samples_per_step": samples, "head_context": context}
    model = small_model(prediction=prediction, **sizes)
    waves, mel = random_utterance(model, frames=5, batch=100)  # many, lest rectifiers hide a faint tap
    before = model(waves, mel)
    history, field = model.history_frames * HOP, model.receptive_field
    assert before.shape == (100, 9, 5 * HOP)
    for t in (0, 7, 5 * HOP - 1):
        reach = field + t % samples
        for back, matters in ((reach, True), (reach + 1, False), (1, True), (0, False)):
            perturbed = waves.clone()
            perturbed[:, history + t - back] += 20  # or rounding hides a faint tap
            assert (t in changed(before, model(perturbed, mel))) is matters, (t, back)


@pytest.mark.parametrize("prediction", PREDICTIONS, ids=lambda config: config.kind)
@with_steps
def test_no_prediction_depends_on_its_own_sample_or_on_the_future(samples: int, context: int, prediction) -> None:
    model = small_model(prediction=prediction, samples_per_step=samples, head_context=context)
    waves, mel = random_utterance(model, frames=4)
    before = model(waves, mel)
    history = model.history_frames * HOP
    for t in (0, 1, 20, 4 * HOP - 1):
        perturbed = waves.clone()
        perturbed[:, history + t :] = torch.rand(1, 4 * HOP - t)
        after = model(perturbed, mel)
        assert torch.equal(before[..., : t + 1], after[..., : t + 1])
        assert torch.equal(before[..., t + 1 :], after[..., t + 1 :]) is (t == 4 * HOP - 1)


def test_conditioning_reaches_the_prediction_of_its_own_sample_and_none_before(monkeypatch) -> None:
    model = small_model()
    waves, mel = random_utterance(model, frames=3, batch=16)
    frames = mel.shape[2] - 2 * model.context_frames
    channels = model.condition(mel).signal.samples().detach().unflatten(1, (frames, HOP))  # a knot at every sample
    every_sample = hold_knot(torch.arange(HOP))
    monkeypatch.setattr(type(model.conditioning), "interpolation", every_sample)
    monkeypatch.setattr(model.conditioning, "forward", lambda mel: channels)
    before = model(waves, mel)
    for t in (0, 5, 3 * HOP - 1):
        channels = channels.clone()
        channels.flatten(1, 2)[:, model.history_frames * HOP + t] += 5
        after = model(waves, mel)
        assert changed(before, after)[0] == t
        before = after


@pytest.mark.parametrize("scales", UPSAMPLINGS)
@pytest.mark.parametrize("context_frames", [3, 4])
def test_a_mel_frame_conditions_only_the_frames_within_its_context(scales, context_frames: int) -> None:
    model = small_model(conditioning=ConditioningConfig("mel", 5, context_frames, scales), prediction=PREDICTIONS[1])
    frames, middle = 13, 6
    mel = torch.randn(1, N_MELS, frames + 2 * context_frames) - 5
    before = model.condition(mel)
    assert before.signal.samples().shape == (1, frames * HOP, 5)
    mel[:, ::2, context_frames + middle] += 2
    after = model.condition(mel)
    times = changed(*(found.signal.samples().transpose(1, 2) for found in (before, after)))
    assert (middle - context_frames) * HOP <= times[0] <= middle * HOP
    assert (middle + 1) * HOP <= times[-1] + 1 <= (middle + 1 + context_frames) * HOP
    predictors = [model.linear_prediction.predictor(found.filters) for found in (before, after)]
    filters = changed(*(predictor.coefficients.transpose(1, 2) for predictor in predictors))
    assert (middle - 1) * HOP <= filters[0] <= middle * HOP
    assert (middle + 1) * HOP <= filters[-1] + 1 <= (middle + 2) * HOP


@pytest.mark.parametrize("prediction", PREDICTIONS, ids=lambda config: config.kind)
@pytest.mark.parametrize("scales", UPSAMPLINGS)
def test_predictions_of_a_crop_equal_those_of_the_whole_utterance(scales, prediction) -> None:
    model = small_model(conditioning=ConditioningConfig("mel", 5, 3, scales), kernel_size=3, prediction=prediction)
    history, context = model.history_frames, model.context_frames
    waves, mel = random_utterance(model, frames=20)
    whole = model(waves, mel)
    for start, stop in ((0, 4), (7, 12), (16, 20)):
        crop = model(waves[:, start * HOP : (history + stop) * HOP], mel[..., start : history + stop + 2 * context])
        torch.testing.assert_close(crop, whole[..., start * HOP : stop * HOP], rtol=0, atol=1e-5)


@pytest.mark.parametrize("conditioning", [ConditioningConfig(channels=5, context_frames=3), ConditioningConfig("none")])
def test_the_first_loss_is_near_that_of_the_samples_histogram(conditioning: ConditioningConfig) -> None:
    torch.manual_seed(7)
    sizes = WaveNetConfig(8, 2, 2, residual_channels=32, gate_channels=64, skip_channels=64)
    model = build_model(VocoderConfig(SPEC, ModelConfig(sizes, conditioning), MixtureOfLogistics(10)))
    samples = speech_like(HOP * 1000)
    mel = torch.randn(1, N_MELS, 1000 + 2 * model.context_frames)
    model.initialise_output(samples)
    alone = model.distribution.marginal_params(samples)[None, :, None]
    marginal = -model.distribution.log_prob(alone, samples[None]).mean().item() / math.log(2)
    with torch.no_grad():
        first = -model.log_prob(samples[None], mel).mean().item() / math.log(2)
    assert first == pytest.approx(marginal, abs=0.2)


def test_log_prob_scores_each_sample_with_its_own_prediction() -> None:
    model = small_model()
    waves, mel = random_utterance(model, frames=3)
    expected = model.distribution.log_prob(model(waves, mel), waves[:, model.history_frames * HOP :])
    assert torch.equal(model.log_prob(waves, mel), expected)


@pytest.mark.parametrize("scales", [None, (3, 4)])
def test_every_parameter_learns(scales) -> None:
    conditioning = ConditioningConfig("mel", 5, 3, scales)
    model = small_model(conditioning=conditioning, speakers=("ann", "bob"), speaker_channels=4)
    waves, mel = random_utterance(model, frames=3)
    model.log_prob(waves, mel, torch.tensor([1])).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("scales", [None, (3, 4)])
def test_no_tensor_stays_on_the_cpu(scales) -> None:
    with torch.device("meta"):
        model = small_model(
            conditioning=ConditioningConfig("mel", 5, 3, scales), speakers=("ann", "bob"), speaker_channels=4
        )
    waves, mel = random_utterance(model, frames=3)
    speaker = torch.zeros(1, dtype=torch.int64)
    log_prob = model.log_prob(waves.to("meta"), mel.to("meta"), speaker.to("meta"))
    assert (log_prob.device.type, log_prob.shape) == ("meta", (1, 3 * HOP))


@pytest.mark.parametrize("scales", [None, (3, 4)])
def test_parameters_are_float32_under_autocast_and_near_those_without(scales) -> None:
    conditioning = ConditioningConfig("mel", 5, 3, scales)
    model = small_model(conditioning=conditioning, speakers=("ann", "bob"), speaker_channels=4)
    waves, mel = random_utterance(model, frames=3)
    speaker = model.speaker_index("ann")
    plain = model(waves, mel, speaker)
    with torch.autocast("cpu", torch.bfloat16):
        params, log_prob = model(waves, mel, speaker), model.log_prob(waves, mel, speaker)
    assert params.dtype == log_prob.dtype == torch.float32
    assert not torch.equal(params, plain)  # autocast was on
    torch.testing.assert_close(params, plain, rtol=0, atol=0.05)


def test_describe_gives_receptive_field_and_conditioning() -> None:
    text = small_model(speakers=("ann", "bob"), speaker_channels=4).describe()
    assert "receptive field 15 samples (0.9 ms at 16000 Hz)" in text
    assert "mel frames -3..+3 and 2 speakers" in text
    assert "nothing" in small_model(conditioning=ConditioningConfig("none")).describe()


def test_describe_says_what_a_step_of_several_samples_is() -> None:
    text = small_model(samples_per_step=3, head_context=5).describe()
    assert "layers run once for 3 samples, a head that hears 5 for each" in text
    assert "layers run once" not in small_model().describe()
