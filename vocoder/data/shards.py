"""One store made by several machines that share a file system.

    OUTPUT.shards/
        job.json             the settings and recordings, about which all shards must agree
        survey-00001.jsonl   surveys of every N-th recording, from the 1st on
        part-00001/          what became of them

Shard i surveys its recordings. The gain needs the surveys of all, so it takes those that other shards have written, and
makes and writes the others itself. Then it processes its recordings. Merging makes the store of the parts, by the same
function that makes one of results that come from processes. Every file and folder appears when it is complete.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vocoder.corpora import read_corpus
from vocoder.data.config import PreprocessConfig
from vocoder.data.plan import Plan, make_plan
from vocoder.data.preprocess import Passes, Track, check_output, find_given_mels, write_store
from vocoder.data.shard_files import read_part, read_surveys, write_part, write_surveys
from vocoder.data.survey import Survey
from vocoder.errors import UserError
from vocoder.files import read_json, remove_partial, write_json_once
from vocoder.jobs import Processes
from vocoder.settings import differences

JOB = "job.json"


def preprocess_shard(
    root: Path, output: Path, settings: PreprocessConfig, shard: tuple[int, int], workers: int, track: Track
) -> int:
    """Survey and process the i-th of N shards of the corpus; return the number of its recordings.

    What an earlier call has completed is kept; if that is all, nothing is done.

    Args:
        shard: i and N.
        workers, track: as for `preprocess`.

    Raises:
        UserError: there are no recordings, the output exists, or another shard was made of other recordings or with
            other settings.
    """
    index, count = shard
    job = ShardedJob(root, output, settings, count)
    part = job.part(index)
    remove_partial(part)
    if not part.exists():
        with Processes(workers) as processes:
            passes = Passes(settings, workers, track, processes)
            plan = job.plan(index, passes)
            own = Plan(plan.inputs[index - 1 :: count], plan.gain)
            write_part(part, passes.process(own), settings.mel)
    return len(job.recordings[index - 1 :: count])


def merge_shards(root: Path, output: Path, settings: PreprocessConfig, track: Track) -> dict[str, Any]:
    """Make the store of what the shards have left, and delete that; return its description.

    Raises:
        UserError: a shard is missing, or was made of other recordings or with other settings; or as `preprocess`.
    """
    job = ShardedJob(root, output, settings)
    missing = [f"{shard}/{job.count}" for shard in range(1, job.count + 1) if not job.part(shard).exists()]
    if missing:
        raise UserError(f"{job.folder}: no shard {', '.join(missing)} yet; run shard={missing[0]} first")
    remove_partial(output)
    plan = job.plan(1, Passes(settings, 0, track, Processes(0)))
    parts = [read_part(job.part(shard), settings.mel) for shard in range(1, job.count + 1)]
    results = (next(parts[number % job.count]) for number, found in enumerate(plan.inputs) for _ in found.parts)
    description = write_store(output, job.corpus, plan, iter(track(results, "merging", len(plan.parts))), settings)
    shutil.rmtree(job.folder, ignore_errors=True)
    return description


class ShardedJob:
    """What all shards are about, and the folder of what they leave.

    Raises:
        UserError: as `preprocess_shard`; or `count` is None, and no shard has begun.
    """

    def __init__(self, root: Path, output: Path, settings: PreprocessConfig, count: int | None = None) -> None:
        check_output(output)
        self.settings = settings
        self.corpus = read_corpus(root, settings.layout)
        self.recordings = self.corpus.all
        self.mels = find_given_mels(settings, self.corpus)
        self.folder = output.parent / f"{output.name}.shards"
        if count is None and not (self.folder / JOB).exists():
            raise UserError(f"shard=merge: there is no {self.folder}; run the shards first (shard=1/N and so on)")
        self.count: int = read_json(self.folder / JOB)["shards"] if count is None else count
        self._agree()

    def part(self, shard: int) -> Path:
        """The folder of what became of a shard's recordings."""
        return self.folder / f"part-{shard:05d}"

    def plan(self, first: int, passes: Passes) -> Plan:
        """The plan of the whole corpus. Surveys that are missing are made, those of shard `first` before others."""
        surveys: list[Survey | UserError] = [UserError("not surveyed")] * len(self.recordings)
        for shard in [*range(first, self.count + 1), *range(1, first)]:
            surveys[shard - 1 :: self.count] = self._surveys(shard, passes)
        return make_plan(self.recordings, surveys, self.mels, self.settings)

    def _surveys(self, shard: int, passes: Passes) -> list[Survey | UserError]:
        path = self.folder / f"survey-{shard:05d}.jsonl"
        if not path.exists():
            write_surveys(path, passes.survey(self.recordings[shard - 1 :: self.count]))
        return read_surveys(path)

    def _agree(self) -> None:
        """Raises UserError where other shards are about something else."""
        settings = {name: asdict(self.settings)[name] for name in PreprocessConfig.__dataclass_fields__}
        files = [recording.path for recording in self.recordings] + (self.mels.files if self.mels is not None else [])
        described = [[r.id, r.speaker, r.split, r.begin, r.end] for r in self.recordings]
        mine = {"shards": self.count, "recordings": _hash([described, _stamps(files)]), "settings": settings}
        theirs = write_json_once(self.folder / JOB, mine)
        changes = sorted(differences(theirs, json.loads(json.dumps(mine))))
        if changes:
            raise UserError(
                f"{self.folder}: its shards are about something else ({', '.join(changes)}); give the same input and "
                "settings, or delete that folder"
            )


def _stamps(files: Sequence[Path]) -> list[list[int] | None]:
    """The size and time of change of each file; None where it is missing."""
    stamps: list[list[int] | None] = []
    for file in files:
        try:
            status = file.stat()
        except OSError:
            stamps.append(None)
            continue
        stamps.append([status.st_size, status.st_mtime_ns])
    return stamps


def _hash(value: Any) -> str:
    """Sixteen hex digits."""
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]
