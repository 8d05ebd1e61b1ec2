"""VCTK: 0.92 has wav48_silence_trimmed/SPEAKER/*_mic1.flac and *_mic2.flac, older versions wav48/SPEAKER/*.wav.

Of two microphones the first is taken: a second recording of the same speech teaches little, and in training and test it
would leak. Version 0.92 of the corpus has the file of mic1 for every utterance, but not of mic2.
"""

from pathlib import Path

from vocoder.corpora.layout import Layout, subfolders
from vocoder.corpora.recording import Recording
from vocoder.corpora.tree import read_tree

FOLDERS = ("wav48_silence_trimmed", "wav48")
PATTERN = rf"(?:{'|'.join(FOLDERS)})/(?P<speaker>[^/]+)/(?!.*_mic2$)"


def _recognises(root: Path) -> bool:
    return any(folder in FOLDERS for folder in subfolders(root))


def _read(root: Path) -> list[Recording]:
    return read_tree(root, PATTERN, "vctk")


VCTK = Layout("vctk", _recognises, _read, f"a folder with {FOLDERS[0]}/ or {FOLDERS[1]}/")
