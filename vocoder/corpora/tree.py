"""What corpora share that are trees of folders: which files belong, and what the folders mean."""

import re
from pathlib import Path

from vocoder.corpora.folder import find_recordings
from vocoder.corpora.recording import Recording
from vocoder.errors import UserError


def read_tree(root: Path, pattern: str, name: str) -> list[Recording]:
    """The audio files below `root` whose ids begin with a regular expression.

    Its group `speaker` is the speaker; its group `split`, if it has one, the split.

    Raises:
        UserError: no file does.
    """
    found = []
    for recording in find_recordings(root):
        match = re.match(pattern, recording.id)
        if match:
            groups = match.groupdict()
            found.append(Recording(recording.path, recording.id, groups.get("speaker"), groups.get("split")))
    if not found:
        raise UserError(f"input={root}: no audio files in the folders of the layout {name}; see docs/corpora.md")
    return found
