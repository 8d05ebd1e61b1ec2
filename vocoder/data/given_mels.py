"""Mels that an acoustic model made of the recordings: found by id, and compared with the recording's own mel.

F frames, n_mels bands.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vocoder.corpora import walk_files
from vocoder.errors import UserError
from vocoder.features.mel import MelSpec
from vocoder.features.mel_files import ALL_MEL_SUFFIXES, read_mel
from vocoder.features.mel_input import Layout, MelFormat, MelReader
from vocoder.files import printable

TOLERANCE = 4  # frames by which a mel may be longer or shorter than its recording, or early or late
# Measured on 72 recordings of four speakers (tests/data/test_given_mels.py repeats it on the clips of two): smoothed
# mels with errors of 0.7 nepers (6 dB), more than acoustic models make, correlate by 0.70 or more; those of other
# sentences of about the same length by 0.5 or less.
LOWEST_CORRELATION = 0.6
# Nepers. The same erroneous mels differ by 0.9 or less on average; a mel with log base 10 for e by 2.6 or more.
LARGEST_DIFFERENCE = 2.0
FARTHEST_LAG = 40  # frames; a mel that fits better this much earlier or later is shifted
LAG_FRAMES = 1000  # in which a lag is looked for; it takes 80 times as long as the rest
CLEARLY_BETTER = 0.1  # of correlation


@dataclass(frozen=True)
class Agreement:
    """How a given mel compares with that of the recording.

    Attributes:
        correlation: over all frames and bands, each band without its mean.
        difference: mean absolute difference, in nepers.
        lag: frames by which the given mel is late, where it fits there, and clearly better than as it is; otherwise 0.
    """

    correlation: float
    difference: float
    lag: int

    @property
    def problem(self) -> str | None:
        """Why the mel cannot be that of the recording; None if it can."""
        if abs(self.lag) > TOLERANCE:
            return f"is {abs(self.lag)} frames {'late' if self.lag > 0 else 'early'} (at most {TOLERANCE} are taken)"
        if self.correlation < LOWEST_CORRELATION:
            return (
                f"is of something else, or not aligned with the recording (correlation {self.correlation:.2f}; at "
                f"least {LOWEST_CORRELATION:g} is taken)"
            )
        if self.difference > LARGEST_DIFFERENCE:
            return (
                f"differs from the recording's own by {self.difference:.1f} nepers on average (at most "
                f"{LARGEST_DIFFERENCE:g} are taken): it was made with another log, scale or normalisation"
            )
        return None


class GivenMels:
    """The mel files below a folder, by their paths in it without suffix, which are the ids of their recordings.

    Raises:
        UserError: there is no such folder, or no mel in it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        if not folder.is_dir():
            raise UserError(f"mels={folder}: no such folder")
        self._paths: dict[str, list[Path]] = {}
        for path in walk_files(folder, ALL_MEL_SUFFIXES):
            self._paths.setdefault(path.relative_to(folder).with_suffix("").as_posix(), []).append(path)
        if not self._paths:
            raise UserError(f"mels={folder}: no mels in it or below it ({', '.join(ALL_MEL_SUFFIXES)})")

    @property
    def files(self) -> list[Path]:
        """All of them."""
        return [path for paths in self._paths.values() for path in paths]

    def path(self, id: str) -> Path:
        """The mel of a recording. Raises UserError where there is none, or more than one."""
        found = self._paths.get(id, [])
        if not found:
            raise UserError(f"{self.folder / id}: no mel of that name ({', '.join(ALL_MEL_SUFFIXES)})")
        if len(found) > 1:
            raise UserError(f"{found[1]}: another mel, {found[0].name}, has the same name apart from its suffix")
        return found[0]

    def check_any(self, ids: Sequence[str]) -> None:
        """Raises UserError where none of the recordings has a mel."""
        if not any(id in self._paths for id in ids):
            raise UserError(
                f"mels={self.folder}: no mel is named after a recording; the first mel is "
                f"{printable(next(iter(self._paths)))}, the first recording {printable(ids[0])}"
            )


