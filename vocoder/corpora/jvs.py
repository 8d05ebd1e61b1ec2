"""JVS: a hundred speakers of Japanese, in jvsNNN/SET/wav24kHz16bit/*.wav; some sets are whispered or in falsetto."""

import re
from pathlib import Path

from vocoder.corpora.layout import Layout, subfolders
from vocoder.corpora.recording import Recording
from vocoder.corpora.tree import read_tree

SPEAKER = r"(?P<speaker>jvs\d{3})"


def _recognises(root: Path) -> bool:
    return any(re.fullmatch(SPEAKER, folder) for folder in subfolders(root))


def _read(root: Path) -> list[Recording]:
    return read_tree(root, rf"{SPEAKER}/[^/]+/wav24kHz16bit/", "jvs")


JVS = Layout("jvs", _recognises, _read, "a folder with jvs001/, jvs002/ and so on")
