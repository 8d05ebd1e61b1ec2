"""Loudness: the standard's calibration, its table of filters, and its gates."""

import math

import numpy as np
import pytest
from scipy.signal import lfilter

from vocoder.errors import UserError
from vocoder.features.loudness import LoudnessMeter, k_weighted, loudness

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


def test_at_rates_below_the_filters_loudness_is_not_defined() -> None:
    assert math.isnan(loudness(np.full(3000, 0.5), 3000))
    with pytest.raises(UserError, match="not defined at 3000 Hz"):
        LoudnessMeter(3000)


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


@pytest.mark.parametrize("sample_rate", [16000, 22050, 44100])
def test_a_wave_that_arrives_in_blocks_is_as_loud_as_the_whole(sample_rate: int) -> None:
    generator = np.random.default_rng(0)
    wave = np.repeat(generator.uniform(0, 0.3, 30), sample_rate // 5) * generator.normal(size=sample_rate // 5 * 30)
    meter = LoudnessMeter(sample_rate)
    for block in np.split(wave, np.sort(generator.integers(0, len(wave), 40))):
        meter.add(block)
    assert meter.gated().lufs == pytest.approx(loudness(wave, sample_rate), abs=1e-9)
    assert meter.gated().blocks < 10 * 6 - 3  # some did not pass


def test_the_gates_are_those_of_the_standard() -> None:
    """Counted by hand: blocks of 400 ms every 100 ms, above -70 LUFS, and above the mean of those less 10 LU."""
    wave = np.concatenate([tone(997, a, 3, 16000) for a in (0.3, 0.001, 0.1, 0.00001)])
    weighted = k_weighted(wave, 16000)
    power = np.array([np.mean(weighted[i : i + 6400] ** 2) for i in range(0, len(wave) - 6399, 1600)])
    level = -0.691 + 10 * np.log10(power)
    above = power[level > -70]
    passed = above[-0.691 + 10 * np.log10(above) > -0.691 + 10 * np.log10(above.mean()) - 10]
    assert loudness(wave, 16000) == pytest.approx(-0.691 + 10 * np.log10(passed.mean()), abs=1e-9)
