"""The first look at a recording: its level, its hash, and where to cut it if it is long."""

import hashlib
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import numpy as np

from vocoder.corpora import Recording
from vocoder.data.utterance import read_samples
from vocoder.features.audio_file import AudioFile
from vocoder.features.loudness import GatedPower, LoudnessMeter

HOPS_PER_SECOND = 100  # resolution of the cuts
PAUSE_HOPS = 30  # 0.3 s; a cut is made where so long a piece is quietest


@dataclass(frozen=True)
class Survey:
    """What the first pass finds out about a file."""

    peak: float  # largest magnitude, after the high-pass filter if there is one, before all else
    sha256: str  # of the file, in hex
    sample_rate: int  # Hz
    borders: tuple[int | None, ...]  # samples at which it begins, is cut if it is long, and ends; None: with its file
    loudness: GatedPower | None = None  # where it was asked for


def survey(
    recording: Recording, max_seconds: float | None, highpass: float | None = None, *, loudness: bool = False
) -> Survey:
    """Decode a recording once, in blocks; with a high-pass filter, once more in the pieces that will be filtered.

    Args:
        max_seconds: longer recordings are cut; None keeps them whole.
        highpass: cutoff in Hz of the filter after which the level is measured; None for none.
        loudness: whether to measure it.

    Raises:
        UserError: the file cannot be read, or has no samples.
    """
    with AudioFile(recording.path) as file:
        start, stop = file.span(recording.begin, recording.end)
        energy = _Energy(file.sample_rate // HOPS_PER_SECOND)
        level, samples = _LevelMeter(file.sample_rate, loudness), 0
        for block in file.blocks(start, stop):
            samples += len(block)
            energy.add(block)
            if highpass is None:
                level.add(block)
        if not samples:
            file.read(start, stop)  # raises the error for it
        longest = None if max_seconds is None else max_seconds * HOPS_PER_SECOND
        cuts = () if longest is None else quiet_places(energy.hops(), int(longest))
        borders = (start, *(start + hop * energy.hop_length for hop in cuts), stop)
        if highpass is not None:
            for first, last in pairwise(borders):
                level.add(read_samples(recording.path, first or 0, last, highpass)[0])
        sha256 = _sha256(recording.path, recording.path.stat().st_mtime_ns)
        return Survey(level.peak, sha256, file.sample_rate, borders, level.loudness)


@lru_cache(maxsize=16)  # segments of a file come near each other
def _sha256(path: Path, modified: int) -> str:
    """The hash of a file that was last modified then, in hex."""
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def quiet_places(energy: np.ndarray, longest: int) -> tuple[int, ...]:
    """Hops at which to cut, so that no piece has more than `longest` hops: the quietest place in each one's last half.

    Every piece has at least a quarter of `longest`.

    Args:
        energy: of each hop [N].
    """
    cuts: list[int] = []
    start = 0
    while len(energy) - start > longest:
        first = start + longest // 2
        last = min(start + longest, len(energy) - longest // 4)
        pause = min(PAUSE_HOPS, last - first)
        sums = np.cumsum(np.concatenate([[0.0], energy[first:last]]))
        windows = sums[pause:] - sums[:-pause]
        start = first + int(windows.argmin()) + pause // 2
        cuts.append(start)
    return tuple(cuts)


class _LevelMeter:
    """The peak, and if wanted the loudness, of a waveform that arrives in blocks."""

    def __init__(self, sample_rate: int, loudness: bool) -> None:
        self.peak = 0.0
        self._meter = LoudnessMeter(sample_rate) if loudness else None

    def add(self, block: np.ndarray) -> None:
        self.peak = max(self.peak, float(np.abs(block).max()))
        if self._meter is not None:
            self._meter.add(block)

    @property
    def loudness(self) -> GatedPower | None:
        return None if self._meter is None else self._meter.gated()


class _Energy:
    """The energy of each whole hop of a waveform that arrives in blocks."""

    def __init__(self, hop_length: int) -> None:
        self.hop_length = hop_length
        self._rest = np.zeros(0, np.float32)
        self._hops: list[np.ndarray] = []

    def add(self, block: np.ndarray) -> None:
        block = np.concatenate([self._rest, block])
        whole = len(block) // self.hop_length * self.hop_length
        self._hops.append(np.square(block[:whole]).reshape(-1, self.hop_length).sum(1, dtype=np.float32))
        self._rest = block[whole:]

    def hops(self) -> np.ndarray:
        return np.concatenate(self._hops).astype(np.float64)
