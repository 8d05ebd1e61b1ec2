"""JSUT: one speaker of Japanese, in basic5000/wav/*.wav, travel1000/wav/*.wav and others. 48 kHz."""

from pathlib import Path

from vocoder.corpora.layout import Layout, subfolders
from vocoder.corpora.recording import Recording
from vocoder.corpora.tree import read_tree

SETS = ("basic5000", "travel1000", "voiceactress100", "onomatopee300", "countersuffix26", "utparaphrase512")


def _recognises(root: Path) -> bool:
    return any(name in SETS and (root / name / "wav").is_dir() for name in subfolders(root))


def _read(root: Path) -> list[Recording]:
    return read_tree(root, r"(?:[^/]+/)*wav/", "jsut")


JSUT = Layout("jsut", _recognises, _read, "a folder with basic5000/wav/ or others of its sets")
