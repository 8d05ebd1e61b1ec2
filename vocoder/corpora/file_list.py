"""File lists: a text file with a line `path`, `path|text` or `path|speaker|text` for each recording.

A path is absolute or relative to the list's folder; its suffix may be missing. A folder may have several lists, whose
names say which split they are: train.txt, val.txt, test.txt.
"""

import os
from pathlib import Path, PurePosixPath

from vocoder.corpora.layout import Layout
from vocoder.corpora.listed import check_id, locate, read_lines, split_of_name, with_splits
from vocoder.corpora.recording import Recording
from vocoder.errors import UserError
from vocoder.features.audio import AUDIO_SUFFIXES

SUFFIXES = (".txt", ".csv", ".lst", ".list")


def _read(root: Path) -> list[Recording]:
    lists = {path: _fields(path) for path in _lists(root)}
    has_speakers = _have_speakers([fields for lines in lists.values() for _, fields in lines])
    return with_splits(
        list(lists),
        lambda path: [_recording(path.parent, place, fields, has_speakers) for place, fields in lists[path]],
    )


def _lists(root: Path) -> list[Path]:
    if not root.is_dir():
        return [root]
    lists = [path for path in sorted(root.iterdir()) if path.suffix in SUFFIXES and split_of_name(path.name)]
    if not lists:
        raise UserError(f"input={root}: no list in it whose name says train, val or test; give the list itself")
    return lists


def _fields(path: Path) -> list[tuple[str, list[str]]]:
    """The place and the fields of each line."""
    return [(place, [field.strip() for field in line.split("|")]) for place, line in read_lines(path)]


def _have_speakers(lines: list[list[str]]) -> bool:
    """Whether the second field of a corpus's lines is a speaker, and not the text, which a normalised one follows.

    Then all lines have three fields, no second one has spaces, and some differ from the third.
    """
    named = all(len(fields) > 2 and fields[1] and not fields[1].split()[1:] for fields in lines)
    return named and any(fields[1] != fields[2] for fields in lines)


def _recording(folder: Path, place: str, fields: list[str], has_speakers: bool) -> Recording:
    listed = fields[0]
    if not listed:
        raise UserError(f"{place}: no path before the first |; write path, path|text or path|speaker|text")
    path = PurePosixPath(os.path.normpath(listed))
    plain = path.with_suffix("") if path.suffix.lower() in AUDIO_SUFFIXES else path
    parts = [part for part in plain.parts if part not in ("/", "//", "..")]
    id = check_id("/".join(parts), place)
    return Recording(_with_suffix(locate(listed, folder, place)), id, fields[1] if has_speakers else None)


def _with_suffix(path: Path) -> Path:
    """The path, or that of an audio file of this name."""
    if path.suffix.lower() in AUDIO_SUFFIXES:
        return path
    candidates = [path.with_name(path.name + suffix) for suffix in AUDIO_SUFFIXES]
    return next((candidate for candidate in candidates if os.path.exists(candidate)), path)


def _recognises(root: Path) -> bool:
    return root.is_file() and root.suffix.lower() not in AUDIO_SUFFIXES


FILE_LIST = Layout("file_list", _recognises, _read, "a text file of lines path, path|text or path|speaker|text")
