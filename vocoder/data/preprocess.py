"""From a corpus of recordings to a store.

There are two passes over the files. The first (survey.py) measures levels, from which one gain for the whole corpus
follows, and finds pauses at which to cut long recordings; the second (utterance.py) resamples, scales and trims each
recording and computes its mel. In between, plan.py decides what the second does. Every audio file is recorded in the
manifest as kept, or as skipped with the reason.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor
from contextlib import closing
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from vocoder import jobs
from vocoder.corpora import Corpus, Recording, read_corpus
from vocoder.data.config import PreprocessConfig
from vocoder.data.description import describe
from vocoder.data.given_mels import GivenMels, describe_given_mels
from vocoder.data.labels import check_speakers, split_key
from vocoder.data.manifest import write_utterances
from vocoder.data.plan import Plan, make_plan
from vocoder.data.splits import arrange_splits, unlearned_speakers
from vocoder.data.store import SPLITS, StoreWriter
from vocoder.data.survey import Survey, survey
from vocoder.data.utterance import Part, ProcessedUtterance, Processing, process
from vocoder.errors import UserError
from vocoder.features.level import Level
from vocoder.files import atomic_directory, remove_partial

# (items, label, total) -> the same items, while the share of them that is done is shown
Track = Callable[[Iterable[Any], str, int], Iterable[Any]]


def preprocess(
    root: Path,
    output: Path,
    settings: PreprocessConfig,
    workers: int,
    track: Track,
    pool: Executor | None = None,
) -> dict[str, Any]:
    """Make a store in `output` from the corpus at `root`; return its description (store.json).

    If the process is killed, the next call for this output removes what is left and starts anew.

    Args:
        workers: number of worker processes; 0 does everything in this one.
        pool: does the work in place of processes of this machine; its workers see the same paths.
        track: called with the items of each pass; shows progress as they are taken.

    Raises:
        UserError: there are no recordings, the output exists, or fewer than two recordings are usable.
    """
    check_output(output)
    corpus = read_corpus(root, settings.layout)
    remove_partial(output)
    mels = find_given_mels(settings, corpus)
    with jobs.Processes(workers) as own:
        passes = Passes(settings, workers, track, pool or own)
        plan = make_plan(corpus.all, passes.survey(corpus.all), mels, settings)
        return write_store(output, corpus, plan, passes.process(plan), settings)


def check_output(output: Path) -> None:
    """Raises UserError where there is something at `output` already."""
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"output={output}: exists already; give another name or delete it")


def _level(settings: PreprocessConfig, plan: Plan) -> Level:
    return Level(
        plan.gain, settings.target_peak, settings.loudness, settings.loudness_of, settings.highpass, settings.trim_db
    )


def find_given_mels(settings: PreprocessConfig, corpus: Corpus) -> GivenMels | None:
    """The mels to take, if settings name some. Raises UserError where there are none for any recording."""
    if settings.mels is None:
        return None
    mels = GivenMels(Path(settings.mels))
    mels.check_any([recording.id for recording in corpus.all])
    return mels


@dataclass(frozen=True)
class Passes:
    """The two passes over files, by some number of processes."""

    settings: PreprocessConfig
    workers: int
    track: Track
    pool: Executor | jobs.Processes

    def survey(self, recordings: Sequence[Recording]) -> list[Survey | UserError]:
        """The first pass: a survey of each recording, or why it cannot be read."""
        settings = self.settings
        look = partial(
            survey,
            max_seconds=settings.longest_seconds,
            highpass=settings.highpass,
            loudness=settings.loudness is not None,
        )
        return list(self._each(look, recordings, "measuring levels"))

    def process(self, plan: Plan) -> Iterator[ProcessedUtterance | UserError]:
        """The second pass: what becomes of each part of the plan, in order."""
        settings = self.settings
        processing = Processing(
            settings.mel, settings.highpass, settings.trim_db, settings.min_seconds, settings.silence_peak
        )
        return self._each(partial(process, processing=processing), plan.parts, "preprocessing")

    def _each(self, work: Callable[[Any], Any], items: Sequence[Recording | Part], label: str) -> Iterator[Any]:
        if isinstance(self.pool, Executor):  # whose workers are in other folders
            items = [replace(item, path=item.path.absolute()) for item in items]
        results = jobs.parallel_map(partial(jobs.each_alone, work), items, self.workers, self.pool)
        return (result for _, result in self.track(results, label, len(items)))


def write_store(
    output: Path,
    corpus: Corpus,
    plan: Plan,
    results: Iterator[ProcessedUtterance | UserError],
    settings: PreprocessConfig,
) -> dict[str, Any]:
    """Write the store of these results, one for each part of the plan; return its description.

    Raises:
        UserError: fewer than two recordings are usable, or speakers are not as the settings say.
    """
    with (
        atomic_directory(output) as partial_store,
        closing(StoreWriter(partial_store, settings.mel, given_mels=settings.mels is not None)) as writer,
    ):
        records = write_utterances(writer, plan.inputs, results, settings)
        next(results, None)  # lets the progress end
        writer.close()
        given = describe_given_mels(settings.mels, records)
        own_split = settings.own_splits and corpus.has_splits
        needed = SPLITS if settings.fractions[1] and not own_split else SPLITS[:2]  # a corpus's own may have no test
        arrange_splits(records, lambda record: split_key(record["id"], settings), needed, settings.hold_out, own_split)
        check_speakers(records, settings)
        held_out = settings.hold_out + (unlearned_speakers(records) if own_split else ())
        description = {"layout": corpus.layout} | describe(
            partial_store, records, settings.mel, _level(settings, plan), held_out
        )
        description |= given
        writer.write_metadata(records, description)
    return description
