"""The mel of r9y9's 0.1.1: windows of the package lws, which begin where their frame does."""

import librosa
import numpy as np
import pytest
import torch

from vocoder.features.mel import PRESETS, MelSpec, log_mel

SPEC = MelSpec(
    *(22050, 1024, 256, 1024, 80, 125.0, 7600.0),
    padding="ahead",
    pad_mode="zero",
    magnitude_epsilon=0.0,
    log_floor=1e-4,
    log_ceiling=10.0,
    log_base="10",
    window="lws",
)


def lws_window() -> np.ndarray:
    """As lws makes it: the geometric mean of the root of a symmetric Hann window and its synthesis window."""
    root = np.sqrt(np.hanning(1024))
    overlapping = sum(np.roll(root**2, 256 * shift) for shift in range(4))
    return np.sqrt(root * root / overlapping)


@pytest.mark.parametrize("level", [0.2, 20.0])  # the louder one is clipped in the end
def test_it_is_the_transform_of_the_package(level: float) -> None:
    wave = level * np.random.default_rng(0).standard_normal(20 * 256)
    padded = np.pad(wave, (0, 1024))
    frames = np.stack([padded[256 * f : 256 * f + 1024] for f in range(20)])
    filters = librosa.filters.mel(sr=22050, n_fft=1024, n_mels=80, fmin=125, fmax=7600)
    magnitudes = filters @ np.abs(np.fft.rfft(frames * lws_window())).T
    decibels = 20 * np.log10(np.maximum(1e-5, magnitudes)) - 20
    expected = np.clip((decibels + 100) / 100, 0, 1)
    computed = (log_mel(torch.from_numpy(wave).float(), SPEC).double().numpy() + 4) / 5
    assert (expected.max() == 1) == (level > 1)
    # lws's synthesis window is made of periodic sums of a symmetric window, so its square is a half only to 0.2 %.
    np.testing.assert_allclose(computed, expected, rtol=0, atol=1e-3)


def test_a_frame_is_centred_two_hops_after_its_beginning() -> None:
    wave = torch.zeros(20 * 256)
    wave[5 * 256 + 512] = 0.9  # a click in the middle of the window of frame 5
    assert int(log_mel(wave, SPEC).mean(0).argmax()) == 5
    assert SPEC.frame_centre == 2
    assert SPEC.window_reach == (0, 768)


def test_specs_with_a_hann_window_keep_the_hashes_of_stored_models() -> None:
    assert PRESETS["hifigan_22k"].hash() == "1de9a88646959160"  # in the config.json of the voice in the package
    assert SPEC.hash() != MelSpec(**{**vars(SPEC), "window": "periodic"}).hash()
