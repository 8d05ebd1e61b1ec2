"""vocoder-preprocess: a folder of recordings becomes a store."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore

from vocoder.commands import cli
from vocoder.data.preprocess import PreprocessConfig, preprocess
from vocoder.errors import UserError
from vocoder.features.mel import PRESETS, preset_name
from vocoder.settings import from_mapping


@dataclass(frozen=True, kw_only=True)
class Settings(PreprocessConfig):
    """The command's config: what is done to recordings, and which."""

    input: str
    output: str
    workers: int | None


def main() -> None:
    """The console script."""
    register_mel_presets()
    cli.run("preprocess", job)


def register_mel_presets() -> None:
    """Make every preset of `vocoder.features.mel` an option of the config group `mel`."""
    for name, spec in PRESETS.items():
        ConfigStore.instance().store(group="mel", name=name, node=asdict(spec))


def job(config: dict[str, Any]) -> int:
    """Preprocess as configured, and say what came of it."""
    settings = from_mapping(Settings, config)
    output = Path(settings.output)
    workers = len(os.sched_getaffinity(0)) if settings.workers is None else settings.workers
    if workers < 0:
        raise UserError(f"workers={workers}: must be 0 or more processes, or null")
    description = preprocess(Path(settings.input), output, settings, workers, cli.progress)
    print(f"{output}: {preset_name(settings.mel)}, gain {description['gain']:.3f}")
    for split, totals in description["splits"].items():
        print(f"  {split:5} {totals['utterances']:6} utterances {totals['seconds'] / 60:8.1f} minutes")
    if description["skipped"]:
        print(f"  {description['skipped']} files skipped, with reasons in {output / 'manifest.jsonl'}")
    if description["clipped_samples"]:
        print(f"  {description['clipped_samples']} samples were clipped at full scale")
    return 0
