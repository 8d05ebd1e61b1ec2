"""The store: the aligned waves and mels of a preprocessed corpus in a few large arrays.

    store.json       format, identity, MelSpec and its hash, gain, speakers, totals, mel statistics of train
    manifest.jsonl   one line per input file: kept (with its position) or skipped (with the reason)
    index.npy        the kept utterances as a table for training, their ids in names.bin (see index.py)
    wave-00000.npy   int16 [N], whole utterances concatenated
    mel-00000.npy    float32 [N / hop_length, n_mels]; row f belongs to samples f·hop … (f + 1)·hop

A pair of wave and mel arrays is a shard. A new shard begins when the last is large enough. Each utterance is entirely
in one shard and starts at the same frame in both arrays.
"""

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from vocoder.data.index import SPLITS, TABLE_FILE, Entry, UtteranceIndex
from vocoder.errors import UserError
from vocoder.features.mel import MelSpec
from vocoder.files import PROCESS_LIMITS, read_json
from vocoder.settings import from_mapping

FORMAT = 1
SHARD_FRAMES = 500_000  # 200 MB of int16 at hop 200; large, so that there are few files


@dataclass(frozen=True)
class Utterance:
    """The data of one utterance, or of a part of it: each array is read from disk when it is first used."""

    entry: Entry
    _wave: Callable[[], np.ndarray]
    _mel: Callable[[], np.ndarray]

    @cached_property
    def wave(self) -> np.ndarray:
        """int16 [F·hop]. Raises UserError where it cannot be read."""
        return self._wave()

    @cached_property
    def mel(self) -> np.ndarray:
        """The log-mel, float32 [F, n_mels]. Raises UserError where it cannot be read."""
        return self._mel()


class Store:
    """A store opened for reading.

    Raises:
        UserError: the directory is not a store, is damaged, or has another format.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        if not (directory / "store.json").exists():
            raise UserError(f"{directory}: not a preprocessed store (no store.json); make one with vocoder-preprocess")
        self.description: dict[str, Any] = read_json(directory / "store.json")
        if self.description.get("format") != FORMAT:
            raise UserError(f"{directory}: a store in another format; preprocess the corpus again")
        self.spec = from_mapping(MelSpec, self.description["mel"], f"{directory}/store.json: mel")
        if self.spec.hash() != self.description["mel_hash"]:
            raise UserError(f"{directory}/store.json: mel does not match its mel_hash; preprocess the corpus again")
        self.speakers: tuple[str, ...] = tuple(self.description["speakers"])  # without held-out speakers
        self.speaker_names = _all_speakers(self.description)  # by their indices in the index
        self._shards: dict[int, tuple[ArrayFile, ArrayFile]] = {}

    @property
    def identity(self) -> str | None:
        """A hash of waves, mel parameters, given mels, ids, splits, speakers; None for stores of earlier versions."""
        return self.description.get("identity")

    @property
    def mel_statistics(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation of each band over the training split, float32 [n_mels] each."""
        statistics = self.description["mel_statistics"]
        return np.array(statistics["mean"], np.float32), np.array(statistics["std"], np.float32)

    @cached_property
    def entries(self) -> UtteranceIndex:
        """All kept utterances in the order of the manifest.

        Stores made by earlier versions have no index; it is built in memory from their manifest, so that such a corpus
        need not be preprocessed again.

        Raises:
            UserError: the index or the manifest is missing or damaged.
        """
        if (self.directory / TABLE_FILE).exists():
            return UtteranceIndex.open(self.directory, self.speaker_names)
        kept = []
        path = self.directory / "manifest.jsonl"
        try:
            with path.open(encoding="utf-8") as lines:
                for line in lines:
                    record = json.loads(line)
                    if record["status"] == "kept":
                        kept.append(_entry(record))
            return UtteranceIndex.from_entries(kept, self.speaker_names)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path}: missing or damaged ({error}); preprocess the corpus again") from None

    def split(self, name: str) -> UtteranceIndex:
        """The utterances of one split.

        Raises:
            UserError: there is no split of that name.
        """
        if name not in SPLITS:
            raise UserError(f"split={name}: must be one of {', '.join(SPLITS)}")
        return self.entries.split(name)

    def read(self, entry: Entry, start: int = 0, stop: int | None = None) -> Utterance:
        """Frames `start` to `stop` of an utterance; nothing else is read from disk.

        Raises:
            UserError: the shard is missing or damaged, or cannot be opened.
        """
        wave, mel = self._shard(entry.shard)
        stop = entry.frames if stop is None else stop
        first, last = entry.start + start, entry.start + stop
        hop = self.spec.hop_length
        return Utterance(entry, partial(wave.read, first * hop, last * hop), partial(mel.read, first, last))

    def _shard(self, index: int) -> "tuple[ArrayFile, ArrayFile]":
        if index not in self._shards:
            wave, mel = (ArrayFile(path, index) for path in shard_paths(self.directory, index))
            if wave.shape[0] != mel.shape[0] * self.spec.hop_length:
                raise UserError(f"{self.directory}: shard {index} is damaged: its wave and mel differ in length")
            self._shards[index] = (wave, mel)
        return self._shards[index]


