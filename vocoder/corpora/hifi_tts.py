"""Hi-Fi TTS: FLAC files, listed by speaker and split in SPEAKER_manifest_{clean,other}_{train,dev,test}.json.

A manifest has a JSON object on each line; its audio_filepath is relative to the manifest's folder.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from vocoder.corpora.layout import Layout
from vocoder.corpora.listed import check_id, locate, read_lines
from vocoder.corpora.recording import Recording
from vocoder.errors import UserError

MANIFEST = re.compile(r"(?P<speaker>\w+?)_manifest_(?:clean|other)_(?P<split>train|dev|test)\.json")


def _manifests(root: Path) -> list[tuple[Path, re.Match[str]]]:
    paths = sorted(root.glob("*_manifest_*.json")) if root.is_dir() else []
    return [(path, match) for path in paths if (match := MANIFEST.fullmatch(path.name))]


def _read(root: Path) -> list[Recording]:
    found = []
    for manifest, name in _manifests(root):
        for place, listed in _listed(manifest):
            id = check_id(PurePosixPath(listed).with_suffix("").as_posix(), place)
            found.append(Recording(locate(listed, root, place), id, name["speaker"], name["split"]))
    return found


def _listed(manifest: Path) -> Iterator[tuple[str, str]]:
    """The place and the audio_filepath of each line."""
    for place, line in read_lines(manifest):
        try:
            path = json.loads(line)["audio_filepath"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise UserError(f"{place}: not a JSON object with an audio_filepath; fetch the corpus again") from None
        if not isinstance(path, str) or not path:
            raise UserError(f"{place}: audio_filepath is not a path; fetch the corpus again")
        yield place, path


HIFI_TTS = Layout(
    "hifi_tts", lambda root: bool(_manifests(root)), _read, "a folder with SPEAKER_manifest_{clean,other}_SPLIT.json"
)
