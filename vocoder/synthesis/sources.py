"""The inputs of bulk synthesis: a store's split, a file, or the files below a folder, each read when it is needed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from vocoder.corpora import walk_files
from vocoder.data.store import Entry, Store
from vocoder.errors import UserError
from vocoder.features.audio import AUDIO_SUFFIXES, read_audio
from vocoder.features.audio_file import OTHER_AUDIO_SUFFIXES
from vocoder.features.mel_files import ALL_MEL_SUFFIXES, read_mel
from vocoder.features.mel_input import OWN
from vocoder.files import is_utf8, printable
from vocoder.synthesis.vocoder import Request, Vocoder

SUFFIXES = AUDIO_SUFFIXES + ALL_MEL_SUFFIXES


@dataclass(frozen=True)
class Source:
    """An utterance to synthesise, not read yet."""

    id: str
    read: Callable[[], Request]
    frames: int = 0  # 0 where the length is unknown before reading
    stamp: str = ""  # changes when the content changes
    path: Path | None = None  # if it is a file
    problem: str | None = None  # why it cannot be read


def find_sources(
    vocoder: Vocoder, path: Path, split: str, speaker: str | None, exclude: Path | None = None
) -> list[Source]:
    """The utterances of a store's split, a file, or a folder, in a fixed order.

    Args:
        exclude: a folder in the input whose files are no inputs: that of the outputs.

    Raises:
        UserError: there are none, the store's mels are not the model's, or the model has no such speaker.
    """
    if speaker is not None:
        vocoder.model.speaker_index(speaker)
    if (path / "store.json").exists():
        return _store_sources(vocoder, Store(path), split, speaker)
    if path.is_file():
        return [_file_source(vocoder, path, path.stem, speaker)]
    if not path.is_dir():
        raise UserError(f"input={path}: no such file or folder")
    files = walk_files(path, SUFFIXES + OTHER_AUDIO_SUFFIXES)
    if exclude is not None and exclude.resolve().is_relative_to(path.resolve()):
        files = [file for file in files if not file.resolve().is_relative_to(exclude.resolve())]
    if not any(file.suffix.lower() in SUFFIXES for file in files):
        raise UserError(f"input={path}: no mels or audio in or below it ({', '.join(SUFFIXES)})")
    sources: dict[str, Source] = {}
    duplicates = []
    for file in files:
        source = _file_source(vocoder, file, file.relative_to(path).with_suffix("").as_posix(), speaker)
        if source.id in sources:
            problem = f"{file}: another input, {sources[source.id].path}, has the same name apart from its suffix"
            duplicates.append(replace(source, problem=problem))
        else:
            sources[source.id] = source
    return [*sources.values(), *duplicates]


def _store_sources(vocoder: Vocoder, store: Store, split: str, speaker: str | None) -> list[Source]:
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
    return Request(entry.id, store.read(entry).mel.T.copy(), speaker, OWN)


def _file_source(vocoder: Vocoder, path: Path, id: str, speaker: str | None) -> Source:
    status = path.stat()
    stamp = f"{path.name} {status.st_size} {status.st_mtime_ns}"
    problem = None
    if not is_utf8(str(path.name)) or not is_utf8(id):
        problem = f"{printable(str(path))}: its name is not UTF-8; rename it"
    return Source(printable(id), partial(_read_file, vocoder, path, id, speaker), 0, stamp, path, problem)


def _read_file(vocoder: Vocoder, path: Path, id: str, speaker: str | None) -> Request:
    if path.suffix.lower() in AUDIO_SUFFIXES + OTHER_AUDIO_SUFFIXES:
        return Request(id, vocoder.mel(*read_audio(path)), speaker, OWN)
    if path.suffix.lower() in ALL_MEL_SUFFIXES:
        return Request(id, read_mel(path), speaker)
    raise UserError(f"{path}: neither audio nor a mel file ({', '.join(SUFFIXES)})")
