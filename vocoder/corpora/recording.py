"""What a layout yields of each recording: where it is, and what the corpus says about it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True)
class Recording:
    """An audio file, or a segment of one.

    Attributes:
        path: of the file. It may be missing or damaged: whoever reads it finds out.
        id: unique in the corpus, with / between folders, and safe as a path below any folder. Where a layout is a tree
            of files, their paths below its root, without suffix.
        speaker: as the corpus has it; None where it has one speaker or does not say.
        split: train, dev or test, where the corpus has official splits; None elsewhere.
        begin, end: of the segment, in seconds; None is the end of the file.
    """

    path: Path
    id: str
    speaker: str | None = None
    split: str | None = None
    begin: float = 0.0
    end: float | None = None

    @property
    def speaker_folder(self) -> str | None:
        """The first folder of the id; None for files directly in the input."""
        return self.id.split("/")[0] if "/" in self.id else None

    def speaker_by(self, rule: Literal["auto", "folder", "none"]) -> str | None:
        """The speaker's name as the corpus has it, as the first folder of the id has it, or none."""
        return {"auto": self.speaker, "folder": self.speaker_folder, "none": None}[rule]
