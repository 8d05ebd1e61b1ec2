"""Whether the joins of a folded utterance can be heard: is what happens there more than happens in speech anyway?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

WINDOW_SECONDS, HOP_SECONDS = 0.010, 0.005
AROUND_SECONDS = 0.015  # to either side of a join, all of it looked at
USUAL = 0.95  # quantile of what happens elsewhere


@dataclass(frozen=True)
class JoinChanges:
    """Changes at the joins [N] of a folded utterance, and at the same places of the same speech in one piece.

    Each over what 95 % of the places of the latter stay below: above 1 is more than usual.
    """

    flux: np.ndarray  # of the spectrum
    flux_unfolded: np.ndarray
    jump: np.ndarray  # of the level
    jump_unfolded: np.ndarray


def seams(folded: np.ndarray, unfolded: np.ndarray, joins: Sequence[int], sample_rate: int) -> JoinChanges:
    """Of waveforms [T] that are joined, or not, around samples `joins`: the largest change within 15 ms of each."""
    reach = round(AROUND_SECONDS / HOP_SECONDS)
    places = [round(join / round(HOP_SECONDS * sample_rate)) for join in joins]  # hops are whole samples
    ratios = []
    for measure in (spectral_flux, level_jumps):
        ours, theirs = (largest_around(measure(wave, sample_rate), reach) for wave in (folded, unfolded))
        usual = max(np.quantile(theirs, USUAL), 1e-6)
        ratios += [ours[places] / usual, theirs[places] / usual]
    return JoinChanges(*ratios)


def spectral_flux(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Root mean square of the change in log-magnitude, into each window of 10 ms from that 5 ms before: [N] in dB."""
    decibels = 10 * np.log10(np.abs(np.fft.rfft(windows(wave, sample_rate))) ** 2 + 1e-7)
    return np.pad(np.sqrt((np.diff(decibels, axis=0) ** 2).mean(1)), (1, 0))


def level_jumps(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """The same of the level, up or down: [N] in dB."""
    decibels = 10 * np.log10((windows(wave, sample_rate) ** 2).mean(1) + 1e-8)
    return np.pad(np.abs(np.diff(decibels)), (1, 0))


def windows(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    length, hop = round(WINDOW_SECONDS * sample_rate), round(HOP_SECONDS * sample_rate)
    padded = np.pad(wave, (length // 2, length))
    return np.lib.stride_tricks.sliding_window_view(padded, length)[::hop] * np.hanning(length)


def largest_around(values: np.ndarray, reach: int) -> np.ndarray:
    """Of each place and its neighbours so far to either side."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(values, reach), 2 * reach + 1).max(1)
