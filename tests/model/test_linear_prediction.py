"""Linear prediction from the mel: equal to independent computations, stable for any mel, useful on speech."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import scipy.ndimage
import scipy.signal
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor

from vocoder.data.store import Store
from vocoder.distributions import MixtureOfLogistics
from vocoder.errors import UserError
from vocoder.features.audio import int16_to_grid
from vocoder.features.mel import PRESETS, MelSpec, log_mel, mel_filterbank
from vocoder.model import (
    ConditioningConfig,
    LinearPredictionConfig,
    ModelConfig,
    VocoderConfig,
    WaveNetConfig,
    build_model,
)
from vocoder.model.linear_prediction import (
    GAIN_FLOOR,
    LAG_WINDOW_HZ,
    QUIETEST,
    WHITE_NOISE,
    LinearPrediction,
    Predictor,
    default_order,
    inverse_filterbank,
    levinson,
    levinson_ref,
    step_up,
    step_up_ref,
)

SPEC = PRESETS["speech_16k"]
SPECS = {**PRESETS, "log10": replace(SPEC, log_base="10"), "narrow": replace(SPEC, fmin=90.0, fmax=3800.0)}
RESONANCES = ((500, 80), (1500, 120), (2500, 160))  # Hz and bandwidth


def prediction(spec: MelSpec = SPEC, order: int = 24, updates: int = 8) -> LinearPrediction:
    return LinearPrediction(spec, order, updates)


def predictor_of(mel: Tensor, lp: LinearPrediction | None = None) -> Predictor:
    """The filter at every sample of a mel [B, n_mels, F + 2]."""
    lp = lp or prediction()
    return lp.predictor(lp(mel))


def some_mel(spec: MelSpec = SPEC, frames: int = 20, batch: int = 1) -> Tensor:
    """Smooth over bands, as loud as speech."""
    generator = np.random.default_rng(0)
    bumps = generator.standard_normal((batch, spec.n_mels, frames))
    bumps = scipy.ndimage.gaussian_filter1d(bumps, 5, axis=1)
    mel = torch.from_numpy(6 * bumps - 4).float()
    return in_values(spec.power * mel, spec)


def in_values(log_energies: Tensor, spec: MelSpec) -> Tensor:
    """Values of the spec's mel for the natural logarithms of the bands' energies."""
    if spec.log_guard == "add":
        log_energies = (log_energies.exp() + spec.log_floor).log()
    return log_energies / (math.log(10) if spec.log_base == "10" else 1.0) * spec.log_gain + spec.log_offset


def log_energies(mel: np.ndarray, spec: MelSpec) -> np.ndarray:
    """The inverse of `in_values`."""
    guarded = (mel - spec.log_offset) / spec.log_gain * (math.log(10) if spec.log_base == "10" else 1.0)
    if spec.log_guard == "add":
        return np.log(np.maximum(np.exp(guarded.astype(np.float64)) - spec.log_floor, QUIETEST * spec.log_floor))
    return guarded


def heard_through(spec: MelSpec) -> np.ndarray:
    """The response [n_fft/2 + 1] of pre-emphasis and high-pass, outside the bands that of their edge."""
    frequency = np.arange(spec.n_fft // 2 + 1) * spec.sample_rate / spec.n_fft
    covered = frequency[mel_filterbank(spec).sum(0).numpy() > 0]
    frequency = np.clip(frequency, covered.min(), covered.max())
    response = np.abs(1 - spec.preemphasis * np.exp(-2j * np.pi * frequency / spec.sample_rate))
    if spec.highpass:
        taps = scipy.signal.firwin(255, spec.highpass, pass_zero=False, fs=spec.sample_rate)
        response *= np.abs(scipy.signal.freqz(taps, worN=frequency, fs=spec.sample_rate)[1])
    return response


def all_pole_polynomial() -> np.ndarray:
    """1, -a_1, -a_2, … of a vowel-like filter."""
    polynomial = np.ones(1)
    for frequency, bandwidth in RESONANCES:
        radius, angle = np.exp(-np.pi * bandwidth / 16000), 2 * np.pi * frequency / 16000
        polynomial = np.convolve(polynomial, [1, -2 * radius * np.cos(angle), radius**2])
    return polynomial


def vowel(seconds: float = 4.0, level: float = 0.01) -> Tensor:
    """White noise through the filter above."""
    noise = level * np.random.default_rng(1).standard_normal(int(16000 * seconds))
    return torch.from_numpy(scipy.signal.lfilter([1.0], all_pole_polynomial(), noise)).float()


def past_of(wave: Tensor, order: int = 24) -> Tensor:
    """The samples [1, T, K] before each of wave [T], which starts out of silence."""
    return torch.nn.functional.pad(wave, (order, 0))[None, :-1].unfold(1, order, 1)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_filter_and_gain_are_those_of_the_normal_equations(spec: MelSpec) -> None:
    order = default_order(spec.sample_rate)
    found = prediction(spec, order)
    mel = some_mel(spec)
    reflection, log_gain = found.analyse(mel)
    coefficients = step_up(reflection)[0].numpy()

    clamped = np.clip(mel[0].double().numpy(), spec.log_minimum, spec.log_maximum)
    levels = (inverse_filterbank(spec).numpy() @ np.exp(log_energies(clamped, spec))).T
    power = levels ** (2 / spec.power) / heard_through(spec) ** 2
    autocorrelation = np.fft.irfft(power)[:, : order + 1]
    lags = np.arange(order + 1)
    autocorrelation *= np.exp(-0.5 * (2 * np.pi * LAG_WINDOW_HZ * lags / spec.sample_rate) ** 2)
    autocorrelation[:, 0] *= 1 + WHITE_NOISE
    window = scipy.signal.get_window("hann", spec.win_length, fftbins=spec.window == "periodic")
    averaged = math.pi / 4 if spec.power == 1 else 1.0  # the squared mean of magnitudes, or the mean of squares
    for r, a, g in zip(autocorrelation, coefficients, log_gain[0].exp(), strict=True):
        expected = scipy.linalg.solve_toeplitz(r[:order], r[1:])
        np.testing.assert_allclose(a, expected, rtol=0, atol=1e-6 * np.abs(expected).max())
        error = r[0] - expected @ r[1:]
        assert float(g) == pytest.approx(math.sqrt(error / (averaged * (window**2).sum()) + GAIN_FLOOR**2), rel=1e-6)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_the_spectrum_is_positive_and_has_the_mel_it_came_from(spec: MelSpec) -> None:
    inverse = inverse_filterbank(spec)
    assert inverse.min() >= 0
    assert torch.allclose(inverse.sum(1) > 0, torch.ones(len(inverse), dtype=torch.bool))
    mel = some_mel(spec)
    spectrum = prediction(spec).spectrum(mel)
    assert spectrum.min() > 0
    response = torch.from_numpy(heard_through(spec))
    back = (mel_filterbank(spec).double() @ (spectrum * response).transpose(1, 2) ** spec.power).log()
    given = torch.from_numpy(log_energies(mel.clamp(spec.log_minimum, spec.log_maximum).numpy(), spec))
    heard = mel_filterbank(spec).sum(1) > 0
    assert (back - given)[
        :, heard
    ].abs().mean() < 0.25 * spec.power  # 2 dB: interpolation smooths, the mel of white noise it keeps
    flat = torch.ones(1, spec.n_mels, 1) * mel_filterbank(spec).sum(1)[None, :, None].clamp(min=1e-30).log()
    of_flat = prediction(spec).spectrum(in_values(flat, spec))[0, 0] * response
    torch.testing.assert_close(of_flat.log().abs().max().item(), 0.0, rtol=0, atol=1e-5)


@pytest.mark.parametrize("order", [1, 2, 10, 33])
def test_levinsons_recursion_solves_the_toeplitz_system(order: int) -> None:
    power = np.exp(np.random.default_rng(2).standard_normal((5, 257)))
    autocorrelation = np.fft.irfft(power)[:, : order + 1]
    reflection, error = levinson(torch.from_numpy(autocorrelation))
    for r, a, e in zip(autocorrelation, step_up(reflection).numpy(), error, strict=True):
        expected = scipy.linalg.solve_toeplitz(r[:order], r[1:])
        np.testing.assert_allclose(a, expected, rtol=0, atol=1e-10)
        assert float(e) == pytest.approx(r[0] - expected @ r[1:])


@pytest.mark.parametrize("order", [1, 24, 100])
def test_the_compiled_recursions_agree_with_plain_torch(order: int) -> None:
    power = torch.from_numpy(np.exp(np.random.default_rng(3).standard_normal((2, 3, 257))))
    autocorrelation = torch.fft.irfft(power)[..., : order + 1]
    reflection, error = levinson(autocorrelation)
    plain_reflection, plain_error = levinson_ref(autocorrelation)
    torch.testing.assert_close(reflection, plain_reflection, rtol=0, atol=1e-12)
    torch.testing.assert_close(error, plain_error, rtol=1e-12, atol=0)
    torch.testing.assert_close(step_up(reflection), step_up_ref(reflection), rtol=0, atol=1e-11)


def test_the_filter_of_a_known_resonator_is_found() -> None:
    mel = log_mel(vowel(), SPEC)[None]
    reflection, log_gain = prediction().analyse(mel)
    frequencies = np.linspace(100, 4000, 200)
    _, truth = scipy.signal.freqz([0.01], all_pole_polynomial(), frequencies, fs=16000)
    level = []
    for a, g in zip(step_up(reflection)[0, 5:-5].numpy(), log_gain[0, 5:-5].exp().numpy(), strict=True):
        _, response = scipy.signal.freqz([g], np.concatenate([[1], -a]), frequencies, fs=16000)
        level.append(20 * np.log10(np.abs(response)))
    difference = np.mean(level, 0) - 20 * np.log10(np.abs(truth))
    assert np.abs(difference).mean() < 1.5  # dB; a mel's average is that of a logarithm, and its bands are wide
    for frequency, _ in RESONANCES:
        near = np.abs(frequencies - frequency) < 150
        assert abs(frequencies[near][np.mean(level, 0)[near].argmax()] - frequency) < 100


def test_the_excitation_of_a_known_resonator_is_white_and_of_unit_power() -> None:
    wave = vowel()
    whole = predictor_of(torch.nn.functional.pad(log_mel(wave, SPEC)[None], (1, 1), mode="replicate"))
    excitation = whole.predict(past_of(wave)).excitation(wave[None])[0, 2000:-2000].double().numpy()
    assert 0.7 < excitation.std() < 1.4
    _, density = scipy.signal.welch(excitation, 16000, nperseg=512)
    _, before = scipy.signal.welch(wave.numpy(), 16000, nperseg=512)
    assert np.ptp(10 * np.log10(before[4:128])) > 50
    assert np.std(10 * np.log10(density[4:128])) < 1.0  # up to 4 kHz; above, 60 dB below, the mel is its own floor


@pytest.mark.parametrize("spec", PRESETS.values(), ids=PRESETS)
def test_the_gain_of_white_noise_is_its_standard_deviation(spec: MelSpec) -> None:
    wave = 0.05 * np.random.default_rng(4).standard_normal(2 * spec.sample_rate)
    mel = log_mel(torch.from_numpy(wave).float(), spec)[None]
    _, log_gain = prediction(spec, default_order(spec.sample_rate)).analyse(mel)
    # The logarithm of a mean of squares varies more than that of a mean of magnitudes, and is lower on average.
    assert float(log_gain[0, 5:-5].mean().exp()) == pytest.approx(0.05, rel=0.04 if spec.power == 1 else 0.07)


@pytest.mark.parametrize("padding", ["frame", "centre"])
def test_the_filter_acts_at_the_time_of_its_frame(padding: Any) -> None:
    """A click in the middle of a pause: the largest gain is at the click, wherever in its hop a frame is centred."""
    spec = replace(SPEC, padding=padding)
    wave = 1e-4 * torch.randn(16000, generator=torch.Generator().manual_seed(0))
    wave[8000:8050] += 0.5
    mel = torch.nn.functional.pad(log_mel(wave, spec)[None], (1, 1), mode="replicate")
    loud = predictor_of(mel, prediction(spec, updates=200)).log_gain[0].exp()
    centre = float((loud * torch.arange(16000)).sum() / loud.sum())
    assert centre == pytest.approx(8025, abs=15)


def mels(bands: int) -> st.SearchStrategy[np.ndarray]:
    """[1, n_mels, F]: jagged from band to band; or with one step, which makes the largest coefficients."""
    shape = st.tuples(st.just(1), st.just(bands), st.integers(3, 4))
    extremes = st.sampled_from([-3.4e38, -100.0, -11.5, 0.0, 2.0, 100.0, 3.4e38])
    jagged = arrays.arrays(np.float32, shape, elements=st.one_of(st.floats(-14, 3, width=32), extremes))

    def stepped(edge: int, low: float, high: float) -> np.ndarray:
        column = np.where(np.arange(bands) < edge, low, high).astype(np.float32)
        return np.repeat(column[None, :, None], 3, 2)

    return st.one_of(jagged, st.builds(stepped, st.integers(1, bands), st.floats(-12, 3), st.floats(-12, 3)))


def reflections_of(coefficients: np.ndarray) -> np.ndarray:
    """Step-down, the inverse of step-up: all lie within (-1, 1) exactly where the filters [N, K] are stable."""
    a, found = coefficients.astype(np.float64), []
    while a.shape[1]:
        k = a[:, -1:]
        found.append(k)
        with np.errstate(divide="ignore", invalid="ignore"):
            a = (a[:, :-1] + k * a[:, -2::-1]) / (1 - k**2)
    return np.concatenate(found, 1)


@pytest.mark.parametrize("name", SPECS)
@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_every_filter_is_stable_for_any_finite_mel(name: str, data: st.DataObject) -> None:
    spec = SPECS[name]
    mel = data.draw(mels(spec.n_mels))
    for order in (default_order(spec.sample_rate), 100):
        lp = prediction(spec, order)
        reflection, log_gain = lp.analyse(torch.from_numpy(mel))
        assert reflection.abs().max() < 1
        assert log_gain.isfinite().all()
        whole = predictor_of(torch.from_numpy(mel), lp)
        assert whole.log_gain.isfinite().all()
        assert np.abs(reflections_of(whole.coefficients[0, ::25].numpy())).max() < 1


@pytest.mark.parametrize("padding", ["frame", "centre"])
@pytest.mark.parametrize("updates", [1, 7, 8, 200])
def test_reflection_and_log_gain_are_interpolated_linearly_between_frames(updates: int, padding: Any) -> None:
    spec = replace(SPEC, padding=padding)
    mel, lp = some_mel(frames=6), prediction(spec, updates=updates)
    whole = predictor_of(mel, lp)
    reflection, log_gain = (x[0].numpy() for x in lp.analyse(mel))
    frames = np.arange(-1, 5) + (0.5 if padding == "frame" else 0.0)  # the first is context
    for sample in range(0, 4 * 200, 13):
        frame, within = divmod(sample, 200)
        middle = frame + (within * updates // 200 + 0.5) / updates  # of the update that holds the sample
        k = [np.interp(middle, frames, reflection[:, i]) for i in range(24)]
        expected = np.zeros(0)
        for value in k:
            expected = np.append(expected - value * expected[::-1], value)
        np.testing.assert_allclose(whole.coefficients[0, sample].numpy(), expected, rtol=0, atol=2e-4)
        gain = np.interp(middle, frames, log_gain)
        assert float(whole.log_gain[0, sample]) == pytest.approx(gain, abs=1e-5)


def test_a_constant_mel_gives_one_filter() -> None:
    whole = predictor_of(some_mel(frames=1).expand(-1, -1, 5))
    torch.testing.assert_close(whole.coefficients, whole.coefficients[:, :1].expand(-1, 600, -1), rtol=0, atol=1e-5)


def test_a_prediction_is_the_weighted_sum_of_the_samples_before() -> None:
    torch.manual_seed(0)
    predictor = Predictor(torch.randn(2, 9, 3), torch.zeros(2, 9))
    past = torch.randn(2, 3 + 8)
    found = predictor.predict(past.unfold(1, 3, 1)).mean
    for t in range(9):
        expected = sum(predictor.coefficients[:, t, k] * past[:, 3 + t - 1 - k] for k in range(3))
        torch.testing.assert_close(found[:, t], expected)


def test_it_predicts_most_of_the_power_of_real_speech(speech_store: Store) -> None:
    lp, gained = prediction(), []
    for entry in speech_store.entries:
        utterance = speech_store.read(entry)
        wave = torch.from_numpy(int16_to_grid(utterance.wave))
        mel = torch.from_numpy(utterance.mel.T.copy())[None]
        whole = predictor_of(torch.nn.functional.pad(mel, (1, 1), mode="replicate"), lp)
        prior = whole.predict(past_of(wave)).mean[0]
        gained.append(10 * math.log10(float(wave.square().sum() / (wave - prior).square().sum())))
    assert np.mean(gained) > 12  # dB


def test_an_untrained_model_with_it_needs_fewer_bits_for_real_speech(speech_store: Store) -> None:
    bits = {}
    for kind in ("none", "mel"):
        sizes = WaveNetConfig(4, 2, 2, residual_channels=8, gate_channels=16, skip_channels=8)
        parts = ModelConfig(sizes, ConditioningConfig(), linear_prediction=LinearPredictionConfig(kind))  # type: ignore[arg-type]
        torch.manual_seed(0)
        model = build_model(VocoderConfig(SPEC, parts, MixtureOfLogistics(10)))
        entry = max(speech_store.entries, key=lambda entry: entry.frames)
        utterance = speech_store.read(entry)
        wave = torch.from_numpy(int16_to_grid(utterance.wave))[None]
        context = model.context_frames
        mel = torch.from_numpy(utterance.mel.T.copy())[None]
        mel = torch.nn.functional.pad(mel, (context, context), mode="replicate")
        model.initialise_output(model.excitation(wave, mel).flatten())
        with torch.no_grad():
            bits[kind] = -float(model.log_prob(wave, mel).mean()) / math.log(2)
    assert bits["mel"] < bits["none"] - 2


def test_the_initial_output_is_finite_for_silence_and_robust_to_outliers(speech_store: Store) -> None:
    sizes = WaveNetConfig(4, 2, 2, residual_channels=8, gate_channels=16, skip_channels=8)
    parts = ModelConfig(sizes, linear_prediction=LinearPredictionConfig("mel"))
    model = build_model(VocoderConfig(SPEC, parts, MixtureOfLogistics(10)))
    model.initialise_output(torch.zeros(5000))
    assert model.wavenet.output.bias.isfinite().all()
    excitation = torch.randn(20000, generator=torch.Generator().manual_seed(0))
    model.initialise_output(excitation)
    plain = model.wavenet.output.bias.clone()
    excitation[0] = 1e6
    model.initialise_output(excitation)
    torch.testing.assert_close(model.wavenet.output.bias, plain, rtol=0, atol=0.05)


@pytest.mark.parametrize(
    ("config", "conditioning", "message"),
    [
        (LinearPredictionConfig("mel", order=0), ConditioningConfig(), r"linear_prediction\.order=0"),
        (LinearPredictionConfig("mel", order=512), ConditioningConfig(), r"linear_prediction\.order=512"),
        (LinearPredictionConfig("mel", updates=0), ConditioningConfig(), r"linear_prediction\.updates=0"),
        (LinearPredictionConfig("mel", updates=201), ConditioningConfig(), r"linear_prediction\.updates=201"),
        (LinearPredictionConfig("mel"), ConditioningConfig("none"), r"linear_prediction\.kind"),
    ],
)
def test_impossible_settings_are_refused_by_name(config, conditioning, message: str) -> None:
    sizes = WaveNetConfig(4, 2, 2, residual_channels=8, gate_channels=16, skip_channels=8)
    with pytest.raises(UserError, match=message):
        build_model(VocoderConfig(SPEC, ModelConfig(sizes, conditioning, 0, config), MixtureOfLogistics(10)))


def test_a_distribution_without_location_is_refused() -> None:
    class Classes:
        levels, channels, uniforms = 65536, 256, 256

        def log_prob(self, params: Tensor, x: Tensor) -> Tensor: ...
        def sample(self, params: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor: ...
        def marginal_params(self, x: Tensor) -> Tensor: ...

    sizes = WaveNetConfig(4, 2, 2, residual_channels=8, gate_channels=16, skip_channels=8)
    parts = ModelConfig(sizes, linear_prediction=LinearPredictionConfig("mel"))
    with pytest.raises(UserError, match=r"linear_prediction\.kind=none, or choose another distribution"):
        build_model(VocoderConfig(SPEC, parts, Classes()))
    build_model(VocoderConfig(SPEC, replace(parts, linear_prediction=LinearPredictionConfig("none")), Classes()))


@pytest.mark.parametrize(("rate", "order"), [(16000, 24), (22050, 33), (24000, 36)])
def test_the_order_follows_the_sample_rate(rate: int, order: int) -> None:
    assert default_order(rate) == order