class ArrayFile:
    """An .npy file of a shard, of which parts are read.

    It is opened for each read: files that stay open, or mapped, take descriptors, and a large store has more files than
    a process may open.

    Raises:
        UserError: it is missing, damaged, or cannot be opened.
    """

    def __init__(self, path: Path, shard: int) -> None:
        self._path, self._shard = path, shard
        try:
            array = np.load(path, mmap_mode="r")  # compares the shape with the size of the file
        except (OSError, ValueError, EOFError) as error:
            raise self._error(error) from None
        self.shape: tuple[int, ...] = array.shape
        self._dtype, self._offset = array.dtype, array.offset

    def read(self, first: int, last: int) -> np.ndarray:
        """Items `first` to `last` of the first axis.

        Raises:
            UserError: as the class.
        """
        width = math.prod(self.shape[1:])
        try:
            values = np.fromfile(
                self._path,
                self._dtype,
                (last - first) * width,
                offset=self._offset + first * width * self._dtype.itemsize,
            )
            return values.reshape(last - first, *self.shape[1:])
        except (OSError, ValueError) as error:
            raise self._error(error) from None

    def _error(self, error: Exception) -> UserError:
        place = f"{self._path.parent}: shard {self._shard}"
        if isinstance(error, OSError) and error.errno in PROCESS_LIMITS:
            return UserError(f"{place} cannot be opened ({error.strerror}); raise the process's limit (ulimit -n)")
        return UserError(f"{place} is missing or damaged ({error})")