def describe_given_mels(folder: str | None, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What store.json says of mels from a folder: of how many utterances, and how well they agree with the recordings.

    Args:
        records: the lines of the manifest.

    Raises:
        UserError: most of the recordings that have a mel were skipped.
    """
    if folder is None:
        return {}
    paired = [record for record in records if "mel" in record]
    kept = [record["correlation"] for record in paired if record["status"] == "kept"]
    reasons = [record["reason"] for record in paired if record["status"] == "skipped"]
    if len(reasons) > len(kept):
        raise UserError(
            f"mels={folder}: {len(reasons)} of the {len(paired)} recordings with a mel would be skipped; the first: "
            f"{reasons[0]}"
        )
    return {"given_mels": {"utterances": len(kept), "median_correlation": float(np.median(kept)) if kept else None}}


def read_given_mel(path: Path, own: np.ndarray, spec: MelSpec) -> tuple[np.ndarray, Agreement]:
    """The mel in a file [F', n_mels], where it can be that of a recording, and how the two agree; F' is at most F.

    Args:
        own: the log-mel of the recording [F, n_mels].

    Raises:
        UserError: it cannot be read, is no mel of `spec`, or is not that of the recording.
    """
    given = read_mel(path)
    layouts = _layouts(given.shape, spec.n_mels)
    mel, agreement = max(
        (_read_as(layout, path, given, own, spec) for layout in layouts), key=lambda m: m[1].correlation
    )
    if agreement.problem is not None:
        raise UserError(f"{path}: {agreement.problem}")
    return mel, agreement


def _layouts(shape: tuple[int, ...], bands: int) -> list[Layout]:
    """How the axes can be meant; of a square mel either way, and its values tell."""
    if len(shape) != 2 or shape[1] != bands:
        return ["bands_first"]
    if shape[0] != bands:
        return ["frames_first"]
    return ["bands_first", "frames_first"]


def _read_as(
    layout: Layout, path: Path, given: np.ndarray, own: np.ndarray, spec: MelSpec
) -> tuple[np.ndarray, Agreement]:
    """The given mel [F', n_mels], its axes meant so, and how it agrees. Raises UserError as `read_given_mel`."""
    try:
        mel = MelReader(spec, None, MelFormat(layout=layout))(given).T
    except UserError as error:
        raise UserError(f"{path}: {error}") from None
    if abs(len(mel) - len(own)) > TOLERANCE:
        raise UserError(
            f"{path}: has {len(mel)} frames, the recording {len(own)}; they may differ by {TOLERANCE} at most"
        )
    frames = min(len(mel), len(own))
    mel = np.ascontiguousarray(mel[:frames])
    return mel, compare(spec.nepers(mel), spec.nepers(own[:frames]))


def compare(given: np.ndarray, own: np.ndarray) -> Agreement:
    """Compare two log-mels [F, n_mels] in nepers."""
    given, own = given.astype(np.float64), own.astype(np.float64)
    return Agreement(_correlation(given, own, 0), float(np.abs(given - own).mean()), _lag(given, own))


def _lag(given: np.ndarray, own: np.ndarray) -> int:
    """Frames by which the given mel is late, looked for in the middle of a long one; 0 unless it fits there better."""
    middle = slice(max(0, len(own) // 2 - LAG_FRAMES // 2), len(own) // 2 + LAG_FRAMES // 2)
    given, own = given[middle], own[middle]
    farthest = min(FARTHEST_LAG, len(own) // 2)  # at least half of the frames are compared
    lags = {lag: _correlation(given, own, lag) for lag in range(-farthest, farthest + 1)}
    best = max(lags, key=lambda lag: lags[lag])
    return best if lags[best] > max(LOWEST_CORRELATION, lags[0] + CLEARLY_BETTER) else 0


def _correlation(given: np.ndarray, own: np.ndarray, lag: int) -> float:
    """Of the frames that both have, if the given mel is `lag` frames late."""
    given, own = given[max(0, lag) : len(given) + min(0, lag)], own[max(0, -lag) : len(own) - max(0, lag)]
    given, own = given - given.mean(0), own - own.mean(0)
    scale = np.sqrt(np.square(given).sum() * np.square(own).sum())
    return float((given * own).sum() / scale) if scale > 0 else 0.0
