"""Any folder: all audio files in it and below it."""

from pathlib import Path

from vocoder.corpora.layout import Layout
from vocoder.corpora.recording import Recording
from vocoder.corpora.walk import walk_files
from vocoder.errors import UserError
from vocoder.features.audio_file import AUDIO_SUFFIXES, OTHER_AUDIO_SUFFIXES


def find_recordings(root: Path, setting: str = "input") -> list[Recording]:
    """The audio files below `root`, also in linked folders, sorted by path; hidden files and folders are ignored.

    Args:
        setting: name of the setting that gives the folder, for errors.

    Raises:
        UserError: the folder is missing or contains no audio files.
    """
    if not root.is_dir():
        raise UserError(f"{setting}={root}: no such folder")
    files = walk_files(root, AUDIO_SUFFIXES)
    if not files:
        other = {path.suffix.lower() for path in walk_files(root, OTHER_AUDIO_SUFFIXES)}
        unread = f"; {', '.join(sorted(other))} files must be converted" if other else ""
        raise UserError(f"{setting}={root}: no audio files in it or below it ({', '.join(AUDIO_SUFFIXES)}){unread}")
    return _recordings(root, files)


def find_unread_formats(root: Path) -> list[Recording]:
    """The audio files below `root` of formats that are not read, sorted by path."""
    return _recordings(root, walk_files(root, OTHER_AUDIO_SUFFIXES))


def _recordings(root: Path, files: list[Path]) -> list[Recording]:
    return [Recording(path, path.relative_to(root).with_suffix("").as_posix()) for path in files]


FOLDER = Layout("folder", Path.is_dir, find_recordings, "a folder of audio files")
