"""A corpus in any layout, recognised or named."""

from dataclasses import dataclass, field
from pathlib import Path

from vocoder.corpora.arctic import ARCTIC
from vocoder.corpora.file_list import FILE_LIST
from vocoder.corpora.folder import FOLDER, find_unread_formats
from vocoder.corpora.hifi_tts import HIFI_TTS
from vocoder.corpora.jsut import JSUT
from vocoder.corpora.jvs import JVS
from vocoder.corpora.kaldi import KALDI
from vocoder.corpora.lhotse import LHOTSE
from vocoder.corpora.libritts import LIBRITTS
from vocoder.corpora.ljspeech import LJSPEECH
from vocoder.corpora.recording import Recording
from vocoder.corpora.split import complete_split
from vocoder.corpora.vctk import VCTK
from vocoder.errors import UserError
from vocoder.settings import suggestion

AUTO = "auto"
# In the order in which they are tried: lists of recordings, then folders of certain names, then any folder.
LAYOUTS = (KALDI, LHOTSE, HIFI_TTS, VCTK, LIBRITTS, ARCTIC, JVS, JSUT, LJSPEECH, FOLDER, FILE_LIST)


@dataclass(frozen=True)
class Corpus:
    """The name of a corpus's layout, and its recordings.

    They have splits only where some are in train and others in dev or test (`complete_split`).

    Attributes:
        unread: audio files in a plain folder that are of formats that are not read: named, so that none is missed.
    """

    layout: str
    recordings: list[Recording]
    unread: list[Recording] = field(default_factory=list)

    @property
    def all(self) -> list[Recording]:
        """Those that are read and those that are not."""
        return [*self.recordings, *self.unread]

    @property
    def has_splits(self) -> bool:
        return any(recording.split is not None for recording in self.recordings)


def check_layout(name: str) -> None:
    """Raises UserError for a name that is no layout's."""
    names = [AUTO, *(layout.name for layout in LAYOUTS)]
    if name not in names:
        raise UserError(f"layout={name}: unknown{suggestion(name, names)}")


def read_corpus(root: Path, layout: str = AUTO) -> Corpus:
    """The recordings of the corpus at `root`, in the order of its files or its list.

    Raises:
        UserError: there is nothing at `root`, it is not of that layout, a list in it is not what it should be, or there
            are no recordings.
    """
    check_layout(layout)
    if not root.exists():
        raise UserError(f"input={root}: no such folder or list")
    if layout == AUTO:
        found = next((known for known in LAYOUTS if known.recognises(root)), None)
        if found is None:
            raise UserError(f"input={root}: neither a folder nor a list of recordings")
    else:
        found = next(known for known in LAYOUTS if known.name == layout)
        if not found.recognises(root) and not (found is FILE_LIST and root.is_dir()):
            raise UserError(f"input={root}: not of the layout {layout}, which is {found.expects}")
    recordings = found.read(root)
    if not recordings:
        raise UserError(f"input={root}: lists no recordings")
    unread = find_unread_formats(root) if found is FOLDER else []
    return Corpus(found.name, complete_split(recordings), unread)
