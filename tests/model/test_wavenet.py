"""The network and the vocoder model: what each output depends on, and what it equals.

A small model stands for all: hop 12, receptive field 15 or 29, float32 on one core.
"""

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vocoder.distributions import MixtureOfLogistics
from vocoder.errors import UserError
from vocoder.features.audio import int16_to_grid
from vocoder.features.mel import MelSpec
from vocoder.model.conditioning import MelConditioning
from vocoder.model.config import (
    ConditioningConfig,
    LinearPredictionConfig,
    ModelConfig,
    VocoderConfig,
    WaveNetConfig,
    build_model,
)
from vocoder.model.interpolation import LinearUpsample, PiecewiseLinear, StagedUpsample, interpolate, no_interpolation
from vocoder.model.vocoder_model import VocoderModel, extend_edges
from vocoder.model.wavenet import WaveNet, dilations

HOP, N_MELS = 12, 6
SPEC = MelSpec(16000, 64, HOP, 64, N_MELS, 0.0, 8000.0)
SIZES = WaveNetConfig(layers=6, stacks=2, kernel_size=2, residual_channels=8, gate_channels=12, skip_channels=10)
PREDICTIONS = [LinearPredictionConfig("none"), LinearPredictionConfig("mel", order=6, updates=4)]
UPSAMPLINGS = [None, (12,), (3, 4), (2, 3, 2), (1, 12)]


def a_config(**changes: Any) -> VocoderConfig:
    model = ModelConfig(
        replace(SIZES, kernel_size=changes.pop("kernel_size", 2)),
        changes.pop("conditioning", ConditioningConfig(channels=5, context_frames=3)),
        changes.pop("speaker_channels", 0),
        changes.pop("prediction", LinearPredictionConfig()),
    )
    return VocoderConfig(SPEC, model, MixtureOfLogistics(3), **changes)


def a_model(**changes: Any) -> VocoderModel:
    torch.manual_seed(1)
    return build_model(a_config(**changes))


def an_utterance(model: VocoderModel, frames: int, batch: int = 1) -> tuple[Tensor, Tensor]:
    """Waves and mel for a forward pass over so many frames after the history."""
    torch.manual_seed(2)
    waves = 0.5 * torch.randn(batch, (model.history_frames + frames) * HOP)
    mel = torch.randn(batch, N_MELS, model.history_frames + frames + 2 * model.context_frames) - 5
    return model.distribution.grid.round(waves), mel  # type: ignore[attr-defined]


