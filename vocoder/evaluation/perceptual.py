"""Perceptual measures, from optional packages: pip install -e '.[metrics]'."""

import importlib
from types import ModuleType

import numpy as np

from vocoder.errors import UserError
from vocoder.features.audio import resample

PESQ_RATE = 16000  # Hz; sample rate of the wide-band model


def stoi(waveform: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Short-time objective intelligibility of a waveform [T] against its target [T], 0 to 1 (Taal et al. 2011).

    Raises:
        UserError: the package pystoi is not installed.
    """
    return float(_package("pystoi").stoi(target, waveform, sample_rate))


def pesq(waveform: np.ndarray, target: np.ndarray, sample_rate: int) -> float:
    """Wide-band PESQ (ITU-T P.862.2) of a waveform [T] against its target [T]: predicted MOS, 1 to 4.6.

    Raises:
        UserError: the package pesq is not installed.
    """
    degraded, reference = (resample(wave, sample_rate, PESQ_RATE) for wave in (waveform, target))
    return float(_package("pesq").pesq(PESQ_RATE, reference, degraded, "wb"))


def _package(name: str) -> ModuleType:
    """Import an optional package."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise UserError(f"{name} is not installed; pip install {name} (or the extra `metrics`)") from None
