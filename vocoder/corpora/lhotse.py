"""Lhotse's cuts: cuts.jsonl.gz or cuts.jsonl, read without lhotse. A folder may have several (cuts_train.jsonl.gz, …).

A line is a MonoCut: a span of a recording, whose source must be a file. A source can also be a command for a shell. It
is refused: data must not run code.
"""

import gzip
import json
import math
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vocoder.corpora.layout import Layout
from vocoder.corpora.listed import check_id, locate, read_lines, with_splits
from vocoder.corpora.recording import Recording
from vocoder.errors import UserError

SUFFIXES = (".jsonl.gz", ".jsonl")


def _manifests(root: Path) -> list[Path]:
    if root.is_file():
        return [root] if root.name.endswith(SUFFIXES) else []
    found = sorted(root.iterdir()) if root.is_dir() else []
    return [path for path in found if "cuts" in path.name and path.name.endswith(SUFFIXES) and path.is_file()]


def _read(root: Path) -> list[Recording]:
    return with_splits(_manifests(root), _read_manifest)


def _read_manifest(path: Path) -> Iterator[Recording]:
    for place, line in _lines(path):
        try:
            cut = json.loads(line)
        except (ValueError, RecursionError):
            raise UserError(f"{place}: not JSON; write the manifest again") from None
        yield _recording(cut, path.parent, place)


def _lines(path: Path) -> Iterator[tuple[str, str]]:
    if path.suffix != ".gz":
        yield from read_lines(path)
        return
    try:
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                if line.strip():
                    yield f"{path}:{number}", line
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: damaged, or not gzipped text ({error}); write the manifest again") from None


def _recording(cut: Any, folder: Path, place: str) -> Recording:
    """The recording that a cut describes.

    Raises:
        UserError: it is something else than one span of one file as it is.
    """
    if not isinstance(cut, dict) or cut.get("type", "MonoCut") != "MonoCut":
        kind = cut.get("type") if isinstance(cut, dict) else type(cut).__name__
        raise UserError(
            f"{place}: a {kind}; only cuts of one recording (MonoCut) are read: save the audio and cut that"
        )
    try:
        source, begin, duration = _source(cut["recording"], place), float(cut["start"]), float(cut["duration"])
        speaker = next((s["speaker"] for s in cut.get("supervisions") or () if s.get("speaker") is not None), None)
        id = check_id(str(cut["id"]), place)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise UserError(f"{place}: not a cut with a recording ({type(error).__name__}: {error})") from None
    if not (0 <= begin < math.inf and 0 < duration < math.inf):
        raise UserError(f"{place}: {begin} s and {duration} s are no begin and duration")
    return Recording(locate(source, folder, place), id, speaker and str(speaker), None, begin, begin + duration)


def _source(recording: dict[str, Any], place: str) -> str:
    """The path of a recording's only file."""
    (source,) = recording["sources"]
    kind = source["type"]
    if kind == "command":
        raise UserError(f"{place}: is a shell command, which is never run; write its output to files and cut these")
    if kind != "file":
        raise UserError(f"{place}: its audio is a {kind}, not a file; save the audio (cuts.save_audios)")
    changes = [str(change.get("name")) for change in recording.get("transforms") or ()]
    if set(changes) - {"Resample"}:  # another rate is no change: everything is resampled
        raise UserError(f"{place}: its audio is to be changed ({', '.join(changes)}); save it (cuts.save_audios)")
    if len(source["channels"]) != 1:
        raise UserError(f"{place}: has {len(source['channels'])} channels; save the one that is meant")
    return str(source["source"])


LHOTSE = Layout("lhotse", lambda root: bool(_manifests(root)), _read, "cuts.jsonl.gz, or a folder with such a file")
