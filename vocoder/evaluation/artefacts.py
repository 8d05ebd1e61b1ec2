"""Faults of synthesised speech that its recording does not have: clicks, clipping, collapse, drift and offset."""

import numpy as np

from vocoder.evaluation.clicks import find_clicks
from vocoder.evaluation.collapse import HOP, band_levels, find_collapses, runs, speech_level, sum_of_bands
from vocoder.evaluation.results import Artefact

CLIP_TOLERANCE = 1.5 / 32768  # from the extreme: rounding to 16 bits, and a little more
TARGET_TOLERANCE = 4 / 32768  # recordings that were clipped and then dithered or filtered are not quite flat
CLIP_RUN = 3  # samples: the top of a loud sine wave has fewer within the tolerance
LOWEST_PITCH = 80.0  # Hz: the lower a tone and the quieter, the flatter its top
QUIETEST_CLIP = 0.01  # of full scale: in quieter waves rounding makes every top flat
DRIFT_RANGE = 30.0  # dB below the level of speech in which a level counts
QUIETEST_SPEECH = -90.0  # dBFS: digital silence, a rounding error or two above -101, is none
DRIFT_SPEECH = 0.5  # seconds of speech that a slope needs
DRIFT_POINTS = 400  # frames at most: the slope is a median over all pairs


def find_artefacts(
    waveform: np.ndarray, target: np.ndarray, sample_rate: int
) -> tuple[dict[str, float], list[Artefact]]:
    """What is wrong with a waveform [T], given the recording that it renders, target [T], both in [-1, 1].

    Of unequal lengths the common part counts. The values have the names of measures: clicks (per minute), clipping (ms
    per minute), collapse (seconds per minute), level_drift (dB from the start to the end) and dc (% of full scale).
    level_drift is left out where the recording holds too little speech.
    """
    length = min(len(waveform), len(target))
    waveform, target = waveform[:length], target[:length]
    levels, target_levels = band_levels(waveform, sample_rate), band_levels(target, sample_rate)
    collapses = find_collapses(levels, target_levels)
    clicks = [click for click in find_clicks(waveform, target, sample_rate) if not _within(click, collapses)]
    clips = find_clipping(waveform, target, sample_rate)
    minutes = max(length, 1) / sample_rate / 60
    values = {
        "clicks": len(clicks) / minutes,
        "clipping": 1000 * _duration(clips) / minutes,
        "collapse": _duration(collapses) / minutes,
        "dc": dc_offset(waveform, target),
    }
    drift = level_drift(sum_of_bands(levels), sum_of_bands(target_levels))
    if drift is not None:
        values["level_drift"] = drift
    return values, sorted([*clicks, *clips, *collapses], key=lambda artefact: artefact.start)


def _duration(artefacts: list[Artefact]) -> float:
    return sum(artefact.stop - artefact.start for artefact in artefacts)


def _within(artefact: Artefact, others: list[Artefact], margin: float = 0.05) -> bool:
    """Whether an artefact begins in one of the others, or up to `margin` seconds beside it: where it begins or ends."""
    return any(other.start - margin <= artefact.start <= other.stop + margin for other in others)


def find_clipping(waveform: np.ndarray, target: np.ndarray, sample_rate: int) -> list[Artefact]:
    """Runs of samples at an extreme of waveform [T], without those that are mostly at an extreme of target [T] too."""
    found: list[tuple[int, int]] = []
    for sign in (1, -1):
        in_target = sign * target >= (sign * target).max(initial=-np.inf) - TARGET_TOLERANCE
        found += [
            (start, stop)
            for start, stop in _flat_tops(sign * waveform, sample_rate)
            if 2 * np.count_nonzero(in_target[start:stop]) < stop - start
        ]
    return [Artefact("clipping", start / sample_rate, stop / sample_rate) for start, stop in sorted(found)]


def flat_tops(waveform: np.ndarray, sample_rate: int) -> list[tuple[int, int]]:
    """Runs of samples at either extreme of waveform [T], as (start, stop): longer ones than a wave has by itself."""
    return sorted([*_flat_tops(waveform, sample_rate), *_flat_tops(-waveform, sample_rate)])


def _flat_tops(waveform: np.ndarray, sample_rate: int) -> list[tuple[int, int]]:
    """The runs at the highest value."""
    peak = float(waveform.max(initial=0))
    if peak < QUIETEST_CLIP:
        return []
    shortest = _shortest_clip(peak, sample_rate)
    at_peak = runs(waveform >= peak - CLIP_TOLERANCE).tolist()
    return [(start, stop) for start, stop in at_peak if stop - start >= shortest]


def _shortest_clip(peak: float, sample_rate: int) -> int:
    """Samples at an extreme that are more than a tone of the lowest pitch has there by itself, on average.

    A sine wave of amplitude A and frequency f is within d of its peak for a time of 2 acos(1 - d/A) / (2 pi f).
    """
    natural = np.arccos(1 - CLIP_TOLERANCE / peak) / (np.pi * LOWEST_PITCH)
    return max(CLIP_RUN, int(natural * sample_rate) + 1)


def dc_offset(waveform: np.ndarray, target: np.ndarray) -> float:
    """Mean of waveform [T] less that of target [T], in % of full scale."""
    return (
        100 * float(np.mean(waveform, dtype=np.float64) - np.mean(target, dtype=np.float64)) if len(waveform) else 0.0
    )


def level_drift(levels: np.ndarray, target_levels: np.ndarray) -> float | None:
    """Change in dB, from start to end, of levels [frames] in dB against target_levels [frames].

    It is the median slope over all pairs of frames (Theil 1950, Sen 1968), which a collapse or a click hardly moves,
    times the duration. None if the recording has less than DRIFT_SPEECH of speech.
    """
    if len(levels) < DRIFT_SPEECH / HOP:
        return None
    active = np.flatnonzero(target_levels > max(speech_level(target_levels) - DRIFT_RANGE, QUIETEST_SPEECH))
    if len(active) < DRIFT_SPEECH / HOP:
        return None
    active = active[:: -(-len(active) // DRIFT_POINTS)]
    difference = (levels - target_levels)[active]
    first, second = np.triu_indices(len(active), 1)
    slope = np.median((difference[second] - difference[first]) / (active[second] - active[first]))
    return float(slope * len(levels))
