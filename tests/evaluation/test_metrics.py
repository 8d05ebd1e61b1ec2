"""The distance says what its unit promises."""

import librosa
import numpy as np
import pytest
import torch

from vocoder.evaluation import log_mel_distance
from vocoder.mel import PRESETS, log_mel

SPEC = PRESETS["speech_16k"]


def noise(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=16000).astype(np.float32) * 0.1


def test_a_waveform_is_at_no_distance_from_its_own_mel():
    wave = torch.from_numpy(noise())
    assert log_mel_distance(wave, log_mel(wave, SPEC), SPEC) == 0


def test_half_the_amplitude_is_six_decibels_away():
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
