"""The index of a store: a table of its utterances, memory-mapped, so that ten million of them open in 0.2 seconds.

index.npy   one row per utterance: shard, first frame, frames, split, speaker, end of its id in names.bin
names.bin   the ids in UTF-8, concatenated
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from vocoder.errors import UserError
from vocoder.files import PROCESS_LIMITS

SPLITS = ("train", "dev", "test")
NO_SPEAKER = -1
ROW_DTYPE = np.dtype(
    [("shard", "<u4"), ("start", "<u8"), ("frames", "<u4"), ("split", "u1"), ("speaker", "<i4"), ("name_end", "<u8")]
)
TABLE_FILE, IDS_FILE = "index.npy", "names.bin"


@dataclass(frozen=True)
class Entry:
    """The metadata of a kept utterance and its position in the store."""

    id: str  # path of the recording below the input folder, without its suffix
    split: str
    speaker: str | None
    shard: int
    start: int  # first frame in the shard
    frames: int


class UtteranceIndex(Sequence[Entry]):
    """A sequence of entries, each created from its row of the table when it is accessed.

    Args:
        table: rows of ROW_DTYPE.
        ids: the bytes of all ids, uint8.
        speakers: names of the speakers; the table holds indices into them.
        rows: which rows of the table belong to this sequence; all by default.
    """

    def __init__(
        self, table: np.ndarray, ids: np.ndarray, speakers: Sequence[str], rows: np.ndarray | None = None
    ) -> None:
        self._table, self._ids, self._speaker_names = table, ids, tuple(speakers)
        self._rows = np.arange(len(table), dtype=np.uint32) if rows is None else rows

    @classmethod
    def from_entries(cls, entries: Iterable[Entry], speakers: Sequence[str]) -> "UtteranceIndex":
        """Build the table in memory."""
        speaker_indices = {name: index for index, name in enumerate(speakers)}
        rows, ids = [], bytearray()
        for e in entries:
            ids += e.id.encode()
            speaker = NO_SPEAKER if e.speaker is None else speaker_indices[e.speaker]
            rows.append((e.shard, e.start, e.frames, SPLITS.index(e.split), speaker, len(ids)))
        return cls(np.array(rows, ROW_DTYPE), np.frombuffer(bytes(ids), np.uint8), speakers)

    @classmethod
    def open(cls, directory: Path, speakers: Sequence[str]) -> "UtteranceIndex":
        """Map the table of the store in `directory`.

        Raises:
            UserError: the index is missing or damaged.
        """
        try:
            table = np.load(directory / TABLE_FILE, mmap_mode="r")
            ids = np.memmap(directory / IDS_FILE, np.uint8, "r") if len(table) else np.zeros(0, np.uint8)
        except (OSError, ValueError, EOFError) as error:
            if isinstance(error, OSError) and error.errno in PROCESS_LIMITS:
                raise UserError(
                    f"{directory}: its index cannot be opened ({error.strerror}); raise the process's limit (ulimit -n)"
                ) from None
            raise UserError(f"{directory}: its index is damaged ({error}); preprocess the corpus again") from None
        if table.dtype != ROW_DTYPE or table.ndim != 1 or (len(table) and int(table["name_end"][-1]) != len(ids)):
            raise UserError(
                f"{directory}: its index is damaged ({TABLE_FILE} and {IDS_FILE}); preprocess the corpus again"
            )
        return cls(table, ids, speakers)

    def save(self, directory: Path) -> None:
        """Write the whole table and all ids, also those of rows that are not selected."""
        np.save(directory / TABLE_FILE, self._table)
        (directory / IDS_FILE).write_bytes(self._ids.tobytes())

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, position: int) -> Entry: ...

    @overload
    def __getitem__(self, position: slice) -> "UtteranceIndex": ...

    def __getitem__(self, position: int | slice) -> "Entry | UtteranceIndex":
        if isinstance(position, slice):
            return self._with_rows(self._rows[position])
        row = int(self._rows[position])
        shard, start, frames, split, speaker, id_end = self._table[row].item()
        id_start = int(self._table["name_end"][row - 1]) if row else 0
        return Entry(
            id=self._ids[id_start:id_end].tobytes().decode(),
            split=SPLITS[split],
            speaker=None if speaker == NO_SPEAKER else self._speaker_names[speaker],
            shard=shard,
            start=start,
            frames=frames,
        )

    def select(self, mask: np.ndarray) -> "UtteranceIndex":
        """The entries for which the boolean mask [N] is true."""
        return self._with_rows(self._rows[mask])

    def split(self, name: str) -> "UtteranceIndex":
        """The entries of one split."""
        return self.select(self._table["split"][self._rows] == SPLITS.index(name))

    @property
    def frame_counts(self) -> np.ndarray:
        """Frames of each utterance: int64 [N]."""
        return self._table["frames"][self._rows].astype(np.int64)

    @property
    def speaker_indices(self) -> np.ndarray:
        """Index of each utterance's speaker [N]; NO_SPEAKER where there is none."""
        return self._table["speaker"][self._rows]

    def _with_rows(self, rows: np.ndarray) -> "UtteranceIndex":
        return UtteranceIndex(self._table, self._ids, self._speaker_names, rows)
