"""What a shard of preprocessing leaves on disk: surveys in a file, and processed utterances in a folder."""

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vocoder.data.store import ArrayFile, StoreWriter, shard_paths
from vocoder.data.survey import Survey
from vocoder.data.utterance import ProcessedUtterance
from vocoder.errors import UserError
from vocoder.features.mel import MelSpec
from vocoder.files import atomic_directory, atomic_write
from vocoder.settings import from_mapping

RESULTS = "results.jsonl"


def write_surveys(path: Path, surveys: Sequence[Survey | UserError]) -> None:
    """Write a line for each survey, or for why there is none; atomically."""
    with atomic_write(path) as partial, partial.open("w", encoding="ascii") as lines:
        lines.writelines(_line({"problem": str(s)} if isinstance(s, UserError) else asdict(s)) for s in surveys)


def read_surveys(path: Path) -> list[Survey | UserError]:
    """What `write_surveys` wrote.

    Raises:
        UserError: the file is damaged.
    """
    return [
        UserError(line["problem"]) if "problem" in line else from_mapping(Survey, line, str(path))
        for line in _read_lines(path)
    ]


def write_part(folder: Path, results: Iterable[ProcessedUtterance | UserError], spec: MelSpec) -> None:
    """Write waves and mels as a store has them, and a line for each result; the folder appears when it is complete."""
    with (
        atomic_directory(folder) as partial,
        closing(StoreWriter(partial, spec)) as writer,
        (partial / RESULTS).open("w", encoding="ascii") as lines,
    ):
        lines.writelines(_line(_stored(result, writer)) for result in results)


def _stored(result: ProcessedUtterance | UserError, writer: StoreWriter) -> dict[str, Any]:
    if isinstance(result, UserError):
        return {"problem": str(result)}
    shard, start = writer.append(result.wave, result.mel)
    place = {"shard": shard, "start": start, "frames": len(result.mel)}
    return place | {"clipped": result.clipped, "correlation": result.correlation}


def read_part(folder: Path, spec: MelSpec) -> Iterator[ProcessedUtterance | UserError]:
    """What `write_part` wrote, one after another.

    Raises:
        UserError: a file is damaged.
    """
    number, wave, mel = -1, None, None
    for line in _read_lines(folder / RESULTS):
        if "problem" in line:
            yield UserError(line["problem"])
            continue
        if wave is None or mel is None or line["shard"] != number:
            number = line["shard"]
            wave, mel = (ArrayFile(path, number) for path in shard_paths(folder, number))
        first, last = line["start"], line["start"] + line["frames"]
        samples = wave.read(first * spec.hop_length, last * spec.hop_length)
        yield ProcessedUtterance(samples, mel.read(first, last), line["clipped"], line["correlation"])


def _line(values: dict[str, Any]) -> str:
    return json.dumps(values) + "\n"  # ASCII, in which names that are not UTF-8 survive


def _read_lines(path: Path) -> list[dict[str, Any]]:
    """All lines at once: a file left open for each of a thousand shards would be more than a process may have."""
    try:
        return [json.loads(line) for line in path.read_text(encoding="ascii").splitlines()]
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: missing or damaged ({error}); delete its folder and run its shard again") from None
