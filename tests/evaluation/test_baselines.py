"""The baselines without a network: the filter against scipy, level and envelope against those of the signal."""

import math

import numpy as np
import pytest
import scipy.signal
import torch

from vocoder.data.store import Store
from vocoder.evaluation import filtered_noise, griffin_lim, log_mel_distance, packages
from vocoder.evaluation.baselines import all_pole_filter, world_vocoder
from vocoder.features.audio import int16_to_waveform
from vocoder.features.mel import PRESETS, log_mel
from vocoder.model.linear_prediction import LinearPrediction

SPEC = PRESETS["speech_16k"]


def test_a_constant_filter_equals_scipys() -> None:
    excitation = torch.from_numpy(np.random.default_rng(0).standard_normal(500))
    a = np.array([1.2, -0.7, 0.1])
    weights = torch.from_numpy(a[::-1].copy()).expand(500, 3)
    expected = scipy.signal.lfilter([1.0], np.concatenate([[1.0], -a]), excitation.numpy())
    np.testing.assert_allclose(all_pole_filter(excitation, weights), expected, rtol=1e-9, atol=1e-12)


def test_a_filter_keeps_its_state_when_its_coefficients_change() -> None:
    excitation = torch.from_numpy(np.random.default_rng(1).standard_normal(600))
    first, second = np.array([1.2, -0.7]), np.array([-0.5, 0.3])
    weights = torch.from_numpy(np.repeat([first[::-1], second[::-1]], [250, 350], axis=0).copy())
    first_part = scipy.signal.lfilter([1.0], [1.0, *-first], excitation[:250].numpy())
    state = scipy.signal.lfiltic([1.0], [1.0, *-second], first_part[:-3:-1])
    second_part, _ = scipy.signal.lfilter([1.0], [1.0, *-second], excitation[250:].numpy(), zi=state)
    np.testing.assert_allclose(
        all_pole_filter(excitation, weights), np.append(first_part, second_part), rtol=1e-9, atol=1e-12
    )


def test_filtered_noise_from_the_mel_of_white_noise_has_the_same_level() -> None:
    wave = 0.05 * np.random.default_rng(2).standard_normal(32000).astype(np.float32)
    mel = log_mel(torch.from_numpy(wave), SPEC).numpy()
    found = filtered_noise(mel, LinearPrediction(SPEC, 24, 8))
    assert found.dtype == np.float32
    assert found.shape == wave.shape
    assert 20 * math.log10(found.std() / wave.std()) == pytest.approx(0, abs=0.5)


def test_griffin_lim_is_closer_to_the_mel_of_speech_than_filtered_noise_is(speech_store: Store) -> None:
    longest = max(speech_store.entries, key=lambda entry: entry.frames)
    utterance = speech_store.read(longest, 0, 80)  # a second
    mel = np.ascontiguousarray(utterance.mel.T)
    waves = griffin_lim(mel, SPEC), filtered_noise(mel, LinearPrediction(SPEC, 24, 8))
    for wave in waves:
        assert wave.shape == utterance.wave.shape
        assert wave.dtype == np.float32
    near, far = (log_mel_distance(torch.from_numpy(wave), torch.from_numpy(mel), SPEC) for wave in waves)
    assert near < far / 2
    # The magnitude of noise in a bin has a Rayleigh distribution, with a standard deviation of 5.6 dB; a band averages
    # a few bins.
    assert far < 7


def test_filtered_noise_depends_on_the_seed_alone() -> None:
    mel = np.full((80, 6), -4.0, np.float32)
    lp = LinearPrediction(SPEC, 24, 8)
    assert np.array_equal(filtered_noise(mel, lp, 1), filtered_noise(mel, lp, 1))
    assert not np.array_equal(filtered_noise(mel, lp, 1), filtered_noise(mel, lp, 2))


# WORLD


@pytest.fixture
def _pyworld() -> None:
    if not packages.is_usable("pyworld"):
        pytest.skip("pyworld is not installed")


@pytest.mark.usefixtures("_pyworld")
def test_world_keeps_length_envelope_and_level_of_speech(speech_store: Store) -> None:
    utterance = speech_store.read(max(speech_store.entries, key=lambda entry: entry.frames))
    wave, mel = int16_to_waveform(utterance.wave), torch.from_numpy(np.ascontiguousarray(utterance.mel.T))
    found = world_vocoder(wave, 16000)
    assert found.shape == wave.shape
    assert found.dtype == np.float32
    assert 20 * math.log10(found.std() / wave.std()) == pytest.approx(0, abs=1)
    noise = filtered_noise(mel.numpy(), LinearPrediction(SPEC, 24, 8))
    near, far = (log_mel_distance(torch.from_numpy(wave), mel, SPEC) for wave in (found, noise))
    assert near < far
    assert np.array_equal(found, world_vocoder(wave, 16000))


@pytest.mark.usefixtures("_pyworld")
@pytest.mark.parametrize("samples", [0, 1, 79, 4001])
def test_world_renders_short_and_silent_waveforms_at_their_length(samples: int) -> None:
    found = world_vocoder(np.zeros(samples, np.float32), 22050)
    assert found.shape == (samples,)
    assert np.abs(found).max(initial=0) < 1e-3


@pytest.mark.usefixtures("_pyworld")
@pytest.mark.parametrize("sample_rate", [6000, 8000, 11025])
def test_world_keeps_voiced_speech_voiced_at_low_rates(sample_rate: int) -> None:
    """A harmonic tone keeps its harmonics: most of its power stays where they are."""
    times = np.arange(sample_rate) / sample_rate
    tone = np.sum([np.sin(2 * np.pi * 120 * k * times) / k for k in range(1, 12)], axis=0) / 6
    rendered = world_vocoder(tone.astype(np.float32), sample_rate)
    assert len(rendered) == len(tone)
    middle = rendered[sample_rate // 4 : 3 * sample_rate // 4]  # half a second: bins of 2 Hz
    power = np.abs(np.fft.rfft(middle * np.hanning(len(middle)))) ** 2
    hertz = np.fft.rfftfreq(len(middle), 1 / sample_rate)
    near_harmonic = np.abs((hertz + 60) % 120 - 60) <= 10
    assert power[near_harmonic].sum() > 0.9 * power.sum()
