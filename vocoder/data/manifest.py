"""What becomes of each recording: utterances in the store, and lines of the manifest."""

from collections.abc import Iterator
from dataclasses import replace

from vocoder.corpora import Recording
from vocoder.data.config import PreprocessConfig
from vocoder.data.description import Record
from vocoder.data.labels import assign_split
from vocoder.data.plan import Input
from vocoder.data.store import StoreWriter
from vocoder.data.utterance import Part, ProcessedUtterance
from vocoder.errors import UserError
from vocoder.files import is_utf8, printable


def write_utterances(
    writer: StoreWriter,
    inputs: list[Input],
    results: Iterator[ProcessedUtterance | UserError],
    settings: PreprocessConfig,
) -> list[Record]:
    """Append the usable recordings to the store; return the manifest's records."""
    records: list[Record] = []
    stored_ids: set[str] = set()
    for found in inputs:
        if found.problem is not None:
            records.append(_skipped(found.recording, found.problem))
        for number, part in enumerate(found.parts, 1):
            result, recording, details = next(results), found.recording, _details(part, settings)
            if len(found.parts) > 1 and found.survey is not None:
                recording = replace(recording, id=f"{recording.id}-{number:04d}")
                details["begin"] = part.start / found.survey.sample_rate  # seconds
            if not is_utf8(recording.id):
                result = UserError("its name is not UTF-8; rename it")
            elif not isinstance(result, UserError) and recording.id in stored_ids:
                result = UserError("another recording has the same id (the same name with another suffix?)")
            if isinstance(result, UserError):
                records.append(_skipped(recording, result) | details)
                continue
            stored_ids.add(recording.id)
            records.append(_kept(recording, found, result, writer, settings) | details)
    return records


def _kept(
    recording: Recording, found: Input, result: ProcessedUtterance, writer: StoreWriter, settings: PreprocessConfig
) -> Record:
    """Append to the store; the manifest's record."""
    shard, start = writer.append(result.wave, result.mel)
    record = {
        "id": recording.id,
        "source": printable(str(recording.path)),
        "status": "kept",
        "split": assign_split(recording, settings),
        "speaker": recording.speaker_by(settings.speaker),
        "shard": shard,
        "start": start,
        "frames": len(result.mel),
        "clipped": result.clipped,
        "sha256": found.survey.sha256 if found.survey else "",
    }
    return record if result.correlation is None else record | {"correlation": result.correlation}


def _details(part: Part, settings: PreprocessConfig) -> Record:
    """What a line of the manifest says only where it is not the same for all."""
    mel = {} if part.mel is None else {"mel": printable(str(part.mel))}
    return mel if settings.loudness_of == "corpus" else mel | {"gain": part.gain}


def _skipped(recording: Recording, reason: UserError) -> Record:
    names = {"id": printable(recording.id), "source": printable(str(recording.path))}
    return names | {"status": "skipped", "reason": printable(str(reason))}
