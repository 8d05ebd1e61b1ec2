"""The settings of preprocessing."""

import re
from dataclasses import dataclass
from typing import Literal

from vocoder.corpora import AUTO, check_layout
from vocoder.errors import UserError
from vocoder.features.highpass import HIGHEST
from vocoder.features.mel import MelSpec

DEFAULT_FRACTION = 0.05  # of the recordings, for dev and for test
DEFAULT_PEAK = 0.7  # 3 dB below full scale
LOWEST_LOUDNESS = -60.0  # LUFS; speech is recorded and sold at -16 to -35


@dataclass(frozen=True)
class PreprocessConfig:
    """Settings of preprocessing.

    Raises:
        UserError: a setting is out of range, or contradicts another.
    """

    mel: MelSpec
    layout: str = AUTO  # of the corpus: a name of vocoder.corpora.LAYOUTS; "auto" recognises it
    mels: str | None = None  # a folder of mels by an acoustic model, which the store gets in place of the recordings'
    # One gain for the corpus brings the 95th percentile of the recordings' peaks to this value, so that louder
    # recordings have 3 dB of headroom. None leaves levels unchanged. "auto": 0.7, but None with `mels` or `loudness`.
    peak: float | Literal["auto"] | None = "auto"
    # In place of `peak`: the gain brings what `loudness_of` names to this loudness, in LUFS (ITU-R BS.1770).
    loudness: float | None = None
    loudness_of: Literal["corpus", "speaker", "recording"] = "corpus"
    highpass: float | None = None  # Hz; a filter that removes what is below it, before all else
    trim_db: float | None = None  # trims ends that are this far below the loudest frame; None does not trim
    min_seconds: float = 0.3
    # Longer recordings are cut at pauses into utterances of their own: memory stays bounded, and a single chapter of a
    # book can be split into train, dev and test. None keeps them whole, and so does `mels`.
    max_seconds: float | None = 60.0
    silence_peak: float = 0.001  # -60 dBFS: quieter recordings are skipped as silence
    # None: the corpus's own split if it has one, otherwise 5 % each.
    dev_fraction: float | None = None
    test_fraction: float | None = None
    # A regular expression. What it matches of an id decides the split, so that takes of one prompt share a split; None,
    # or no match: the whole id.
    split_by: str | None = None
    # "auto": as the layout names the speakers; "folder": the first folder below the input names the speaker.
    speaker: Literal["auto", "none", "folder"] = "auto"
    hold_out: tuple[str, ...] = ()  # speakers whose recordings all go to the test split; models do not learn them

    def __post_init__(self) -> None:
        check_layout(self.layout)
        if not 0 <= sum(self.fractions) < 1 or min(self.fractions) < 0:
            raise UserError("dev_fraction and test_fraction must add up to less than 1, to leave a train split")
        if self.split_by is not None:
            try:
                re.compile(self.split_by)
            except re.error as error:
                raise UserError(f"split_by={self.split_by}: not a regular expression ({error})") from error
        if self.max_seconds is not None and not max(1.0, 4 * self.min_seconds) <= self.max_seconds < float("inf"):
            raise UserError(
                f"max_seconds={self.max_seconds:g}: must be at least {max(1.0, 4 * self.min_seconds):g} (pieces are a "
                "quarter of it or longer, and at least min_seconds), or null"
            )
        if self.hold_out and self.speaker == "none":
            raise UserError(f"hold_out={','.join(self.hold_out)}: with speaker=none, no speaker has a name")
        if self.peak not in (None, "auto") and not 0 < float(self.peak) <= 1:
            raise UserError(f"peak={self.peak}: must be above 0 and at most 1 (full scale), auto or null")
        self._check_loudness()
        if self.highpass is not None and not 0 < self.highpass < HIGHEST:
            raise UserError(f"highpass={self.highpass:g}: must be above 0 and below {HIGHEST:g} Hz, or null")
        if self.mels is not None:
            self._check_unchanged()

    def _check_loudness(self) -> None:
        """Raises UserError where it is out of range, or contradicts another setting."""
        if self.loudness is None:
            if self.loudness_of != "corpus":
                raise UserError(f"loudness_of={self.loudness_of}: give loudness=LUFS too")
            return
        if not LOWEST_LOUDNESS <= self.loudness <= 0:
            raise UserError(f"loudness={self.loudness:g}: must be from {LOWEST_LOUDNESS:g} to 0 LUFS, or null")
        if self.peak not in (None, "auto"):
            raise UserError(f"loudness={self.loudness:g}: peak={self.peak} sets the level, too; leave peak out")
        if self.loudness_of == "speaker" and self.speaker == "none":
            raise UserError("loudness_of=speaker: with speaker=none there are none; give another of the two")

    def _check_unchanged(self) -> None:
        """Raises UserError for a setting that parts recordings from the mels that are given for them."""
        for name in ("trim_db", "peak", "loudness", "highpass"):
            value = getattr(self, name)
            if value not in (None, "auto"):
                raise UserError(f"{name}={value:g}: changes the recordings, so that mels={self.mels} are not theirs")

    @property
    def target_peak(self) -> float | None:
        """What the corpus's gain brings peaks to; None keeps the levels."""
        if self.peak != "auto":
            return self.peak
        return DEFAULT_PEAK if self.mels is None and self.loudness is None else None

    @property
    def longest_seconds(self) -> float | None:
        """The duration from which recordings are cut; None where they stay whole, as those that mels are given for."""
        return self.max_seconds if self.mels is None else None

    @property
    def fractions(self) -> tuple[float, float]:
        """The shares of dev and test where recordings are split by a hash."""
        given = self.dev_fraction, self.test_fraction
        dev, test = (DEFAULT_FRACTION if value is None else value for value in given)
        return dev, test

    @property
    def own_splits(self) -> bool:
        """Whether a corpus that comes with splits keeps them: where no setting says how to split it."""
        return self.dev_fraction is None and self.test_fraction is None and self.split_by is None
