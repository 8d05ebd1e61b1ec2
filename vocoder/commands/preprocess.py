"""vocoder-preprocess: make a store of a folder of recordings."""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore

from vocoder.commands import cli
from vocoder.commands.progress import track
from vocoder.data.preprocess import PreprocessConfig, preprocess
from vocoder.errors import UserError
from vocoder.features.mel import PRESETS, preset_name
from vocoder.settings import from_mapping

SHOWN_REASONS = 5


@dataclass(frozen=True, kw_only=True)
class Config(PreprocessConfig):
    """The command's settings: how recordings are preprocessed, which ones, and into what."""

    input: str
    output: str
    workers: int | None  # processes; 0 works in this process, None takes one for each core


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
    workers = len(os.sched_getaffinity(0)) if config.workers is None else config.workers
    if workers < 0:
        raise UserError(f"workers={workers}: must be 0 or more processes, or null")
    output = Path(config.output)
    description = preprocess(Path(config.input), output, config, workers, track)
    print_summary(output, config, description)
    return 0


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
            print(f"    {reason}")
        if description["skipped"] > SHOWN_REASONS:
            print("    …")
    for name in description["not_learned"]:
        print(f"  speaker {name}: no recording of theirs is in train, so models do not learn the voice")
    if description["clipped_samples"]:
        print(f"  {cli.count(description['clipped_samples'], 'sample')} clipped at full scale")
