"""Whose a recording is and in which split, as its corpus or the settings say."""

import re

from vocoder.corpora import Recording, hash_fraction
from vocoder.data.config import PreprocessConfig
from vocoder.data.description import Record
from vocoder.errors import UserError


def assign_split(recording: Recording, settings: PreprocessConfig) -> str:
    """train, dev or test: as the corpus has it, unless the settings say how to split; otherwise by a hash.

    The hash is of the id or a part of it, so that a split does not depend on the rest of the corpus. All recordings of
    held-out speakers go to test.
    """
    if recording.speaker_by(settings.speaker) in settings.hold_out:
        return "test"
    if settings.own_splits and recording.split is not None:
        return recording.split
    fraction, (dev, test) = hash_fraction(split_key(recording.id, settings)), settings.fractions
    if fraction < dev:
        return "dev"
    return "test" if fraction < dev + test else "train"


def split_key(utterance_id: str, settings: PreprocessConfig) -> str:
    """The part of an id that decides the split."""
    match = re.search(settings.split_by, utterance_id) if settings.split_by is not None else None
    return match.group() if match else utterance_id


def check_speakers(records: list[Record], settings: PreprocessConfig) -> None:
    """Raises UserError where a held-out speaker has no recordings, or a recording no speaker though all need one."""
    kept = [record for record in records if record["status"] == "kept"]
    there = sorted({record["speaker"] for record in kept} - {None})
    missing = sorted(set(settings.hold_out) - set(there))
    if missing:
        others = [name for name in there if name not in settings.hold_out]
        raise UserError(f"hold_out={','.join(missing)}: no such speaker; there are {', '.join(others) or 'none'}")
    nobodys = next((record["id"] for record in kept if record["speaker"] is None), None)
    if nobodys is not None and settings.speaker == "folder":
        raise UserError("speaker=folder: some recordings are directly in the input folder, in no speaker's folder")
    if nobodys is not None and there:
        raise UserError(f"the corpus names no speaker of {nobodys}, but of others; name it, or give speaker=none")
