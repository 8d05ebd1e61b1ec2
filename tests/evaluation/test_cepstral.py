"""The mel-cepstrum against SPTK's recursion and against envelopes of known cepstrum; distortion by hand."""

from pathlib import Path

import numpy as np
import pytest

from vocoder.evaluation import packages
from vocoder.evaluation.cepstral import cepstrum_of_envelope, mel_cepstral_distortion, mel_cepstrum, mel_warping
from vocoder.evaluation.pitch import pitch_track
from vocoder.features.audio import read_audio

HELLO = Path(__file__).parents[1] / "speech/allison/hello-world.flac"


def smooth_envelopes(seed: int = 0, bins: int = 513) -> np.ndarray:
    """Power envelopes [5, bins] of random cepstra that decay as those of speech do."""
    c = np.random.default_rng(seed).standard_normal((5, 60)) * 0.93 ** np.arange(60)
    return np.exp(2 * c @ np.cos(np.outer(np.arange(60), np.linspace(0, np.pi, bins))))


def freqt(cepstrum: np.ndarray, order: int, a: float) -> np.ndarray:
    """Frequency transformation of a cepstrum [M] by the recursion of Oppenheim and Johnson (1972) -> [order + 1]."""
    g = np.zeros(order + 1)
    for value in cepstrum[::-1]:
        old = g.copy()
        g[0] = value + a * old[0]
        g[1] = (1 - a * a) * old[0] + a * old[1]
        for m in range(2, order + 1):
            g[m] = old[m - 1] + a * (old[m] - g[m - 1])
    return g


@pytest.mark.parametrize("a", [0.0, 0.41, 0.55])
def test_the_cepstrum_is_that_of_the_recursion(a: float) -> None:
    envelopes = smooth_envelopes()
    found = cepstrum_of_envelope(envelopes, a, order=24)
    for envelope, row in zip(envelopes, found, strict=True):
        cepstrum = np.fft.irfft(np.log(envelope))[: len(envelope)]
        cepstrum[0] /= 2  # of ln |H| = ln P / 2, as in SPTK
        np.testing.assert_allclose(row, freqt(cepstrum, 24, a), atol=1e-9)


def test_an_envelope_of_known_mel_cepstrum_gives_it_back() -> None:
    a, w = 0.41, np.linspace(0, np.pi, 513)
    warped = np.angle((np.exp(1j * w) - a) / (1 - a * np.exp(1j * w)))  # of the all-pass filter
    c = np.random.default_rng(1).standard_normal(25)
    envelope = np.exp(2 * np.cos(np.outer(warped, np.arange(25))) @ c)
    np.testing.assert_allclose(cepstrum_of_envelope(envelope[None], a)[0], c, atol=1e-9)


@pytest.mark.parametrize(("rate", "a"), [(8000, 0.31), (16000, 0.41), (22050, 0.455), (44100, 0.54), (48000, 0.55)])
def test_the_warping_is_the_one_that_is_usual_for_the_sample_rate(rate: int, a: float) -> None:
    assert mel_warping(rate) == pytest.approx(a, abs=0.006)


def test_a_constant_offset_of_one_coefficient_has_the_distortion_of_the_formula() -> None:
    target = np.random.default_rng(2).standard_normal((7, 25))
    offset = target.copy()
    offset[:, 3] += 0.5
    assert mel_cepstral_distortion(offset, target) == pytest.approx(10 / np.log(10) * np.sqrt(2) * 0.5)


def test_distortion_is_the_root_mean_square_difference_of_the_envelopes() -> None:
    c = np.random.default_rng(3).standard_normal((2, 1, 25))
    w = (np.arange(4096) + 0.5) / 4096 * np.pi
    one, other = (20 * np.log10(np.e) * np.cos(np.outer(w, np.arange(1, 25))) @ cepstra[0, 1:] for cepstra in c)
    expected = np.sqrt(((one - other) ** 2).mean())
    c[:, :, 0] = 0
    assert mel_cepstral_distortion(c[0], c[1]) == pytest.approx(expected)


def test_neither_level_nor_pauses_nor_frames_beyond_the_shorter_end_count() -> None:
    target = np.zeros((6, 25))
    target[4:, 0] = -5.0  # 43 dB below the others
    found = target.copy()
    found[:, 0] += 1
    found[4:, 1:] += 9
    assert mel_cepstral_distortion(found, target) == 0
    assert mel_cepstral_distortion(np.concatenate([found, found + 7]), target) == 0


def test_the_distortion_of_speech_grows_with_noise_and_not_with_the_level() -> None:
    if not packages.is_usable("pyworld"):
        pytest.skip("pyworld is not installed")
    wave, rate = read_audio(HELLO)
    noise = np.random.default_rng(0).standard_normal(len(wave))
    waves = (wave, wave / 2, wave + 0.003 * noise, wave + 0.03 * noise)
    target, *others = (mel_cepstrum(w, rate, pitch_track(w, rate)) for w in waves)
    quieter, noisy, noisier = (mel_cepstral_distortion(other, target) for other in others)
    assert mel_cepstral_distortion(target, target) == 0
    assert quieter < 0.3
    assert 1 < noisy < noisier < 20
