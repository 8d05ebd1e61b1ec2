"""The official split of a corpus, completed where a part of it is not there."""

import hashlib
from dataclasses import replace

from vocoder.corpora.recording import Recording

DEV_SHARE = 0.05  # of train, where the corpus has no dev


def hash_fraction(key: str) -> float:
    """A hash of the key, uniform in [0, 1)."""
    return int(hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:8], 16) / 16**8


def complete_split(recordings: list[Recording]) -> list[Recording]:
    """The recordings with a split that one can train on, or with none.

    Without dev, a share of train takes its place, chosen by a hash of the id; test stays test. Without train, as in one
    part of a corpus, all recordings lose their splits.
    """
    splits = {recording.split for recording in recordings}
    if "train" not in splits or splits == {"train"}:
        return [replace(recording, split=None) for recording in recordings]
    if "dev" in splits:
        return recordings
    return [replace(recording, split="dev") if _is_for_dev(recording) else recording for recording in recordings]


def _is_for_dev(recording: Recording) -> bool:
    return recording.split == "train" and hash_fraction(recording.id) < DEV_SHARE
