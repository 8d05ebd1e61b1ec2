"""Each preset's mel against the transform of its system, written here again with NumPy and SciPy, on real speech."""

from collections.abc import Callable
from math import gcd
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
import torch

from vocoder.features.mel import PRESETS, log_mel, mel_filterbank

SPEECH = sorted((Path(__file__).parent.parent / "speech").rglob("*.flac"))[::3]


def slaney_mel(hertz: np.ndarray) -> np.ndarray:
    """Slaney's Auditory Toolbox: 15 mels for each kHz up to 1 kHz, then 27 for a factor of 6.4."""
    return np.where(hertz < 1000, 0.015 * hertz, 15 + 27 * np.log(np.maximum(hertz, 1) / 1000) / np.log(6.4))


def htk_mel(hertz: np.ndarray) -> np.ndarray:
    return 2595 * np.log10(1 + hertz / 700)


def triangles(
    rate: int, n_fft: int, bands: int, low: float, high: float, scale: Callable = slaney_mel, unit_area: bool = True
) -> np.ndarray:
    """Mel filters [bands, n_fft/2 + 1] by hand: corners equally spaced in mel, found on a fine grid of frequencies."""
    grid = np.linspace(0, rate / 2, 2_000_001)
    ends = scale(np.array([low, high]))
    corners = np.interp(np.linspace(ends[0], ends[1], bands + 2), scale(grid), grid)
    frequency = np.arange(n_fft // 2 + 1) * rate / n_fft
    filters = np.stack([np.interp(frequency, corners[i : i + 3], [0, 1, 0]) for i in range(bands)])
    return filters * 2 / (corners[2:] - corners[:-2])[:, None] if unit_area else filters


def frames(wave: np.ndarray, n_fft: int, hop: int, before: int, window: np.ndarray, mode: str) -> np.ndarray:
    """Spectra [F, n_fft/2 + 1] of frames that start `before` samples ahead of each hop."""
    padded = np.pad(wave, (before, n_fft), mode=mode)
    window = np.pad(window, ((n_fft - len(window)) // 2, (n_fft - len(window) + 1) // 2))
    return np.stack([np.fft.rfft(window * padded[t : t + n_fft]) for t in range(0, len(wave), hop)])


def hann(length: int, periodic: bool = True) -> np.ndarray:
    return scipy.signal.get_window("hann", length, fftbins=periodic)


def hifigan(rate: int, n_fft: int, hop: int, bands: int, high: float, epsilon: float = 1e-9) -> Callable:
    """jik876/hifi-gan, jaywalnut310/vits, NVIDIA/BigVGAN: meldataset.py, mel_processing.py."""

    def transform(wave: np.ndarray) -> np.ndarray:
        spectrum = frames(wave, n_fft, hop, (n_fft - hop) // 2, hann(n_fft), "reflect")
        magnitude = np.sqrt(spectrum.real**2 + spectrum.imag**2 + epsilon)
        return np.log(np.maximum(triangles(rate, n_fft, bands, 0, high) @ magnitude.T, 1e-5))

    return transform


def centred(rate: int, hop: int, filters: np.ndarray, log: Callable, win: int = 1024) -> Callable:
    """The magnitude of librosa's or torch's centred STFT, then filters and a logarithm."""
    n_fft = 2 * (filters.shape[1] - 1)

    def transform(wave: np.ndarray) -> np.ndarray:
        return log(filters @ np.abs(frames(wave, n_fft, hop, n_fft // 2, hann(win), "reflect")).T)

    return transform


def nemo(wave: np.ndarray) -> np.ndarray:
    """NVIDIA/NeMo, features.py: a symmetric window, and the guard of the logarithm is added."""
    spectrum = frames(wave, 1024, 256, 512, hann(1024, periodic=False), "reflect")
    return np.log(triangles(22050, 1024, 80, 0, 8000) @ np.abs(spectrum).T + 1e-5)


def r9y9(wave: np.ndarray) -> np.ndarray:
    """r9y9/wavenet_vocoder, wavallin.py. Its high-pass delays wave and mel alike by 127 samples, taken away here."""
    taps = scipy.signal.firwin(255, 70 / (22050 / 2), pass_zero=False)
    delayed = scipy.signal.lfilter(taps, 1, np.append(wave, np.zeros(127)))
    return centred(22050, 256, triangles(22050, 1024, 80, 125, 7600), log10)(delayed[127:])


def decibels(energies: np.ndarray) -> np.ndarray:
    """dB below 20, of which -100 to 0 become -4 to 4."""
    level = 20 * np.log10(np.maximum(1e-5, energies)) - 20
    return np.clip(8 * (level + 100) / 100 - 4, -4, 4)


def rayhane(wave: np.ndarray) -> np.ndarray:
    """Rayhane-mamah/Tacotron-2, datasets/audio.py."""
    emphasised = scipy.signal.lfilter([1, -0.97], [1], wave)
    spectrum = frames(emphasised, 2048, 275, 1024, hann(1100), "constant")
    return decibels(triangles(22050, 2048, 80, 55, 7600) @ np.abs(spectrum.T) ** 2)


def log10(energies: np.ndarray) -> np.ndarray:
    return np.log10(np.maximum(energies, 1e-10))


def ln(floor: float) -> Callable:
    return lambda energies: np.log(np.maximum(energies, floor))


HTK = triangles(24000, 1024, 100, 0, 12000, htk_mel, unit_area=False)
SYSTEMS: dict[str, Callable] = {
    "hifigan_22k": hifigan(22050, 1024, 256, 80, 8000),
    "tacotron2_22k": centred(22050, 256, triangles(22050, 1024, 80, 0, 8000), ln(1e-5)),
    "vits_22k": hifigan(22050, 1024, 256, 80, 11025, 1e-6),
    "bigvgan_24k": hifigan(24000, 1024, 256, 100, 12000),
    "bigvgan_44k_256x": hifigan(44100, 1024, 256, 128, 22050),
    "bigvgan_44k_512x": hifigan(44100, 2048, 512, 128, 22050),
    "nemo_fastpitch": nemo,
    "vocos_24k": centred(24000, 256, HTK, ln(1e-7)),
    "f5_vocos": centred(24000, 256, HTK, ln(1e-5)),
    "pwg_16k": centred(16000, 256, triangles(16000, 1024, 80, 80, 7600), log10),
    "pwg_22k": centred(22050, 256, triangles(22050, 1024, 80, 80, 7600), log10),
    "pwg_24k": centred(24000, 300, triangles(24000, 2048, 80, 80, 7600), log10, win=1200),
    "speecht5": centred(16000, 256, triangles(16000, 1024, 80, 80, 7600), log10),
    "r9y9": r9y9,
    "rayhane": rayhane,
    "coqui_default": centred(22050, 256, triangles(22050, 1024, 80, 0, 11025), decibels),
    "speechbrain_16k": centred(16000, 256, triangles(16000, 1024, 80, 0, 8000), ln(1e-5)),
}


def speech(rate: int, hop: int) -> list[np.ndarray]:
    """Recordings of whole hops, resampled by scipy, in float64, with a little noise.

    Without it the bands above 7 kHz, which these recordings lack, would hold nothing but float32's rounding errors.
    """
    waves = []
    for path in SPEECH:
        wave, source = soundfile.read(path)
        divisor = gcd(rate, source)
        wave = scipy.signal.resample_poly(wave, rate // divisor, source // divisor)
        wave += np.random.default_rng(0).normal(0, 1e-3, len(wave))
        waves.append(wave[: len(wave) // hop * hop])
    return waves


def test_every_preset_of_another_system_has_its_transform_here() -> None:
    assert set(PRESETS) == set(SYSTEMS) | {"speech_16k"}  # which is this project's own, tested in test_mel.py


@pytest.mark.parametrize("name", SYSTEMS)
def test_a_preset_is_the_transform_of_its_system(name: str) -> None:
    spec = PRESETS[name]
    for wave in speech(spec.sample_rate, spec.hop_length):
        expected = SYSTEMS[name](wave)
        mel = log_mel(torch.from_numpy(wave), spec).numpy()
        assert mel.shape == expected.shape
        assert np.abs(mel - expected).max() <= 1e-4
        in_float32 = log_mel(torch.from_numpy(wave).float(), spec).numpy()
        assert np.quantile(np.abs(in_float32 - expected), 0.9999) <= 1e-4
        assert np.abs(in_float32 - expected).max() <= 1e-3  # where what float32 adds up has nearly cancelled


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_filters_are_triangles_by_hand(name: str) -> None:
    spec = PRESETS[name]
    by_hand = triangles(
        spec.sample_rate, spec.n_fft, spec.n_mels, spec.fmin, spec.fmax,
        {"slaney": slaney_mel, "htk": htk_mel}[spec.mel_scale], spec.filter_norm == "slaney",
    )  # fmt: skip
    filters = mel_filterbank(spec).numpy()
    for band in (0, 1, 20, 40, spec.n_mels - 1):
        assert np.abs(filters[band] - by_hand[band]).max() <= 1e-4 * by_hand.max()
