"""Signal changes at the joins of a folded utterance, relative to those that are usual in speech."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

WINDOW_SECONDS, HOP_SECONDS = 0.010, 0.005
REACH_SECONDS = 0.015  # to either side of a join: the range in which the largest change is taken
USUAL_QUANTILE = 0.95  # of the changes over the whole unfolded utterance; larger changes are unusual


@dataclass(frozen=True)
class JoinChanges:
    """Changes at N joins [N], in the folded utterance and at the same times in the unfolded one.

    Each is divided by the 95th percentile of that change over the whole unfolded utterance: above 1 is unusual.
    """

    spectral_flux: np.ndarray
    spectral_flux_unfolded: np.ndarray
    level_jump: np.ndarray
    level_jump_unfolded: np.ndarray


def changes_at_joins(folded: np.ndarray, unfolded: np.ndarray, joins: Sequence[int], sample_rate: int) -> JoinChanges:
    """The largest changes within 15 ms of each join.

    Args:
        folded: waveform [T] with joins.
        unfolded: waveform [T] of the same utterance, synthesised in one piece.
        joins: sample indices [N].
        sample_rate: in Hz.
    """
    frames = [round(join / round(HOP_SECONDS * sample_rate)) for join in joins]  # the hop is a whole number of samples
    flux, flux_unfolded = _relative_changes(spectral_flux, folded, unfolded, frames, sample_rate)
    jump, jump_unfolded = _relative_changes(level_jumps, folded, unfolded, frames, sample_rate)
    return JoinChanges(
        spectral_flux=flux,
        spectral_flux_unfolded=flux_unfolded,
        level_jump=jump,
        level_jump_unfolded=jump_unfolded,
    )


def _relative_changes(
    measure: Callable[[np.ndarray, int], np.ndarray],
    folded: np.ndarray,
    unfolded: np.ndarray,
    frames: Sequence[int],
    sample_rate: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Changes [N] around `frames`, folded and unfolded, relative to what is usual in the unfolded waveform."""
    reach = round(REACH_SECONDS / HOP_SECONDS)
    at_join, reference = (running_maximum(measure(wave, sample_rate), reach) for wave in (folded, unfolded))
    usual = max(np.quantile(reference, USUAL_QUANTILE), 1e-6)
    return at_join[frames] / usual, reference[frames] / usual


def spectral_flux(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """RMS change over frequency of the log-magnitude, from the previous 10 ms window (5 ms earlier): [F] in dB."""
    decibels = 10 * np.log10(np.abs(np.fft.rfft(windowed_frames(wave, sample_rate))) ** 2 + 1e-7)
    return np.pad(np.sqrt((np.diff(decibels, axis=0) ** 2).mean(1)), (1, 0))


def level_jumps(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Absolute change of the level from the previous 10 ms window (5 ms earlier): [F] in dB."""
    decibels = 10 * np.log10((windowed_frames(wave, sample_rate) ** 2).mean(1) + 1e-8)
    return np.pad(np.abs(np.diff(decibels)), (1, 0))


def windowed_frames(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Hann-windowed frames [F, window] of a waveform [T], centred on multiples of the hop."""
    length, hop = round(WINDOW_SECONDS * sample_rate), round(HOP_SECONDS * sample_rate)
    padded = np.pad(wave, (length // 2, length))
    return np.lib.stride_tricks.sliding_window_view(padded, length)[::hop] * np.hanning(length)


def running_maximum(values: np.ndarray, reach: int) -> np.ndarray:
    """Maximum of each of values [F] and its `reach` neighbours to either side; values are not negative."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(values, reach), 2 * reach + 1).max(1)
