"""CMU ARCTIC: cmu_us_SPEAKER_arctic/wav/*.wav, one such folder or several. (orig/ has the larynx's signal, too.)"""

import re
from pathlib import Path

from vocoder.corpora.layout import Layout, subfolders
from vocoder.corpora.recording import Recording
from vocoder.corpora.tree import read_tree

SPEAKER_FOLDER = r"cmu_us_(?P<speaker>[^_/]+)_arctic[^/]*"


def _recognises(root: Path) -> bool:
    folders = subfolders(root)
    return bool(_own_speaker(root) and "wav" in folders) or any(re.fullmatch(SPEAKER_FOLDER, name) for name in folders)


def _own_speaker(root: Path) -> str | None:
    match = re.fullmatch(SPEAKER_FOLDER, root.resolve().name)
    return match["speaker"] if match else None


def _read(root: Path) -> list[Recording]:
    speaker = _own_speaker(root)
    if speaker is None:
        return read_tree(root, rf"{SPEAKER_FOLDER}/wav/", "arctic")
    return [Recording(found.path, found.id, speaker) for found in read_tree(root, "wav/", "arctic")]


ARCTIC = Layout("arctic", _recognises, _read, "cmu_us_SPEAKER_arctic/, or a folder of such folders")
