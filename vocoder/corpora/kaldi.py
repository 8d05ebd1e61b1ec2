"""Kaldi's data directories: wav.scp (recording, path), and if there are any segments (utterance, recording, begin and
end in seconds) and utt2spk (utterance, speaker). A folder of such directories has their splits: train, dev, test.

A line of wav.scp that ends in | is a command for a shell. It is refused: data must not run code.
"""

import math
import re
from collections.abc import Iterator
from pathlib import Path

from vocoder.corpora.layout import Layout, subfolders
from vocoder.corpora.listed import check_id, locate, read_lines, split_of_name, with_splits
from vocoder.corpora.recording import Recording
from vocoder.errors import UserError

RECORDINGS, SEGMENTS, SPEAKERS, CHANNELS = "wav.scp", "segments", "utt2spk", "reco2file_and_channel"


def _directories(root: Path) -> list[Path]:
    if root.name == RECORDINGS and root.is_file():
        return [root.parent]
    if (root / RECORDINGS).is_file():
        return [root]
    below = [root / name for name in subfolders(root)]
    return [folder for folder in below if split_of_name(folder.name) and (folder / RECORDINGS).is_file()]


def _read(root: Path) -> list[Recording]:
    return with_splits(_directories(root), _read_directory)


def _read_directory(folder: Path) -> list[Recording]:
    files = {id: _path(value, folder, place) for place, id, value in _table(folder / RECORDINGS)}
    _check_channels(folder / CHANNELS)
    speakers = {id: value for _, id, value in _table(folder / SPEAKERS)} if (folder / SPEAKERS).exists() else {}
    if not (folder / SEGMENTS).exists():
        return [Recording(path, id, speakers.get(id)) for id, path in files.items()]
    found = []
    for place, id, value in _table(folder / SEGMENTS):
        fields = value.split()
        if len(fields) == 4:
            raise UserError(f"{place}: names channel {fields[3]}; write the channels to files of their own, list these")
        if len(fields) != 3 or fields[0] not in files:
            raise UserError(f"{place}: not a segment (utterance, recording of {RECORDINGS}, begin, end)")
        begin, end = _times(fields[1], fields[2], place)
        found.append(Recording(files[fields[0]], id, speakers.get(id), None, begin, end))
    return found


def _check_channels(path: Path) -> None:
    """Raise UserError where recordings are channels of one file, as the sides of a call; they would be averaged."""
    if not path.exists():
        return
    first: dict[str, str] = {}
    for place, id, value in _table(path):
        file, _, channel = value.partition(" ")
        if first.setdefault(file, channel.strip()) != channel.strip():
            raise UserError(f"{place}: {id} is one of several channels of {file}; write each to a file and list these")


def _table(path: Path) -> Iterator[tuple[str, str, str]]:
    """The place, the id and the rest of each line.

    Raises:
        UserError: the file cannot be read, a line has nothing after its id, or an id occurs twice.
    """
    seen = set()
    for place, line in read_lines(path):
        id, _, value = line.strip().replace("\t", " ").partition(" ")
        if not value.strip():
            raise UserError(f"{place}: has nothing after {id}; Kaldi's validate_data_dir.sh finds such lines")
        if id in seen:
            raise UserError(f"{place}: {id} occurs twice; Kaldi's fix_data_dir.sh removes such lines")
        seen.add(id)
        yield place, check_id(id, place), value.strip()


def _path(value: str, folder: Path, place: str) -> Path:
    """The file that a line of wav.scp names."""
    if value.endswith("|") or value.startswith("|"):
        raise UserError(f"{place}: is a shell command, which is never run; write its output to files and list these")
    if re.search(r"\.ark:\d+", value):
        raise UserError(f"{place}: is a part of an archive; write its audio to files (wav-copy) and list these")
    return locate(value, folder, place)


def _times(begin: str, end: str, place: str) -> tuple[float, float | None]:
    """Begin and end in seconds; an end of -1 is the end of the file."""
    try:
        times = float(begin), float(end)
    except ValueError:
        times = math.nan, math.nan
    to_the_end = times[1] == -1
    if not (0 <= times[0] < math.inf and (to_the_end or times[0] < times[1] < math.inf)):
        raise UserError(f"{place}: {begin} to {end} is no span of seconds")
    return times[0], None if to_the_end else times[1]


KALDI = Layout(
    "kaldi", lambda root: bool(_directories(root)), _read, f"a folder with {RECORDINGS}, or one of such folders"
)
