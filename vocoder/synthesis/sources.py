"""What is to be synthesised: a store's split, a file, the files of a folder; each read only when its turn comes."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from vocoder.data.store import Entry, Store
from vocoder.errors import UserError
from vocoder.features.audio import AUDIO_SUFFIXES, read_audio
from vocoder.features.mel_files import MEL_SUFFIXES, read_mel
from vocoder.synthesis.vocoder import Request, Vocoder

SUFFIXES = AUDIO_SUFFIXES + MEL_SUFFIXES


@dataclass(frozen=True)
class Source:
    """An utterance that is not read yet."""

    id: str
    read: Callable[[], Request]
    frames: int = 0  # where that is known beforehand
    stamp: str = ""  # changes where what is read changes
    path: Path | None = None  # of a file
    problem: str | None = None  # why it cannot be read


def find_sources(
    vocoder: Vocoder, path: Path, split: str, speaker: str | None, leave_out: Path | None = None
) -> list[Source]:
    """What is there to be synthesised but for what lies in one folder, in an order that is always the same.

    Raises:
        UserError: nothing is, the store's mels are not the model's, or the model has no such speaker.
    """
    if speaker is not None:
        vocoder.model.speaker_index(speaker)
    if (path / "store.json").exists():
        return _of_store(vocoder, Store(path), split, speaker)
    if path.is_file():
        return [_of_file(vocoder, path, path.stem, speaker)]
    if not path.is_dir():
        raise UserError(f"input={path}: no such file or folder")
    files = [p for p in sorted(path.rglob("*")) if p.suffix.lower() in SUFFIXES and not p.name.startswith(".")]
    if leave_out is not None:
        files = [file for file in files if not file.resolve().is_relative_to(leave_out.resolve())]
    if not files:
        raise UserError(f"input={path}: no mels or audio in it or below it ({', '.join(SUFFIXES)})")
    sources: dict[str, Source] = {}
    refused = []
    for file in files:
        source = _of_file(vocoder, file, file.relative_to(path).with_suffix("").as_posix(), speaker)
        if source.id in sources:
            problem = f"{file}: another input, {sources[source.id].path}, has the same name but for its suffix"
            refused.append(replace(source, problem=problem))
        else:
            sources[source.id] = source
    return [*sources.values(), *refused]


def shard_of(sources: list[Source], shard: str) -> list[Source]:
    """Part "i/N" of N: every N-th, from the i-th on. The parts share nothing, and together are all.

    Raises:
        UserError: that is no part.
    """
    try:
        part, parts = (int(number) for number in shard.split("/"))
    except ValueError:
        part, parts = 0, 0
    if not 1 <= part <= parts:
        raise UserError(f"shard={shard}: write i/N, the i-th of N parts, from 1/N to N/N")
    return sources[part - 1 :: parts]


def _of_store(vocoder: Vocoder, store: Store, split: str, speaker: str | None) -> list[Source]:
    if store.spec != vocoder.spec:
        raise UserError(
            f"input={store.directory}: its mels are not the model's ({store.spec.differences(vocoder.spec)}); "
            "preprocess the recordings with the model's mel, or give the recordings themselves"
        )
    entries = store.split(split)
    if not entries:
        raise UserError(f"split={split}: {store.directory} has no utterances in it; choose another split")
    sources = []
    for entry in entries:
        name = speaker or vocoder.model.speaker_name(entry.speaker)
        stamp = f"{entry.shard} {entry.start} {entry.frames}"
        sources.append(Source(entry.id, partial(_read_entry, store, entry, name), entry.frames, stamp))
    return sources


def _read_entry(store: Store, entry: Entry, speaker: str | None) -> Request:
    return Request(entry.id, store.read(entry).mel.T.copy(), speaker)


def _of_file(vocoder: Vocoder, path: Path, id: str, speaker: str | None) -> Source:
    status = path.stat()
    stamp = f"{path.name} {status.st_size} {status.st_mtime_ns}"
    return Source(id, partial(_read_file, vocoder, path, id, speaker), stamp=stamp, path=path)


def _read_file(vocoder: Vocoder, path: Path, id: str, speaker: str | None) -> Request:
    if path.suffix.lower() in AUDIO_SUFFIXES:
        return Request(id, vocoder.mel(*read_audio(path)), speaker)
    if path.suffix.lower() in MEL_SUFFIXES:
        return Request(id, read_mel(path), speaker)
    raise UserError(f"{path}: neither audio nor a mel file ({', '.join(SUFFIXES)})")
