"""What a mel gives without a network: the envelope and the level, from two independent ways."""

import math

import numpy as np
import pytest
import scipy.signal
import torch

from vocoder.data.store import Store
from vocoder.evaluation import filtered_noise, griffin_lim, log_mel_distance
from vocoder.evaluation.baselines import all_pole
from vocoder.features.mel import PRESETS, log_mel
from vocoder.model.linear_prediction import LinearPrediction

SPEC = PRESETS["speech_16k"]


def test_a_filter_that_stands_still_is_scipys() -> None:
    excitation = torch.from_numpy(np.random.default_rng(0).standard_normal(500))
    a = np.array([1.2, -0.7, 0.1])
    weights = torch.from_numpy(a[::-1].copy()).expand(500, 3)
    expected = scipy.signal.lfilter([1.0], np.concatenate([[1.0], -a]), excitation.numpy())
    np.testing.assert_allclose(all_pole(excitation, weights), expected, rtol=1e-9, atol=1e-12)


def test_a_filter_that_changes_keeps_what_it_holds() -> None:
    excitation = torch.from_numpy(np.random.default_rng(1).standard_normal(600))
    first, second = np.array([1.2, -0.7]), np.array([-0.5, 0.3])
    weights = torch.from_numpy(np.repeat([first[::-1], second[::-1]], [250, 350], axis=0).copy())
    begun = scipy.signal.lfilter([1.0], [1.0, *-first], excitation[:250].numpy())
    state = scipy.signal.lfiltic([1.0], [1.0, *-second], begun[:-3:-1])
    ended, _ = scipy.signal.lfilter([1.0], [1.0, *-second], excitation[250:].numpy(), zi=state)
    np.testing.assert_allclose(all_pole(excitation, weights), np.append(begun, ended), rtol=1e-9, atol=1e-12)


def test_filtered_noise_of_the_mel_of_white_noise_is_as_loud() -> None:
    wave = 0.05 * np.random.default_rng(2).standard_normal(32000).astype(np.float32)
    mel = log_mel(torch.from_numpy(wave), SPEC).numpy()
    found = filtered_noise(mel, LinearPrediction(SPEC, 24, 8))
    assert found.dtype == np.float32
    assert found.shape == wave.shape
    assert 20 * math.log10(found.std() / wave.std()) == pytest.approx(0, abs=0.5)


def test_griffin_lim_comes_closer_to_the_mel_of_speech_than_noise_does(speech_store: Store) -> None:
    longest = max(speech_store.entries, key=lambda entry: entry.frames)
    utterance = speech_store.read(longest, 0, 80)  # a second
    mel = np.ascontiguousarray(utterance.mel.T)
    waves = griffin_lim(mel, SPEC), filtered_noise(mel, LinearPrediction(SPEC, 24, 8))
    for wave in waves:
        assert wave.shape == utterance.wave.shape
        assert wave.dtype == np.float32
    near, far = (log_mel_distance(torch.from_numpy(wave), torch.from_numpy(mel), SPEC) for wave in waves)
    assert near < far / 2
    # The magnitude of noise in a bin is Rayleigh's, whose logarithm scatters by 5.6 dB; a band averages a few bins.
    assert far < 7


def test_noise_is_a_function_of_its_seed() -> None:
    mel = np.full((80, 6), -4.0, np.float32)
    lp = LinearPrediction(SPEC, 24, 8)
    assert np.array_equal(filtered_noise(mel, lp, 1), filtered_noise(mel, lp, 1))
    assert not np.array_equal(filtered_noise(mel, lp, 1), filtered_noise(mel, lp, 2))
