"""vocoder-preprocess: make a store of a folder of recordings."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from hydra.core.config_store import ConfigStore

from vocoder import jobs
from vocoder.commands import cli
from vocoder.commands.cluster import cluster_address
from vocoder.commands.progress import track
from vocoder.data.preprocess import PreprocessConfig, preprocess
from vocoder.data.shards import merge_shards, preprocess_shard
from vocoder.errors import UserError
from vocoder.features.mel import PRESETS, preset_name
from vocoder.files import plain
from vocoder.settings import from_mapping

SHOWN_REASONS = 5
MERGE = "merge"  # the value of `shard` that joins what the shards have left


@dataclass(frozen=True, kw_only=True)
class Config(PreprocessConfig):
    """The command's settings: how recordings are preprocessed, which ones, and into what."""

    input: str
    output: str
    workers: int | None  # processes; 0 works in this process, None takes one for each core
    shard: str
    executor: Literal["local", "dask"]
    scheduler: str | None


def main() -> None:
    """Run the command on the arguments in sys.argv."""
    register_mel_presets()
    cli.run_job("preprocess", job, Config)


def register_mel_presets() -> None:
    """Make every preset of `vocoder.features.mel` an option of the config group `mel`."""
    for name, spec in PRESETS.items():
        ConfigStore.instance().store(group="mel", name=name, node=asdict(spec))


def job(settings: dict[str, Any]) -> int:
    """Preprocess, print a summary, and return exit code 0.

    Raises:
        UserError: a setting is wrong, or the recordings make no store.
    """
    config = from_mapping(Config, settings)
    workers = jobs.worker_count(config.workers)
    description = run(config, workers)
    if description is not None:
        print_summary(Path(config.output), config, description)
    return 0


def run(config: Config, workers: int) -> dict[str, Any] | None:
    """Make the store, and return its description; or one shard of it, and return None.

    Raises:
        UserError: as `job`.
    """
    root, output = Path(config.input), Path(config.output)
    scheduler = cluster_address(config.executor, config.scheduler, config.shard)
    if scheduler is not None:
        return preprocess_on_cluster(scheduler, config)
    if config.shard == MERGE:
        return merge_shards(root, output, config, track)
    if config.shard == "1/1":
        return preprocess(root, output, config, workers, track)
    count = preprocess_shard(root, output, config, shard_of_config(config), workers, track)
    print(f"{output}: shard {config.shard}, {cli.count(count, 'recording')}; shard={MERGE} makes the store of all")
    return None


def shard_of_config(config: Config) -> tuple[int, int]:
    """The i and N of `shard`. Raises UserError where it is nothing of the kind."""
    try:
        return jobs.parse_shard(config.shard)
    except UserError as error:
        raise UserError(f"{error}; or {MERGE}") from None


def preprocess_on_cluster(scheduler: str, config: Config) -> dict[str, Any]:
    """Let a Dask cluster, whose workers see the same paths, read and process the files; this process writes the store.

    Raises:
        UserError: the cluster cannot be reached, or lost its work; or as `preprocess`.
    """
    if config.mels is not None:
        config = replace(config, mels=str(Path(config.mels).absolute()))
    with jobs.dask_executor(scheduler) as (pool, workers):
        return preprocess(Path(config.input), Path(config.output), config, workers, track, pool)


def reasons(manifest: Path) -> Iterator[str]:
    """Why files were skipped."""
    with manifest.open(encoding="utf-8") as lines:
        for record in map(json.loads, lines):
            if record["status"] == "skipped":
                yield record["reason"]


def print_summary(output: Path, config: Config, description: dict[str, Any]) -> None:
    """Print what is in the store, from its description (store.json)."""
    gain = f"a gain for each {config.loudness_of}" if description["gain"] is None else f"gain {description['gain']:.3f}"
    print(f"{output}: {preset_name(config.mel)}, {gain}, layout {description['layout']}")
    for split, totals in description["splits"].items():
        noun = "utterance " if totals["utterances"] == 1 else "utterances"
        print(f"  {split:5} {totals['utterances']:6} {noun} {totals['seconds'] / 60:8.1f} minutes")
    if description["skipped"]:
        manifest = output / "manifest.jsonl"
        print(f"  {cli.count(description['skipped'], 'file')} skipped; the reasons are in {manifest}:")
        for reason in islice(reasons(manifest), SHOWN_REASONS):
            print(f"    {plain(reason)}")
        if description["skipped"] > SHOWN_REASONS:
            print("    …")
    for name in description["not_learned"]:
        print(f"  speaker {plain(name)}: no recording of theirs is in train, so models do not learn the voice")
    if description["clipped_samples"]:
        print(f"  {cli.count(description['clipped_samples'], 'sample')} clipped at full scale")
