"""Corpora of real speech in the layouts of published ones."""

import shutil
from itertools import cycle
from pathlib import Path

import soundfile

CLIPS = sorted((Path(__file__).parent.parent / "speech").rglob("*.flac"))


def plant(root: Path, *names: str) -> Path:
    """Write recordings of real speech under these names below `root`, in the format of their suffix; return `root`."""
    for name, clip in zip(names, cycle(CLIPS), strict=False):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == clip.suffix:
            shutil.copy(clip, path)
        else:
            soundfile.write(path, *soundfile.read(clip, dtype="int16"))
    return root


def write_lines(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path
