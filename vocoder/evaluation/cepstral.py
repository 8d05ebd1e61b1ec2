"""Mel-cepstral distortion, from WORLD's spectral envelope (CheapTrick, Morise 2015) by pyworld.

The mel-cepstrum c of an envelope P (power) is defined as in SPTK (Tokuda et al. 1994): on the frequency axis
w' = w + 2 atan(a sin w / (1 - a cos w)), which for a suitable a is close to the mel scale,

    ln P(w) / 2 = c[0] + sum over m >= 1 of c[m] cos(m w')

It is what SPTK's and pysptk's sp2mc compute.
"""

from functools import lru_cache

import numpy as np

from vocoder.evaluation.packages import optional_package
from vocoder.evaluation.pitch import HOP_SECONDS, PitchTrack

ORDER = 24  # coefficients after c[0]: usual for 16 to 24 kHz
SPEECH_DECIBELS = 40.0  # below the loudest frame of the target: quieter frames are pauses and are left out
DECIBELS = 10 / np.log(10)  # per unit of ln P


def mel_cepstrum(waveform: np.ndarray, sample_rate: int, track: PitchTrack) -> np.ndarray:
    """Mel-cepstra [F, ORDER + 1] of a waveform [T] at the frames of its pitch track.

    Raises:
        UserError: the package pyworld is not installed.
    """
    times = np.arange(len(track.f0)) * HOP_SECONDS
    wave = np.ascontiguousarray(waveform, np.float64)
    envelope = optional_package("pyworld").cheaptrick(wave, track.f0, times, sample_rate)  # [F, N/2 + 1]
    return cepstrum_of_envelope(envelope, mel_warping(sample_rate))


def mel_cepstral_distortion(cepstra: np.ndarray, target: np.ndarray) -> float:
    """Distortion in dB of mel-cepstra [F, C] against those of the target, compared up to the shorter end.

    10 / ln 10 * sqrt(2 sum over m >= 1 of (c[m] - target[m])²), averaged over frames (Kubichek 1993): the root mean
    square difference of the two smooth envelopes in dB on the warped axis, apart from the level, which is c[0]. Frames
    are not aligned in time; those 40 dB below the target's loudest frame are left out.
    """
    frames = min(len(cepstra), len(target))
    cepstra, target = cepstra[:frames], target[:frames]
    level = 2 * DECIBELS * target[:, 0]  # of the mean of the log spectrum
    is_speech = level > level.max() - SPEECH_DECIBELS
    squares = ((cepstra - target)[is_speech, 1:] ** 2).sum(1)
    return float(DECIBELS * np.sqrt(2 * squares).mean())


def cepstrum_of_envelope(envelope: np.ndarray, warping: float, order: int = ORDER) -> np.ndarray:
    """Mel-cepstra [F, order + 1] of power envelopes [F, N/2 + 1] whose bins run from 0 Hz to half the sample rate."""
    cepstra: np.ndarray = np.log(np.maximum(envelope, np.finfo(np.float64).tiny)) @ _analysis(
        envelope.shape[1], warping, order
    )
    return cepstra


@lru_cache
def mel_warping(sample_rate: int) -> float:
    """The constant a, to three digits, whose warped axis is closest to the mel scale log2(1 + f / 1000) (Fant 1968)."""
    f = np.linspace(0, sample_rate / 2, 1000)
    mel = np.log1p(f / 1000) / np.log1p(sample_rate / 2 / 1000)
    candidates = np.arange(0, 1, 0.001)
    distances = [((_warped(np.pi * f / f[-1], a) / np.pi - mel) ** 2).sum() for a in candidates]
    return round(float(candidates[np.argmin(distances)]), 3)


def _warped(w: np.ndarray, a: float) -> np.ndarray:
    """Warped frequency in radians."""
    warped: np.ndarray = w + 2 * np.arctan2(a * np.sin(w), 1 - a * np.cos(w))
    return warped


@lru_cache
def _analysis(bins: int, a: float, order: int) -> np.ndarray:
    """Matrix [bins, order + 1] from ln P to the mel-cepstrum: the cosine integral over w', by substitution of w.

    c[m] = 1/pi times the integral from 0 to pi of ln P cos(m w') dw' (half of it for m = 0), as a sum over bins. The
    sum is exact, because the integrand has no components of N samples and above.
    """
    w = np.linspace(0, np.pi, bins)
    slope = (1 - a**2) / (1 + a**2 - 2 * a * np.cos(w))  # dw'/dw
    weights = np.where((w == 0) | (w == np.pi), 0.5, 1.0) / (bins - 1)
    matrix: np.ndarray = (weights * slope)[:, None] * np.cos(np.outer(_warped(w, a), np.arange(order + 1)))
    matrix[:, 0] /= 2
    return matrix