def speech_like(samples: int) -> Tensor:
    """Noise under a slow envelope, with pauses, on the grid."""
    generator = np.random.default_rng(3)
    envelope = np.exp(1.5 * np.repeat(generator.standard_normal(samples // 50 + 1), 50)[:samples])
    noise = 600 * envelope * generator.laplace(size=samples)
    return torch.from_numpy(int16_to_grid(noise.clip(-32768, 32767).astype(np.int16)))


def changed(before: Tensor, after: Tensor) -> list[int]:
    """Times at which [B, P, T] differs at all."""
    return (before != after).any(0).any(0).nonzero().flatten().tolist()


def knot_per_sample(channels: Tensor) -> PiecewiseLinear:
    """Channels [B, T, C] as one frame with a knot at every sample."""
    return PiecewiseLinear(channels[:, None], no_interpolation(torch.arange(channels.shape[1])))


def upsampled(upsample: LinearUpsample | StagedUpsample, frames: Tensor) -> Tensor:
    """Frames [B, F + 2 context, C] at the sample rate [B, F H, C]."""
    return interpolate(upsample(frames), upsample.interpolation)


# The WaveNet


@pytest.mark.parametrize("kernel_size", [1, 2, 3])
@pytest.mark.parametrize(("layers", "stacks"), [(1, 1), (4, 1), (6, 2), (6, 3)])
def test_an_output_depends_on_exactly_the_receptive_field(layers: int, stacks: int, kernel_size: int) -> None:
    torch.manual_seed(0)
    sizes = {"kernel_size": kernel_size, "residual_channels": 8, "gate_channels": 8, "skip_channels": 8}
    wavenet = WaveNet(1, 0, 3, layers=layers, stacks=stacks, **sizes)
    field = wavenet.receptive_field
    assert field == 1 + (kernel_size - 1) * stacks * (2 ** (layers // stacks) - 1)

    inputs = torch.randn(16, field + 20, 1)  # sixteen, lest a rectifier hides a faint tap
    conditioning = knot_per_sample(torch.zeros(16, field + 20, 0))
    before = wavenet(inputs, conditioning)
    assert before.shape == (16, 21, 3)
    perturbed = inputs.clone()
    perturbed[:, 10] += 5
    times = changed(before.transpose(1, 2), wavenet(perturbed, conditioning).transpose(1, 2))
    first, last = max(10 - (field - 1), 0), 10  # output t sees inputs t … t + field - 1
    assert (times[0], times[-1]) == (first, last)


def test_dilations_double_within_a_stack_and_start_over_in_the_next() -> None:
    assert dilations(6, 2) == [1, 2, 4, 1, 2, 4]


@pytest.mark.parametrize("kernel_size", [1, 2, 3])
def test_a_wavenet_equals_its_twin_of_dilated_convolutions(kernel_size: int) -> None:
    torch.manual_seed(4)
    sizes = {"residual_channels": 8, "gate_channels": 12, "skip_channels": 10}
    wavenet = WaveNet(2, 5, 7, layers=6, stacks=2, kernel_size=kernel_size, **sizes)
    length = wavenet.receptive_field + 30
    inputs, conditioning = torch.randn(3, length, 2), torch.randn(3, length, 5)
    twin = convolutional_twin(wavenet, inputs.transpose(1, 2), conditioning.transpose(1, 2))
    found = wavenet(inputs, knot_per_sample(conditioning))
    torch.testing.assert_close(found, twin.transpose(1, 2)[:, wavenet.receptive_field - 1 :], rtol=1e-5, atol=1e-5)


@torch.no_grad()
def convolutional_twin(wavenet: WaveNet, inputs: Tensor, conditioning: Tensor) -> Tensor:
    """The same network on [B, channels, T] with zero-padded dilated convolutions, as the paper draws it."""
    state = wavenet.state_dict()
    h = F.conv1d(inputs, state["input.weight"][..., None], state["input.bias"])
    skips = torch.zeros(())
    for index, dilation in enumerate([1, 2, 4, 1, 2, 4]):
        weight, bias = state[f"layers.{index}.gate.weight"], state[f"layers.{index}.gate.bias"]
        taps = weight[:, : weight.shape[1] - conditioning.shape[1]]
        kernel = taps.unflatten(1, (-1, h.shape[1])).transpose(1, 2)  # [G, R, K]
        padded = F.pad(h, ((kernel.shape[2] - 1) * dilation, 0))
        both = F.conv1d(padded, kernel, bias, dilation=dilation)
        both = both + F.conv1d(conditioning, weight[:, -conditioning.shape[1] :, None])
        filter, gate = both.chunk(2, 1)
        gated = torch.tanh(filter) * torch.sigmoid(gate)
        out = F.conv1d(gated, state[f"layers.{index}.out.weight"][..., None], state[f"layers.{index}.out.bias"])
        h, skip = (h + out[:, : h.shape[1]]) / math.sqrt(2), out[:, h.shape[1] :]
        skips = skips + skip
    hidden = F.conv1d(F.relu(skips / math.sqrt(6)), state["hidden.weight"][..., None], state["hidden.bias"])
    return F.conv1d(F.relu(hidden), state["output.weight"][..., None], state["output.bias"])


# What a prediction depends on


@pytest.mark.parametrize("prediction", PREDICTIONS, ids=lambda config: config.kind)
@pytest.mark.parametrize("kernel_size", [2, 3])
def test_a_prediction_depends_on_exactly_the_past_receptive_field(kernel_size: int, prediction) -> None:
    model = a_model(kernel_size=kernel_size, prediction=prediction)
    waves, mel = an_utterance(model, frames=5, batch=16)
    before = model(waves, mel)
    history, field = model.history_frames * HOP, model.receptive_field
    assert before.shape == (16, 9, 5 * HOP)
    for t in (0, 7, 5 * HOP - 1):
        for back, matters in ((field, True), (field + 1, False), (1, True), (0, False)):
            perturbed = waves.clone()
            perturbed[:, history + t - back] += 20  # or rounding hides a faint tap
            assert (t in changed(before, model(perturbed, mel))) is matters, (t, back)


@pytest.mark.parametrize("prediction", PREDICTIONS, ids=lambda config: config.kind)
def test_no_prediction_depends_on_its_own_sample_or_on_the_future(prediction) -> None:
    model = a_model(prediction=prediction)
    waves, mel = an_utterance(model, frames=4)
    before = model(waves, mel)
    history = model.history_frames * HOP
    for t in (0, 1, 20, 4 * HOP - 1):
        perturbed = waves.clone()
        perturbed[:, history + t :] = torch.rand(1, 4 * HOP - t)
        after = model(perturbed, mel)
        assert torch.equal(before[..., : t + 1], after[..., : t + 1])
        assert torch.equal(before[..., t + 1 :], after[..., t + 1 :]) is (t == 4 * HOP - 1)


def test_conditioning_reaches_the_prediction_of_its_own_sample_and_none_before(monkeypatch) -> None:
    model = a_model()
    waves, mel = an_utterance(model, frames=3, batch=16)
    frames = mel.shape[2] - 2 * model.context_frames
    channels = model.condition(mel).channels.samples().detach().unflatten(1, (frames, HOP))  # a knot at every sample
    every_sample = no_interpolation(torch.arange(HOP))
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
    model = a_model(conditioning=ConditioningConfig("mel", 5, context_frames, scales), prediction=PREDICTIONS[1])
    frames, middle = 13, 6
    mel = torch.randn(1, N_MELS, frames + 2 * context_frames) - 5
    before = model.condition(mel)
    assert before.channels.samples().shape == (1, frames * HOP, 5)
    mel[:, ::2, context_frames + middle] += 2
    after = model.condition(mel)
    times = changed(*(found.channels.samples().transpose(1, 2) for found in (before, after)))
    assert (middle - context_frames) * HOP <= times[0] <= middle * HOP
    assert (middle + 1) * HOP <= times[-1] + 1 <= (middle + 1 + context_frames) * HOP
    predictors = [model.linear_prediction.predictor(found.filters) for found in (before, after)]
    filters = changed(*(predictor.coefficients.transpose(1, 2) for predictor in predictors))
    assert (middle - 1) * HOP <= filters[0] <= middle * HOP
    assert (middle + 1) * HOP <= filters[-1] + 1 <= (middle + 2) * HOP


@pytest.mark.parametrize("prediction", PREDICTIONS, ids=lambda config: config.kind)
@pytest.mark.parametrize("scales", UPSAMPLINGS)
def test_predictions_of_a_crop_equal_those_of_the_whole_utterance(scales, prediction) -> None:
    model = a_model(conditioning=ConditioningConfig("mel", 5, 3, scales), kernel_size=3, prediction=prediction)
    history, context = model.history_frames, model.context_frames
    waves, mel = an_utterance(model, frames=20)
    whole = model(waves, mel)
    for start, stop in ((0, 4), (7, 12), (16, 20)):
        crop = model(waves[:, start * HOP : (history + stop) * HOP], mel[..., start : history + stop + 2 * context])
        torch.testing.assert_close(crop, whole[..., start * HOP : stop * HOP], rtol=0, atol=1e-5)


# Upsampling


def test_linear_upsampling_is_linear_interpolation_between_frame_centres() -> None:
    for hop in (1, 2, 5, 12, 200):
        frames = torch.randn(2, 9, 3)
        expected = F.interpolate(frames.transpose(1, 2), scale_factor=hop, mode="linear", align_corners=False)
        ours = upsampled(LinearUpsample(hop), frames)
        torch.testing.assert_close(ours, expected[..., hop:-hop].transpose(1, 2), rtol=0, atol=1e-5)


@pytest.mark.parametrize("scales", [(12,), (3, 4), (4, 3), (2, 3, 2), (1, 12), (12, 1), (16, 16), (4, 4, 4, 4)])
def test_a_crop_upsampled_in_stages_equals_the_whole(scales: tuple[int, ...]) -> None:
    torch.manual_seed(5)
    upsample, hop = StagedUpsample(scales), math.prod(scales)
    for kernel in upsample.smoothing:
        torch.nn.init.normal_(kernel)
    context = upsample.context_frames
    frames = torch.randn(2, 9 + 2 * context, 3)
    whole = upsampled(upsample, frames)
    assert whole.shape == (2, 9 * hop, 3)
    crop = upsampled(upsample, frames[:, 2 : 6 + 2 * context])
    torch.testing.assert_close(crop, whole[:, 2 * hop : 6 * hop], rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("upsample", [LinearUpsample(12), StagedUpsample((3, 4)), StagedUpsample((2, 3, 2))])
def test_untrained_upsampling_keeps_a_constant(upsample) -> None:
    frames = torch.full((1, 5 + 2 * upsample.context_frames, 2), 3.0)
    torch.testing.assert_close(upsampled(upsample, frames), torch.full((1, 60, 2), 3.0))


def test_mel_statistics_normalise_each_band_and_travel_with_the_weights() -> None:
    torch.manual_seed(6)
    one, two = (MelConditioning(N_MELS, 4, 2, LinearUpsample(HOP)) for _ in range(2))
    mean, std = torch.arange(N_MELS) - 8.0, torch.rand(N_MELS) + 1
    mel = torch.randn(1, N_MELS, 9)
    expected = one(mel)
    one.set_statistics(mean, std)
    torch.testing.assert_close(one(mel * std[:, None] + mean[:, None]), expected, rtol=0, atol=1e-5)
    two.load_state_dict(one.state_dict())
    assert torch.equal(one(mel), two(mel))


def test_a_band_that_never_moves_stays_finite() -> None:
    conditioning = MelConditioning(N_MELS, 4, 2, LinearUpsample(HOP))
    conditioning.set_statistics(torch.full((N_MELS,), -11.5), torch.zeros(N_MELS))
    assert conditioning(torch.full((1, N_MELS, 9), -11.5)).isfinite().all()


def test_edges_are_extended_by_their_own_frames() -> None:
    mel = torch.tensor([[[1.0, 2.0, 3.0]]])
    assert extend_edges(mel, 2, 1).tolist() == [[[1, 1, 1, 2, 3, 3]]]
    assert extend_edges(mel, 0, 0) is mel


# Speakers, and no conditioning


def test_speakers_change_what_is_predicted() -> None:
    model = a_model(speakers=("ann", "bob"), speaker_channels=4)
    waves, mel = an_utterance(model, frames=2, batch=2)
    ann, bob = model.speaker_index("ann"), model.speaker_index("bob")
    assert ann is not None
    assert bob is not None
    both = model(waves, mel, torch.cat((ann, bob)))
    assert not torch.equal(model(waves[:1], mel[:1], ann), model(waves[:1], mel[:1], bob))
    torch.testing.assert_close(both[:1], model(waves[:1], mel[:1], ann), rtol=0, atol=1e-5)
    torch.testing.assert_close(both[1:], model(waves[1:], mel[1:], bob), rtol=0, atol=1e-5)


def test_a_missing_or_unknown_speaker_is_refused_with_the_names_there_are() -> None:
    model = a_model(speakers=("ann", "bob"), speaker_channels=4)
    for name in (None, "eve"):
        with pytest.raises(UserError, match="ann, bob"):
            model.speaker_index(name)
    with pytest.raises(UserError, match="ann, bob"):
        model(*an_utterance(model, frames=2))


def test_a_model_without_speakers_refuses_one_and_takes_none() -> None:
    model = a_model(speakers=("ann", "bob"))
    assert model.speaker_index(None) is None
    with pytest.raises(UserError, match="without speakers"):
        model.speaker_index("ann")


def test_an_embedding_without_speakers_is_refused() -> None:
    with pytest.raises(UserError, match=r"model\.speaker_channels=4"):
        a_model(speaker_channels=4)


def test_without_conditioning_the_mel_says_only_how_long_the_sound_is() -> None:
    model = a_model(conditioning=ConditioningConfig("none"))
    waves, mel = an_utterance(model, frames=3)
    params = model(waves, mel)
    assert params.shape == (1, 9, 3 * HOP)
    assert torch.equal(params, model(waves, torch.randn_like(mel)))
    assert model.context_frames == 0


def test_speakers_work_without_a_mel() -> None:
    model = a_model(conditioning=ConditioningConfig("none"), speakers=("ann", "bob"), speaker_channels=4)
    waves, mel = an_utterance(model, frames=3)
    ann, bob = (model(waves, mel, model.speaker_index(name)) for name in ("ann", "bob"))
    assert not torch.equal(ann, bob)


# Building, and the description that a checkpoint carries


@pytest.mark.parametrize("scales", [(4, 4), (), (-3, -4)])
def test_scales_that_do_not_make_the_hop_are_refused(scales: tuple[int, ...]) -> None:
    product = math.prod(scales)
    with pytest.raises(UserError, match=rf"multiply to {product}.*hop_length is {HOP}"):
        a_model(conditioning=ConditioningConfig("mel", 5, 3, scales))


@pytest.mark.parametrize(("scales", "needed"), [(None, 1), ((12,), 1), ((3, 4), 2)])
def test_a_context_too_short_for_the_upsampling_is_refused(scales, needed: int) -> None:
    a_model(conditioning=ConditioningConfig("mel", 5, needed, scales))
    with pytest.raises(UserError, match=f"context_frames={needed - 1}.*takes {needed}"):
        a_model(conditioning=ConditioningConfig("mel", 5, needed - 1, scales))


@pytest.mark.parametrize("wrong", [{"layers": 0}, {"layers": 7}, {"gate_channels": 5}, {"skip_channels": -1}])
def test_impossible_sizes_are_refused_by_name(wrong: dict[str, int]) -> None:
    ((name, value),) = wrong.items()
    with pytest.raises(UserError, match=f"{name}={value}"):
        replace(SIZES, **wrong)


CONFIGS = [
    a_config(),
    a_config(speakers=("ann", "bob"), speaker_channels=4),
    a_config(conditioning=ConditioningConfig("mel", 5, 3, (3, 4))),
    a_config(conditioning=ConditioningConfig("none")),
]


@pytest.mark.parametrize("config", CONFIGS)
def test_a_config_survives_json_and_builds_the_same_model(config: VocoderConfig) -> None:
    read = VocoderConfig.from_json(json.loads(json.dumps(config.to_json())))
    assert read == config
    build_model(read).load_state_dict(build_model(config).state_dict())


def test_a_mel_that_does_not_match_its_hash_is_refused() -> None:
    edited = a_config().to_json()
    edited["mel"]["fmax"] = 7600.0
    with pytest.raises(UserError, match=r"model/config\.json: mel does not match its mel_hash"):
        VocoderConfig.from_json(edited, "model/config.json")


@pytest.mark.parametrize("key", ["format", "mel", "mel_hash", "model", "distribution"])
def test_an_incomplete_description_is_refused(key: str) -> None:
    incomplete = a_config().to_json()
    del incomplete[key]
    with pytest.raises(UserError, match=key):
        VocoderConfig.from_json(incomplete)


def test_an_unknown_distribution_is_refused_with_the_nearest_name() -> None:
    data = a_config().to_json()
    data["distribution"]["kind"] = "mixture_of_logistic"
    with pytest.raises(UserError, match="did you mean mixture_of_logistics"):
        VocoderConfig.from_json(data)


# Training's first step, devices and precision


@pytest.mark.parametrize("conditioning", [ConditioningConfig(channels=5, context_frames=3), ConditioningConfig("none")])
def test_training_starts_near_the_loss_of_the_datas_histogram(conditioning: ConditioningConfig) -> None:
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
    model = a_model()
    waves, mel = an_utterance(model, frames=3)
    expected = model.distribution.log_prob(model(waves, mel), waves[:, model.history_frames * HOP :])
    assert torch.equal(model.log_prob(waves, mel), expected)


@pytest.mark.parametrize("scales", [None, (3, 4)])
def test_every_parameter_learns(scales) -> None:
    conditioning = ConditioningConfig("mel", 5, 3, scales)
    model = a_model(conditioning=conditioning, speakers=("ann", "bob"), speaker_channels=4)
    waves, mel = an_utterance(model, frames=3)
    model.log_prob(waves, mel, torch.tensor([1])).sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.parametrize("scales", [None, (3, 4)])
def test_no_tensor_hides_on_the_cpu(scales) -> None:
    with torch.device("meta"):
        model = a_model(
            conditioning=ConditioningConfig("mel", 5, 3, scales), speakers=("ann", "bob"), speaker_channels=4
        )
    waves, mel = an_utterance(model, frames=3)
    speaker = torch.zeros(1, dtype=torch.int64)
    log_prob = model.log_prob(waves.to("meta"), mel.to("meta"), speaker.to("meta"))
    assert (log_prob.device.type, log_prob.shape) == ("meta", (1, 3 * HOP))


@pytest.mark.parametrize("scales", [None, (3, 4)])
def test_parameters_are_float32_under_autocast_and_near_those_without(scales) -> None:
    conditioning = ConditioningConfig("mel", 5, 3, scales)
    model = a_model(conditioning=conditioning, speakers=("ann", "bob"), speaker_channels=4)
    waves, mel = an_utterance(model, frames=3)
    speaker = model.speaker_index("ann")
    plain = model(waves, mel, speaker)
    with torch.autocast("cpu", torch.bfloat16):
        params, log_prob = model(waves, mel, speaker), model.log_prob(waves, mel, speaker)
    assert params.dtype == log_prob.dtype == torch.float32
    assert not torch.equal(params, plain)  # autocast was on
    torch.testing.assert_close(params, plain, rtol=0, atol=0.05)


def test_a_model_describes_its_size_its_reach_and_what_it_hears() -> None:
    text = a_model(speakers=("ann", "bob"), speaker_channels=4).describe()
    assert "receptive field 15 samples (0.9 ms at 16000 Hz)" in text
    assert "mel frames -3..+3 and 2 speakers" in text
    assert "nothing" in a_model(conditioning=ConditioningConfig("none")).describe()
