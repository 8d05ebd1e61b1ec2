"""Mels of one spec as mels of another: exactly where only the logarithm or an affine map differs, else approximately.

Approximately: band energies -> spectrum by the pseudo-inverse of the filters -> the other frequencies, window and
filters -> the other frame times. What the first filters have averaged away does not come back.
"""

from dataclasses import asdict
from functools import lru_cache

import numpy as np
import torch

from vocoder.features.mel import compress, energies
from vocoder.features.spec import MelSpec, hann_window, input_response, mel_filterbank

VALUE_FIELDS = {"log_base", "log_gain", "log_offset", "log_floor", "log_guard", "log_ceiling"}


def is_exact(source: MelSpec, target: MelSpec) -> bool:
    """Whether the target's mel follows from the source's alone: the same energies, of which none was clipped away."""
    mine, theirs = asdict(source), asdict(target)
    if any(mine[name] != theirs[name] for name in mine.keys() - VALUE_FIELDS):
        return False
    return source == target or (_keeps_quiet(source, target) and _ceiling(source) >= _ceiling(target))


def _keeps_quiet(source: MelSpec, target: MelSpec) -> bool:
    """Whether everything above the target's floor is above the source's."""
    if (source.log_guard, source.log_floor) == (target.log_guard, target.log_floor):
        return True
    return target.log_guard == "max" and (source.log_guard == "add" or source.log_floor <= target.log_floor)


def _ceiling(spec: MelSpec) -> float:
    return float("inf") if spec.log_ceiling is None else spec.log_ceiling


def convert_exactly(mel: np.ndarray, source: MelSpec, target: MelSpec) -> np.ndarray:
    """A float32 mel [n_mels, F] of the target from one of the source, where `is_exact`."""
    if source == target:
        return mel
    return compress(energies(torch.from_numpy(mel), source), target).float().numpy()


def convert_approximately(mel: np.ndarray, source: MelSpec, target: MelSpec) -> np.ndarray:
    """A float32 mel [n_mels, F] of the target that is near to what its own transform would have given."""
    spectrum = np.maximum(_inverse(source) @ energies(torch.from_numpy(mel), source).numpy(), 0.0) ** (
        1 / source.power
    )  # of white level 1
    spectrum = _at_frequencies(spectrum / _level(source)[:, None], source, target) * _level(target)[:, None]
    filters = mel_filterbank(target).double().numpy()
    values = compress(torch.from_numpy(filters @ spectrum**target.power), target).numpy()
    return _at_times(values, source, target).astype(np.float32)


@lru_cache(maxsize=8)
def _inverse(spec: MelSpec) -> np.ndarray:
    return np.linalg.pinv(mel_filterbank(spec).double().numpy())


def _level(spec: MelSpec) -> np.ndarray:
    """The magnitude [n_fft/2 + 1] of white noise of one density per hertz at any rate, as it reaches the filters."""
    power = spec.sample_rate * hann_window(spec).square().sum()
    return (power.sqrt() * input_response(spec)).double().numpy()


def _at_frequencies(spectrum: np.ndarray, source: MelSpec, target: MelSpec) -> np.ndarray:
    """Magnitudes [bins, F] of one spec at the frequencies of another; the source's edge bands go on outside."""
    covered = np.flatnonzero(mel_filterbank(source).sum(0).numpy())
    given = covered * source.sample_rate / source.n_fft
    wanted = np.arange(target.n_fft // 2 + 1) * target.sample_rate / target.n_fft
    right = np.clip(np.searchsorted(given, wanted), 1, len(given) - 1)
    weight = np.clip((wanted - given[right - 1]) / (given[right] - given[right - 1]), 0, 1)[:, None]
    return (1 - weight) * spectrum[covered[right - 1]] + weight * spectrum[covered[right]]


def _at_times(mel: np.ndarray, source: MelSpec, target: MelSpec) -> np.ndarray:
    """Values [n_mels, F] at the source's frame times, interpolated to the target's, which cover the same duration."""
    samples = mel.shape[1] * source.hop_length / source.sample_rate * target.sample_rate
    frames = max(1, round(samples / target.hop_length))
    seconds = (np.arange(frames) + target.frame_centre) * target.hop_length / target.sample_rate
    position = np.clip(seconds * source.sample_rate / source.hop_length - source.frame_centre, 0, mel.shape[1] - 1)
    left = np.minimum(position.astype(int), max(mel.shape[1] - 2, 0))
    weight = position - left
    return (1 - weight) * mel[:, left] + weight * mel[:, np.minimum(left + 1, mel.shape[1] - 1)]
