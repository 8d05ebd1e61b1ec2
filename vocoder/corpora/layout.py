"""A layout: how to recognise a corpus, and how to read which recordings it has."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from vocoder.corpora.recording import Recording
from vocoder.corpora.walk import is_folder


@dataclass(frozen=True)
class Layout:
    """One way in which corpora come.

    Attributes:
        name: as `layout=` takes it.
        recognises: whether what is at a path is of this layout.
        read: the recordings at a path. Raises UserError where a list in it is not what it should be.
        expects: what the layout looks like, for errors.
    """

    name: str
    recognises: Callable[[Path], bool]
    read: Callable[[Path], list[Recording]]
    expects: str


def subfolders(root: Path) -> list[str]:
    """Names of the visible folders, also linked ones, directly in `root`, sorted; none if it is no folder."""
    if not root.is_dir():
        return []
    with os.scandir(root) as entries:
        return sorted(entry.name for entry in entries if entry.name[0] != "." and is_folder(entry))
