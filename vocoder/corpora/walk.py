"""The files below a folder, in a fixed order, also in folders that are linked."""

import os
from collections.abc import Collection
from pathlib import Path


def walk_files(root: Path, suffixes: Collection[str]) -> list[Path]:
    """The files below `root` with one of these suffixes (in lower case), sorted; without what is hidden.

    A linked folder is entered as if it were there, once all others have been. No folder is entered twice, by whatever
    links it is reached, so loops of links do no harm.

    Raises:
        OSError: a folder cannot be read.
    """
    entered: set[tuple[int, int]] = set()
    files: list[Path] = []
    folders = [root]
    while folders:
        links: list[Path] = []
        while folders:
            folder = folders.pop()
            for entry in _visible_entries(folder, entered):
                if entry.is_dir(follow_symlinks=False):
                    folders.append(Path(entry.path))
                elif is_folder(entry):
                    links.append(Path(entry.path))
                elif os.path.splitext(entry.name)[1].lower() in suffixes and os.path.isfile(entry.path):
                    files.append(Path(entry.path))
        folders = sorted(links, reverse=True)  # the last is taken first
    return sorted(files)


def is_folder(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a folder or a link to one."""
    return os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir()


def _visible_entries(folder: Path, entered: set[tuple[int, int]]) -> list[os.DirEntry[str]]:
    """What is in a folder; nothing if it was entered before."""
    status = folder.stat()
    identity = status.st_dev, status.st_ino
    if identity in entered:
        return []
    entered.add(identity)
    with os.scandir(folder) as found:
        return [entry for entry in found if not entry.name.startswith(".")]
