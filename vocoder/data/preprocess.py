"""From a corpus of recordings to a store.

There are two passes over the files. The first measures peak levels, from which one gain for the whole corpus follows,
and finds pauses at which to cut long recordings; the second resamples, scales and trims each recording and computes its
mel. Every audio file is recorded in the manifest as kept, or as skipped with the reason.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

from vocoder import jobs
from vocoder.corpora import AUTO, Recording, check_layout, read_corpus
from vocoder.data.description import Record, describe
from vocoder.data.level import corpus_level
from vocoder.data.splits import arrange_splits, hash_fraction, unlearned_speakers
from vocoder.data.store import SPLITS, StoreWriter
from vocoder.data.survey import Survey, survey
from vocoder.data.utterance import Part, ProcessedUtterance, Processing, process
from vocoder.errors import UserError
from vocoder.features.mel import MelSpec
from vocoder.files import atomic_directory, is_utf8, printable, remove_partial

# (items, label, total) -> the same items, while the share of them that is done is shown
Track = Callable[[Iterable[Any], str, int], Iterable[Any]]
DEFAULT_FRACTION = 0.05  # of the recordings, for dev and for test


@dataclass(frozen=True)
class PreprocessConfig:
    """Settings of preprocessing.

    Raises:
        UserError: a setting is out of range, or contradicts another.
    """

    mel: MelSpec
    layout: str = AUTO  # of the corpus: a name of vocoder.corpora.LAYOUTS; "auto" recognises it
    # One gain for the corpus brings the 95th percentile of the recordings' peaks to this value, so that louder
    # recordings have 3 dB of headroom. None leaves levels unchanged.
    peak: float | None = 0.7
    trim_db: float | None = None  # trims ends that are this far below the loudest frame; None does not trim
    min_seconds: float = 0.3
    # Longer recordings are cut at pauses into utterances of their own: memory stays bounded, and a single chapter of a
    # book can be split into train, dev and test. None keeps them whole.
    max_seconds: float | None = 60.0
    silence_peak: float = 0.001  # -60 dBFS: quieter recordings are skipped as silence
    # None: the corpus's own split if it has one, otherwise 5 % each.
    dev_fraction: float | None = None
    test_fraction: float | None = None
    # A regular expression. What it matches of an id decides the split, so that takes of one prompt share a split; None,
    # or no match: the whole id.
    split_by: str | None = None
    # "auto": as the layout names the speakers; "folder": the first folder below the input names the speaker.
    speaker: Literal["auto", "none", "folder"] = "auto"
    hold_out: tuple[str, ...] = ()  # speakers whose recordings all go to the test split; models do not learn them

    def __post_init__(self) -> None:
        check_layout(self.layout)
        if not 0 <= sum(self.fractions) < 1 or min(self.fractions) < 0:
            raise UserError("dev_fraction and test_fraction must add up to less than 1, to leave a train split")
        if self.split_by is not None:
            try:
                re.compile(self.split_by)
            except re.error as error:
                raise UserError(f"split_by={self.split_by}: not a regular expression ({error})") from error
        if self.max_seconds is not None and not max(1.0, 4 * self.min_seconds) <= self.max_seconds < float("inf"):
            raise UserError(
                f"max_seconds={self.max_seconds:g}: must be at least {max(1.0, 4 * self.min_seconds):g} (pieces are a "
                "quarter of it or longer, and at least min_seconds), or null"
            )
        if self.hold_out and self.speaker == "none":
            raise UserError(f"hold_out={','.join(self.hold_out)}: speakers have names only with speaker=folder")
        if self.peak is not None and not 0 < self.peak <= 1:
            raise UserError(f"peak={self.peak}: must be above 0 and at most 1 (full scale), or null")

    @property
    def fractions(self) -> tuple[float, float]:
        """The shares of dev and test where recordings are split by a hash."""
        given = self.dev_fraction, self.test_fraction
        dev, test = (DEFAULT_FRACTION if value is None else value for value in given)
        return dev, test

    @property
    def own_splits(self) -> bool:
        """Whether a corpus that comes with splits keeps them: where no setting says how to split it."""
        return self.dev_fraction is None and self.test_fraction is None and self.split_by is None


def preprocess(root: Path, output: Path, settings: PreprocessConfig, workers: int, track: Track) -> dict[str, Any]:
    """Make a store in `output` from the corpus at `root`; return its description (store.json).

    If the process is killed, the next call for this output removes what is left and starts anew.

    Args:
        workers: number of worker processes; 0 does everything in this one.
        track: called with the items of each pass; shows progress as they are taken.

    Raises:
        UserError: there are no recordings, the output exists, or fewer than two recordings are usable.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"output={output}: exists already; give another name or delete it")
    corpus = read_corpus(root, settings.layout)
    recordings = [*corpus.recordings, *corpus.unread]
    remove_partial(output)
    look = partial(_one_file, partial(survey, max_seconds=settings.max_seconds))
    surveys = track(jobs.parallel_map(look, recordings, workers), "measuring levels", len(recordings))
    results = [result for _, result in surveys]
    peaks = [result.peak for result in results if isinstance(result, Survey)]
    level = corpus_level(peaks, settings.peak, settings.silence_peak)
    inputs = [
        _input(recording, result, level.problem(result.peak) if isinstance(result, Survey) else None)
        for recording, result in zip(recordings, results, strict=True)
    ]
    processing = Processing(settings.mel, level.gain, settings.trim_db, settings.min_seconds, settings.silence_peak)
    with atomic_directory(output) as partial_store, closing(StoreWriter(partial_store, settings.mel)) as writer:
        parts = [part for found in inputs for part in found.parts]
        work = jobs.parallel_map(partial(_one_file, partial(_process, processing=processing)), parts, workers)
        done = iter(track(work, "preprocessing", len(parts)))
        records = _write(writer, inputs, (result for _, result in done), settings)
        next(done, None)  # lets the progress end
        writer.close()
        own_split = settings.own_splits and corpus.has_splits
        needed = SPLITS if settings.fractions[1] and not own_split else SPLITS[:2]  # a corpus's own may have no test
        arrange_splits(records, lambda record: _split_key(record["id"], settings), needed, settings.hold_out, own_split)
        _check_speakers(records, settings)
        held_out = settings.hold_out + (unlearned_speakers(records) if own_split else ())
        description = {"layout": corpus.layout, "peak": settings.peak} | describe(
            partial_store, records, settings.mel, level.gain, held_out
        )
        writer.write_metadata(records, description)
    return description


