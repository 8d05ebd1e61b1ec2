"""Perceptual measures, from optional packages: pip install -e '.[metrics]'.

Waveforms of unequal length are compared up to the end of the shorter one. PESQ and DistillMOS get waveforms that
`vocoder.features.audio.resample` brought to their rate; pystoi resamples by itself.
"""

import contextlib
import io
import math
import warnings
from functools import lru_cache
from typing import Any, Literal

import numpy as np
import torch

from vocoder.evaluation.packages import optional_package
from vocoder.features.audio import resample

PESQ_RATES = {"wb": 16000, "nb": 8000}  # Hz
PESQ_SECONDS = 15  # at a time: the package crashes at the 51st phrase, and phrases with their gaps last at least 0.4 s
STOI_MIN_SECONDS = 0.4  # 30 frames of 25.6 ms, every 12.8 ms: shorter speech has no value
MOS_RATE = 16000  # Hz
MOS_SEGMENT = 122880  # samples, 7.68 s: what the network of DistillMOS takes at a time
MOS_MAX_HOP = 16000  # samples between segments


def stoi(waveform: np.ndarray, target: np.ndarray, sample_rate: int, extended: bool = False) -> float | None:
    """Short-time objective intelligibility of a waveform [T] against its target [T], up to 1 (pystoi 0.4).

    STOI (Taal et al. 2011), or with `extended` ESTOI (Jensen and Taal 2016). None if the target has less than 0.4 s
    of speech; frames 40 dB below its loudest are no speech.

    Raises:
        UserError: the package pystoi is not installed.
    """
    package = optional_package("pystoi")
    waveform, target = _shorter(waveform, target)
    if len(target) < STOI_MIN_SECONDS * sample_rate or not target.any():
        return None
    with warnings.catch_warnings():
        warnings.filterwarnings("error", "Not enough STFT frames")
        try:
            return float(package.stoi(target, waveform, sample_rate, extended=extended))
        except RuntimeWarning:
            return None


def pesq(waveform: np.ndarray, target: np.ndarray, sample_rate: int, band: Literal["wb", "nb"] = "wb") -> float | None:
    """PESQ of a waveform [T] against its target [T]: predicted MOS, 1 to 4.6 (pesq 0.0.4).

    "wb": wide-band at 16 kHz (ITU-T P.862.2), None for a lower sample rate. "nb": narrow-band at 8 kHz (P.862 with the
    mapping of P.862.1). Longer waveforms are cut into equal pieces of at most 15 s, whose scores are averaged; pieces
    without speech in the target, shorter than a quarter of a second, or silent in the waveform have none. None if no
    piece has a score.

    Raises:
        UserError: the package pesq is not installed.
    """
    package, rate = optional_package("pesq"), PESQ_RATES[band]
    if sample_rate < rate:
        return None
    waveform, target = _shorter(waveform, target)
    if not len(target):
        return None
    degraded, reference = (resample(wave, sample_rate, rate) for wave in (waveform, target))
    pieces = math.ceil(len(reference) / (PESQ_SECONDS * rate))
    scores = [
        _pesq_of_piece(package, *waves, rate, band)
        for waves in zip(np.array_split(degraded, pieces), np.array_split(reference, pieces), strict=True)
    ]
    found = [score for score in scores if score is not None]
    return float(np.mean(found)) if found else None


def _pesq_of_piece(package: Any, degraded: np.ndarray, reference: np.ndarray, rate: int, band: str) -> float | None:
    if not (degraded.any() and reference.any()):
        return None
    try:
        return float(package.pesq(rate, reference, degraded, band))
    except (package.NoUtterancesError, package.BufferTooShortError):
        return None


def mos(waveform: np.ndarray, sample_rate: int) -> float | None:
    """Mean opinion score, 1 to 5, that DistillMOS 0.9 (Stahl and Gamper 2025) predicts without a target: waveform [T].

    It judges speech at 16 kHz, and reacts to the band's upper end: resampled to 24 kHz and back, a clean recording
    changed from 3.8 to 4.2. Compare values of one sample rate only. None for silence.

    Raises:
        UserError: the package distillmos is not installed.
    """
    model = _mos_model()
    if not waveform.any():
        return None
    wave = torch.from_numpy(resample(np.ascontiguousarray(waveform, np.float32), sample_rate, MOS_RATE))[None]
    excess = max(wave.shape[1] - MOS_SEGMENT, 0)
    # The package takes the same segments, but all in one batch: more than a gigabyte for a minute.
    starts = [int(part * excess) for part in np.linspace(0, 1, math.ceil(excess / MOS_MAX_HOP) + 1)]
    with torch.inference_mode():
        return float(np.mean([model(wave[:, start : start + MOS_SEGMENT]).item() for start in starts]))


@lru_cache(maxsize=1)
def _mos_model() -> torch.nn.Module:
    """The network of DistillMOS with the weights that are part of its package."""
    package = optional_package("distillmos")
    with contextlib.redirect_stdout(io.StringIO()):  # it prints the path of its weights
        model: torch.nn.Module = package.ConvTransformerSQAModel()
    return model.eval()


def _shorter(waveform: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both cut to the length of the shorter one."""
    samples = min(len(waveform), len(target))
    return waveform[:samples], target[:samples]
