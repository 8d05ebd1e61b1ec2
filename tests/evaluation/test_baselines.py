"""What a mel gives without a network: the envelope and the level, from two independent ways."""

import math

import numpy as np
import pytest
import scipy.signal
import torch

from vocoder.audio import int16_to_waveform
from vocoder.evaluation import filtered_noise, griffin_lim, log_mel_distance
from vocoder.evaluation.baselines import all_pole
from vocoder.mel import PRESETS
from vocoder.model.linear_prediction import LinearPrediction
from vocoder.store import Store

SPEC = PRESETS["speech_16k"]


def test_a_filter_that_stands_still_is_scipys() -> None:
    excitation = torch.from_numpy(np.random.default_rng(0).standard_normal(500))
    a = np.array([1.2, -0.7, 0.1])
    weights = torch.from_numpy(a[::-1].copy()).expand(500, 3)
    expected = scipy.signal.lfilter([1.0], np.concatenate([[1.0], -a]), excitation.numpy())
    np.testing.assert_allclose(all_pole(excitation, weights), expected, rtol=1e-9, atol=1e-12)


def test_both_have_the_envelope_of_speech_and_griffin_lim_more_of_it(speech_store: Store) -> None:
    utterance = speech_store.read(max(speech_store.entries, key=lambda entry: entry.frames))
    mel = np.ascontiguousarray(utterance.mel.T)
    target = int16_to_waveform(utterance.wave)
    waves = {
        "noise": filtered_noise(mel, LinearPrediction(SPEC, 24, 8)),
        "griffin-lim": griffin_lim(mel, SPEC),
    }
    distance = {}
    for name, wave in waves.items():
        assert wave.shape == target.shape
        assert wave.dtype == np.float32
        assert 10 * math.log10((wave**2).mean() / (target**2).mean()) == pytest.approx(0, abs=3)  # dB
        distance[name] = log_mel_distance(torch.from_numpy(wave), torch.from_numpy(mel), SPEC)
    assert distance["griffin-lim"] < 2.5 < distance["noise"] < 8  # dB; noise alone scatters by about 5


def test_noise_is_a_function_of_its_seed() -> None:
    mel = np.full((80, 6), -4.0, np.float32)
    lp = LinearPrediction(SPEC, 24, 8)
    assert np.array_equal(filtered_noise(mel, lp, 1), filtered_noise(mel, lp, 1))
    assert not np.array_equal(filtered_noise(mel, lp, 1), filtered_noise(mel, lp, 2))
