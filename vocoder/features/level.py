"""How the level of recordings was set: what a model can expect of the waves and mels that it is given."""

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Level:
    """What preprocessing did to the level of recordings, and to what lies below speech.

    Attributes:
        gain: by which all samples were multiplied; None where each speaker or recording has its own.
        peak: below which the gain brought 95 % of the recordings; None where it did not follow from peaks.
        loudness: in LUFS, to which the gain brought what `loudness_of` names; None where it did not follow from that.
        highpass: cutoff in Hz of the filter that ran before all else; None for no filter.
        trim_db: how far below the loudest frame silence at the ends had to be to be removed; None where it stayed.
    """

    gain: float | None = 1.0
    peak: float | None = None
    loudness: float | None = None
    loudness_of: Literal["corpus", "speaker", "recording"] = "corpus"
    highpass: float | None = None
    trim_db: float | None = None
