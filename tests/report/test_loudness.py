"""Loudness: the standard's calibration, its table of filters, and its gates."""

import math

import numpy as np
import pytest
from scipy.signal import lfilter

from vocoder.report.loudness import k_weighted, loudness

# ITU-R BS.1770-4, tables 1 and 2: the two filters at 48 kHz
SHELF = ([1.53512485958697, -2.69169618940638, 1.19839281085285], [1.0, -1.69065929318241, 0.73248077421585])
HIGHPASS = ([1.0, -2.0, 1.0], [1.0, -1.99004745483398, 0.99007225036621])


def tone(frequency: float, amplitude: float, seconds: float, sample_rate: int) -> np.ndarray:
    return amplitude * np.sin(2 * np.pi * frequency * np.arange(round(seconds * sample_rate)) / sample_rate)


@pytest.mark.parametrize("sample_rate", [16000, 22050, 24000, 48000])
def test_a_full_scale_tone_of_997_hz_is_at_minus_3_lufs(sample_rate: int) -> None:
    assert loudness(tone(997, 1.0, 3, sample_rate), sample_rate) == pytest.approx(-3.01, abs=0.05)


def test_the_filters_are_those_of_the_standard() -> None:
    wave = np.random.default_rng(0).normal(size=48000)
    expected = lfilter(*HIGHPASS, lfilter(*SHELF, wave))
    assert k_weighted(wave, 48000) == pytest.approx(expected, abs=1e-6)


def test_twice_the_amplitude_is_6_lu_louder() -> None:
    wave = np.random.default_rng(0).normal(size=32000) * 0.05
    assert loudness(2 * wave, 16000) - loudness(wave, 16000) == pytest.approx(20 * math.log10(2), abs=1e-6)


def test_pauses_do_not_count() -> None:
    speech = tone(997, 0.2, 8, 16000)
    with_pause = np.concatenate([speech, np.zeros(16000 * 8)])
    assert loudness(with_pause, 16000) == pytest.approx(loudness(speech, 16000), abs=0.2)


def test_silence_has_no_loudness_and_a_short_wave_has_one() -> None:
    assert loudness(np.zeros(16000), 16000) == -math.inf
    assert loudness(tone(997, 1.0, 0.2, 16000), 16000) == pytest.approx(-3.01, abs=0.1)
