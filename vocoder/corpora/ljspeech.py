"""LJSpeech, and the many single-speaker corpora in its form: wavs/*.wav beside metadata.csv (id|text|normalised text).

The corpus has no official split. Lists beside metadata.csv make one, such as HiFi-GAN's training.txt and validation.txt
or Tacotron 2's ljs_audio_text_{train,val,test}_filelist.txt. Without them, the complete corpus is split in the order of
its files into 12 600, 250 and 250, as in ParallelWaveGAN and ESPnet.
"""

from dataclasses import replace
from pathlib import Path, PurePosixPath

from vocoder.corpora.folder import find_recordings
from vocoder.corpora.layout import Layout
from vocoder.corpora.listed import read_lines, split_of_name
from vocoder.corpora.recording import Recording

METADATA, WAVS = "metadata.csv", "wavs"
COMPLETE = 13100  # recordings
FIRST_ID = "LJ001-0001"
DEV, TEST = 250, 250  # the last recordings


def _recognises(root: Path) -> bool:
    return (root / METADATA).is_file() and (root / WAVS).is_dir()


def _read(root: Path) -> list[Recording]:
    recordings = find_recordings(root)
    splits = _listed_splits(root) or _file_order(recordings)
    return [replace(recording, split=splits.get(_name(recording.id))) for recording in recordings]


def _name(id: str) -> str:
    return id.rsplit("/", maxsplit=1)[-1]


def _listed_splits(root: Path) -> dict[str, str]:
    """The splits of recordings by their names, by lists whose first field is an id or a path; empty without lists."""
    lists = {path: split_of_name(path.name) for path in sorted(root.glob("*.txt"))}
    if len(set(lists.values()) - {None}) < 2:
        return {}
    return {
        PurePosixPath(line.split("|")[0].strip()).name.removesuffix(".wav"): split
        for path, split in lists.items()
        if split is not None
        for _, line in read_lines(path)
    }


def _file_order(recordings: list[Recording]) -> dict[str, str]:
    names = sorted(_name(recording.id) for recording in recordings)
    if len(names) != COMPLETE or names[0] != FIRST_ID:
        return {}
    train = COMPLETE - DEV - TEST
    return dict(zip(names, ["train"] * train + ["dev"] * DEV + ["test"] * TEST, strict=True))


LJSPEECH = Layout("ljspeech", _recognises, _read, f"a folder with {METADATA} and {WAVS}/")
