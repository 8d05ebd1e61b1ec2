"""The measures against librosa and against values worked out by hand."""

import math

import librosa
import numpy as np
import pytest
import torch

from vocoder.evaluation import level_in_pauses, log_mel_distance
from vocoder.features.mel import PRESETS, log_mel

SPEC = PRESETS["speech_16k"]


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=16000).astype(np.float32) * 0.1


def test_the_distance_of_a_waveform_from_its_own_mel_is_zero():
    wave = torch.from_numpy(noise())
    assert log_mel_distance(wave, log_mel(wave, SPEC), SPEC) == 0


def test_the_distance_at_half_the_amplitude_is_six_decibels():
    wave = torch.from_numpy(noise())
    assert log_mel_distance(wave / 2, log_mel(wave, SPEC), SPEC) == pytest.approx(6.02, abs=0.01)


def test_distance_agrees_with_librosa():
    one, other = noise(1), noise(2)

    def decibels(wave: np.ndarray) -> np.ndarray:
        pad = (SPEC.n_fft - SPEC.hop_length) // 2
        spectrum = librosa.stft(
            np.pad(wave, pad, mode="reflect"),
            n_fft=SPEC.n_fft,
            hop_length=SPEC.hop_length,
            win_length=SPEC.win_length,
            center=False,
        )
        filters = librosa.filters.mel(sr=16000, n_fft=1024, n_mels=80, fmin=0, fmax=8000)
        return 20 * np.log10(np.maximum(filters @ np.sqrt(np.abs(spectrum) ** 2 + 1e-9), 1e-5))

    expected = np.abs(decibels(one) - decibels(other)).mean()
    measured = log_mel_distance(torch.from_numpy(one), log_mel(torch.from_numpy(other), SPEC), SPEC)
    assert measured == pytest.approx(expected, abs=1e-3)


# Pauses


def speech_with_a_pause(pause_level: float, pause_seconds: float = 0.3) -> torch.Tensor:
    """Noise at 0.1 RMS, a pause at `pause_level` RMS, then noise at 0.1 RMS; one second on each side."""
    generator = np.random.default_rng(3)
    parts = [(0.1, 1.0), (pause_level, pause_seconds), (0.1, 1.0)]
    return torch.from_numpy(np.concatenate([a * generator.standard_normal(round(16000 * s)) for a, s in parts])).float()


@pytest.mark.parametrize("level", [1e-4, 5e-4])
def test_the_level_in_pauses_equals_that_of_the_noise_there(level: float):
    target = speech_with_a_pause(1e-5)
    measured = level_in_pauses(speech_with_a_pause(level), target, 16000)
    assert measured == pytest.approx(20 * math.log10(level), abs=0.5)


def test_digital_silence_has_the_level_of_16_bit_quantisation_noise():
    target = speech_with_a_pause(0.0)
    assert level_in_pauses(target, target, 16000) == pytest.approx(-101.1, abs=0.05)


@pytest.mark.parametrize(("level", "seconds"), [(0.01, 0.3), (1e-4, 0.03)])
def test_a_gap_that_is_too_loud_or_too_short_is_not_a_pause(level: float, seconds: float):
    target = speech_with_a_pause(level, seconds)
    assert math.isnan(level_in_pauses(target, target, 16000))


def test_the_level_outside_the_pauses_has_no_effect():
    target = speech_with_a_pause(1e-4)
    louder = target.clone()
    louder[:15000] *= 9
    assert level_in_pauses(louder, target, 16000) == level_in_pauses(target, target, 16000)


@pytest.mark.parametrize(("ours", "target"), [(0, 16000), (500, 16000), (16000, 500), (30000, 36800)])
def test_waveforms_of_unequal_length_are_compared_up_to_the_shorter_end(ours: int, target: int):
    wave = speech_with_a_pause(1e-4)
    found = level_in_pauses(wave[:ours], wave[:target], 16000)
    assert math.isnan(found) if ours < 16000 or target < 16000 else found == pytest.approx(-80, abs=0.5)
