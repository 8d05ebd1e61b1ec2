"""LibriTTS, LibriTTS-R and LibriSpeech: SET/SPEAKER/CHAPTER/*, where the sets are called train-…, dev-… and test-…."""

import re
from pathlib import Path

from vocoder.corpora.layout import Layout, subfolders
from vocoder.corpora.recording import Recording
from vocoder.corpora.tree import read_tree

SETS = r"(?P<split>train|dev|test)-(?:clean|other)(?:-\d+)?"
PATTERN = rf"{SETS}/(?P<speaker>[^/]+)/[^/]+/"


def _recognises(root: Path) -> bool:
    return any(re.fullmatch(SETS, folder) for folder in subfolders(root))


def _read(root: Path) -> list[Recording]:
    return read_tree(root, PATTERN, "libritts")


LIBRITTS = Layout("libritts", _recognises, _read, "a folder with train-clean-100/, dev-clean/ or others of its sets")