class StoreWriter:
    """Writes a new store into `directory`: `append` each utterance, `close`, then `write_metadata`.

    Args:
        given_mels: whether the mels are not computed from the waves, and so are part of the store's identity.
    """

    def __init__(
        self, directory: Path, spec: MelSpec, shard_frames: int = SHARD_FRAMES, *, given_mels: bool = False
    ) -> None:
        self.directory = directory
        self.spec = spec
        self.shard_frames = shard_frames
        self._shard = -1
        self._frames = shard_frames  # as if full, so that the first utterance opens a shard
        self._files: tuple[_GrowingArray, _GrowingArray] | None = None
        self._data_hash = hashlib.sha256()
        self._given_mels = given_mels

    def append(self, wave: np.ndarray, mel: np.ndarray) -> tuple[int, int]:
        """Write an int16 wave [F·hop] and a float32 mel [F, n_mels]; return (shard, first frame in it).

        Raises:
            ValueError: wave and mel differ in length.
        """
        if len(wave) != len(mel) * self.spec.hop_length:
            raise ValueError(f"{len(mel)} frames cover {len(mel) * self.spec.hop_length} samples, not {len(wave)}")
        if self._frames >= self.shard_frames:
            self.close()
            self._shard, self._frames = self._shard + 1, 0
            wave_path, mel_path = shard_paths(self.directory, self._shard)
            self._files = (_GrowingArray(wave_path, wave.dtype, ()), _GrowingArray(mel_path, mel.dtype, mel.shape[1:]))
        assert self._files is not None
        start = self._frames
        self._files[0].append(wave)
        for values in (wave, mel) if self._given_mels else (wave,):
            self._data_hash.update(np.ascontiguousarray(values).tobytes())
        self._files[1].append(mel)
        self._frames += len(mel)
        return self._shard, start

    def close(self) -> None:
        """Complete and close the current shard's files."""
        for file in self._files or ():
            file.close()
        self._files = None

    def write_metadata(self, records: list[dict[str, Any]], description: dict[str, Any]) -> None:
        """Write the manifest, the index and store.json, which makes the directory a store that can be opened.

        Args:
            records: the lines of the manifest, in the order of the inputs.
            description: the contents of store.json besides the format and the mel's spec.
        """
        with (self.directory / "manifest.jsonl").open("w", encoding="utf-8") as manifest:
            manifest.writelines(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        kept = [_entry(record) for record in records if record["status"] == "kept"]
        UtteranceIndex.from_entries(kept, _all_speakers(description)).save(self.directory)
        header = {"format": FORMAT, "identity": self._identity(kept)}
        header |= {"mel": asdict(self.spec), "mel_hash": self.spec.hash()}
        text = json.dumps(header | description, indent=2, ensure_ascii=False) + "\n"
        (self.directory / "store.json").write_text(text, encoding="utf-8")

    def _identity(self, entries: list[Entry]) -> str:
        """Sixteen hex digits for what the store holds: two stores have the same if training on them is the same."""
        digest = self._data_hash.copy()  # mels that are not given follow from the waves and the spec
        digest.update(self.spec.hash().encode())
        for e in entries:
            digest.update(json.dumps([e.id, e.split, e.speaker, e.frames]).encode())
        return digest.hexdigest()[:16]


def _all_speakers(description: dict[str, Any]) -> tuple[str, ...]:
    return (*description["speakers"], *description.get("held_out", ()), *description.get("not_learned", ()))


def _entry(record: dict[str, Any]) -> Entry:
    return Entry(**{name: record[name] for name in Entry.__dataclass_fields__})


class _GrowingArray:
    """An .npy file whose first axis grows; `close` rewrites the header with the final length."""

    _HEADER_BYTES = 128

    def __init__(self, path: Path, dtype: np.dtype[Any], item_shape: tuple[int, ...]) -> None:
        self._file: IO[bytes] = path.open("wb")
        self._dtype, self._item_shape, self._length = dtype, item_shape, 0
        self._write_header()

    def append(self, values: np.ndarray) -> None:
        self._file.write(np.ascontiguousarray(values, self._dtype).tobytes())
        self._length += len(values)

    def close(self) -> None:
        self._file.seek(0)
        self._write_header()
        self._file.close()

    def _write_header(self) -> None:
        header = {
            "descr": np.lib.format.dtype_to_descr(self._dtype),
            "fortran_order": False,
            "shape": (self._length, *self._item_shape),
        }
        text = repr(header).encode("latin1")
        text_bytes = self._HEADER_BYTES - 10  # magic string, version and length take ten bytes
        self._file.write(b"\x93NUMPY\x01\x00" + text_bytes.to_bytes(2, "little") + text.ljust(text_bytes - 1) + b"\n")


def shard_paths(directory: Path, index: int) -> tuple[Path, Path]:
    """Paths of the wave and the mel array of a shard."""
    return directory / f"wave-{index:05d}.npy", directory / f"mel-{index:05d}.npy"