@dataclass(frozen=True)
class _Input:
    """A recording and the parts of it that are to be processed: none, with the reason; all of it; or pieces."""

    recording: Recording
    problem: UserError | None = None
    parts: list[Part] = field(default_factory=list)
    survey: Survey | None = None


def _input(recording: Recording, result: Survey | UserError, problem: str | None) -> _Input:
    if isinstance(result, UserError):
        return _Input(recording, result)
    if problem is not None:
        return _Input(recording, UserError(f"{recording.path}: {problem}"))
    parts = [Part(recording.path, start or 0, stop) for start, stop in pairwise(result.borders)]
    return _Input(recording, parts=parts, survey=result)


def _process(part: Part, processing: Processing) -> ProcessedUtterance:
    return process(part, processing)


def _one_file(work: Callable[[Any], Any], item: Recording | Part) -> Any:
    """`work(item)`; whatever goes wrong in one file costs that file, not the job.

    Raises:
        UserError: for any exception.
    """
    try:
        return work(item)
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(f"{item.path}: cannot be processed ({type(error).__name__}: {reason})") from error


def _write(
    writer: StoreWriter,
    inputs: list[_Input],
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
            result, recording, place = next(results), found.recording, {}
            if len(found.parts) > 1 and found.survey is not None:
                recording = replace(recording, id=f"{recording.id}-{number:04d}")
                place = {"begin": part.start / found.survey.sample_rate}  # seconds
            if not is_utf8(recording.id):
                result = UserError("its name is not UTF-8; rename it")
            elif not isinstance(result, UserError) and recording.id in stored_ids:
                result = UserError("another recording has the same id (the same name with another suffix?)")
            if isinstance(result, UserError):
                records.append(_skipped(recording, result) | place)
                continue
            stored_ids.add(recording.id)
            records.append(_kept(recording, found, result, writer, settings) | place)
    return records


def _kept(
    recording: Recording, found: _Input, result: ProcessedUtterance, writer: StoreWriter, settings: PreprocessConfig
) -> Record:
    """Append to the store; the manifest's record."""
    shard, start = writer.append(result.wave, result.mel)
    return {
        "id": recording.id,
        "source": printable(str(recording.path)),
        "status": "kept",
        "split": assign_split(recording, settings),
        "speaker": _speaker(recording, settings),
        "shard": shard,
        "start": start,
        "frames": len(result.mel),
        "clipped": result.clipped,
        "sha256": found.survey.sha256 if found.survey else "",
    }


def _skipped(recording: Recording, reason: UserError) -> Record:
    names = {"id": printable(recording.id), "source": printable(str(recording.path))}
    return names | {"status": "skipped", "reason": printable(str(reason))}


def assign_split(recording: Recording, settings: PreprocessConfig) -> str:
    """train, dev or test: as the corpus has it, unless the settings say how to split; otherwise by a hash.

    The hash is of the id or a part of it, so that a split does not depend on the rest of the corpus. All recordings of
    held-out speakers go to test.
    """
    if _speaker(recording, settings) in settings.hold_out:
        return "test"
    if settings.own_splits and recording.split is not None:
        return recording.split
    fraction, (dev, test) = hash_fraction(_split_key(recording.id, settings)), settings.fractions
    if fraction < dev:
        return "dev"
    return "test" if fraction < dev + test else "train"


def _split_key(utterance_id: str, settings: PreprocessConfig) -> str:
    """The part of an id that decides the split."""
    match = re.search(settings.split_by, utterance_id) if settings.split_by is not None else None
    return match.group() if match else utterance_id


def _check_speakers(records: list[Record], settings: PreprocessConfig) -> None:
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


def _speaker(recording: Recording, settings: PreprocessConfig) -> str | None:
    return {"auto": recording.speaker, "folder": recording.speaker_folder, "none": None}[settings.speaker]
