"""What layouts share whose files are listed, not found: lines, paths, ids, and splits by the names of lists."""

import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from vocoder.corpora.recording import Recording
from vocoder.errors import UserError

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "dev": "dev",
    "val": "dev",
    "valid": "dev",
    "validation": "dev",
    "test": "test",
    "eval": "test",
}


def read_lines(path: Path) -> list[tuple[str, str]]:
    """The lines of a text file that are not blank, each with its place (FILE:NUMBER), for errors.

    Raises:
        UserError: the file cannot be read, or is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 ({error.reason} at byte {error.start}); convert it") from None
    lines = text.split("\n")  # not splitlines, which also splits at characters that a text may have
    return [(f"{path}:{number}", line.strip("\r")) for number, line in enumerate(lines, 1) if line.strip()]


def locate(text: str, folder: Path, place: str) -> Path:
    """A path as a list states it: absolute, or below the list's folder, or below the current one.

    Raises:
        UserError: no file can have this path.
    """
    if "\0" in text:
        raise UserError(f"{place}: the path {text!r} cannot be that of a file")
    beside = folder / text
    return Path(text) if not os.path.exists(beside) and os.path.exists(text) else beside


def check_id(id: str, place: str) -> str:
    """An id, which becomes the path of a synthesised file.

    Raises:
        UserError: as a path it would lead out of its folder, or to no file.
    """
    if "\0" in id or any(part in ("", ".", "..") for part in id.split("/")):
        raise UserError(f"{place}: the id {id!r} cannot be the name of a file; give another")
    return id


def split_of_name(name: str) -> str | None:
    """train, dev or test, by the first word in a name that means one of them: ljs_audio_val_filelist.txt is dev."""
    words = re.split(r"[^a-z]+", name.lower())
    return next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), None)


def with_splits(lists: Sequence[Path], read: Callable[[Path], Iterable[Recording]]) -> list[Recording]:
    """The recordings of all lists, with the splits of their names; a single one is no split.

    Of a recording in several lists (a set of a corpus, and the whole of it) the first counts that names a split.
    """
    splits = {path: split_of_name(path.name) for path in lists}
    if len(set(splits.values()) - {None}) < 2:
        splits = dict.fromkeys(lists)
    found: list[Recording] = []
    for path in sorted(lists, key=lambda path: splits[path] is None):  # stable
        known = {recording.id for recording in found}
        found += [replace(recording, split=splits[path]) for recording in read(path) if recording.id not in known]
    return found
