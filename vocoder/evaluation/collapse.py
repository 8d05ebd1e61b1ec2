"""Collapse: where the output leaves speech for noise, a constant or silence."""

import itertools

import numpy as np
import torch

from vocoder.evaluation.results import Artefact

FRAME, HOP = 0.032, 0.008  # seconds
BANDS = 12  # of equal width, so that white noise has the same level in each
SHORTEST = 0.1  # seconds
SPEECH_RANGE = 35.0  # dB below the level of speech from where on the recording holds none
ABSOLUTE_FLOOR = -75.0  # dBFS: the rounding to 16 bits lies at -101, the noise of quiet recordings about here
DEPARTURE = 7.0  # dB, mean over bands: honest renditions stay below 3, also at another level by 3 dB
DROP = 20.0  # dB below the recording: no frame of speech that is rendered honestly is so quiet
GAP = 0.12  # seconds: the closure of a long stop, in which silence is right


def find_collapses(levels: np.ndarray, target_levels: np.ndarray) -> list[Artefact]:
    """Stretches of more than 100 ms in which a waveform is not the speech of its recording but noise, or nothing.

    They are found in the `band_levels` [frames, BANDS] of both. Noise, also saturated noise, has other levels in most
    bands than speech; silence or a constant are far quieter than the speech, which has most of its level in few bands.
    """
    if len(levels) == 0:
        return []
    total, target_total = sum_of_bands(levels), sum_of_bands(target_levels)
    floor = max(speech_level(target_total) - SPEECH_RANGE, ABSOLUTE_FLOOR)
    band_floor = floor - 10 * np.log10(BANDS) + 3  # a band of noise varies by some dB
    departure = np.abs(np.maximum(levels, band_floor) - np.maximum(target_levels, band_floor)).mean(1)
    departed = _smoothed(departure, round(SHORTEST / HOP)) > DEPARTURE
    dropped = _bridged((target_total > floor) & (total < target_total - DROP), total <= floor, round(GAP / HOP))
    return _stretches(departed | dropped)


def band_levels(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    """Levels [frames, BANDS] in dBFS, without the lowest bins, which hold a constant."""
    frame = round(FRAME * sample_rate)
    if len(waveform) < frame:
        return np.zeros((0, BANDS))
    window = np.hanning(frame).astype(np.float32)
    # rounded one by one, as not every rate has a whole number of samples in a hop
    starts = np.rint(np.arange((len(waveform) - frame) / sample_rate // HOP + 1) * HOP * sample_rate).astype(int)
    frames = np.lib.stride_tricks.sliding_window_view(waveform.astype(np.float32), frame)
    spectrum = torch.fft.rfft(torch.from_numpy(frames[np.minimum(starts, len(frames) - 1)] * window)).numpy()
    power = (spectrum.real**2 + spectrum.imag**2) * (2 / (frame * np.square(window).sum()))
    edges = np.linspace(2, power.shape[1], BANDS + 1).astype(int)
    return 10 * np.log10(np.add.reduceat(power, edges[:-1], axis=1) + 1e-12)


def sum_of_bands(levels: np.ndarray) -> np.ndarray:
    """Levels [frames] of levels [frames, BANDS], in dB."""
    return 10 * np.log10((10 ** (levels / 10)).sum(1))


def speech_level(levels: np.ndarray) -> float:
    """The level of speech in dBFS: the mean power of the louder half of frames with levels [frames]."""
    louder = levels[levels >= np.median(levels)]
    return float(10 * np.log10((10 ** (louder / 10)).mean()))


def _smoothed(values: np.ndarray, width: int) -> np.ndarray:
    """Moving average [N] over `width` values, fewer at the ends."""
    width = min(width, len(values))
    kernel = np.ones(width)
    return np.convolve(values, kernel, "same") / np.convolve(np.ones(len(values)), kernel, "same")


def _bridged(flags: np.ndarray, neutral: np.ndarray, gap: int) -> np.ndarray:
    """Flags [N], with runs of up to `gap` neutral frames between two flags added."""
    bridged = flags.copy()
    places = np.flatnonzero(flags)
    for start, stop in itertools.pairwise(places.tolist()):
        if 1 < stop - start <= gap + 1 and neutral[start + 1 : stop].all():
            bridged[start:stop] = True
    return bridged


def runs(flags: np.ndarray) -> np.ndarray:
    """Runs of true values in flags [N], as [runs, 2] of start and stop."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    return edges.reshape(-1, 2)


def _stretches(flags: np.ndarray) -> list[Artefact]:
    """Runs of flagged frames, from the middle of the first to the middle of the last, that last long enough."""
    found = [(start * HOP + FRAME / 2, (stop - 1) * HOP + FRAME / 2) for start, stop in runs(flags).tolist()]
    return [Artefact("collapse", start, stop) for start, stop in found if stop - start >= SHORTEST]
