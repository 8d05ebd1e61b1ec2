"""The utterances of a store as a table that is mapped, not read: ten million of them are there in a moment.

index.npy   one row for each: shard, first frame, frames, split, speaker, where its name ends
names.bin   their names, UTF-8, one after another
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

import numpy as np

from vocoder.errors import UserError

SPLITS = ("train", "dev", "test")
NOBODY = -1
ROW = np.dtype(
    [("shard", "<u4"), ("start", "<u8"), ("frames", "<u4"), ("split", "u1"), ("speaker", "<i4"), ("name_end", "<u8")]
)
TABLE, NAMES = "index.npy", "names.bin"


@dataclass(frozen=True)
class Entry:
    """One kept utterance."""

    id: str  # path of the source below the input folder, without its suffix
    split: str
    speaker: str | None
    shard: int
    start: int  # first frame in the shard
    frames: int


class Index(Sequence[Entry]):
    """Entries, made when they are asked for."""

    def __init__(
        self, table: np.ndarray, names: np.ndarray, speakers: Sequence[str], rows: np.ndarray | None = None
    ) -> None:
        self._table, self._names, self._all_speakers = table, names, tuple(speakers)
        self._rows = np.arange(len(table), dtype=np.uint32) if rows is None else rows

    @classmethod
    def of(cls, entries: Iterable[Entry], speakers: Sequence[str]) -> "Index":
        """A table in memory."""
        number = {name: index for index, name in enumerate(speakers)}
        rows, names = [], bytearray()
        for e in entries:
            names += e.id.encode()
            speaker = NOBODY if e.speaker is None else number[e.speaker]
            rows.append((e.shard, e.start, e.frames, SPLITS.index(e.split), speaker, len(names)))
        return cls(np.array(rows, ROW), np.frombuffer(bytes(names), np.uint8), speakers)

    @classmethod
    def open(cls, directory: Path, speakers: Sequence[str]) -> "Index":
        """The table of a store, mapped.

        Raises:
            UserError: it is damaged.
        """
        try:
            table = np.load(directory / TABLE, mmap_mode="r")
            names = np.memmap(directory / NAMES, np.uint8, "r") if len(table) else np.zeros(0, np.uint8)
        except (OSError, ValueError, EOFError) as error:
            raise UserError(f"{directory}: its index is damaged ({error}); preprocess the corpus again") from None
        if table.dtype != ROW or table.ndim != 1 or (len(table) and int(table["name_end"][-1]) != len(names)):
            raise UserError(f"{directory}: its index is damaged ({TABLE} and {NAMES}); preprocess the corpus again")
        return cls(table, names, speakers)

    def save(self, directory: Path) -> None:
        np.save(directory / TABLE, self._table)
        (directory / NAMES).write_bytes(self._names.tobytes())

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, position: int) -> Entry: ...

    @overload
    def __getitem__(self, position: slice) -> "Index": ...

    def __getitem__(self, position: int | slice) -> "Entry | Index":
        if isinstance(position, slice):
            return self._of_rows(self._rows[position])
        row = int(self._rows[position])
        shard, start, frames, split, speaker, end = self._table[row].item()
        first = int(self._table["name_end"][row - 1]) if row else 0
        name = self._names[first:end].tobytes().decode()
        return Entry(
            name, SPLITS[split], None if speaker == NOBODY else self._all_speakers[speaker], shard, start, frames
        )

    def where(self, chosen: np.ndarray) -> "Index":
        """Those for which a mask [N] is true."""
        return self._of_rows(self._rows[chosen])

    def split(self, name: str) -> "Index":
        """Those of a split."""
        return self.where(self._table["split"][self._rows] == SPLITS.index(name))

    @property
    def frames(self) -> np.ndarray:
        """Of each [N]."""
        return self._table["frames"][self._rows].astype(np.int64)

    @property
    def speakers(self) -> np.ndarray:
        """The number of each one's speaker [N]; -1 where there is none."""
        return self._table["speaker"][self._rows]

    def _of_rows(self, rows: np.ndarray) -> "Index":
        return Index(self._table, self._names, self._all_speakers, rows)
