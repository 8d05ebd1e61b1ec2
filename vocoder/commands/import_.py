"""vocoder-import: make a model of a checkpoint of r9y9's wavenet_vocoder."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vocoder.commands import cli
from vocoder.errors import UserError
from vocoder.features.mel import PRESETS
from vocoder.importers import Imported, import_r9y9
from vocoder.settings import from_mapping, suggestion


@dataclass(frozen=True)
class Config:
    """The command's settings; configs/import.yaml explains them."""

    source: str
    output: str
    hparams: str | None
    stats: str | None
    preset: str | None


def main() -> None:
    """Run the command on the arguments in sys.argv."""
    cli.run_job("import", job, Config)


def job(settings: dict[str, Any]) -> int:
    """Import, print a summary, and return exit code 0.

    Raises:
        UserError: the checkpoint cannot be imported, or the output cannot be written; nothing is written then.
    """
    config = from_mapping(Config, settings)
    source, hparams = Path(config.source), None if config.hparams is None else Path(config.hparams)
    if config.preset is not None and config.preset not in PRESETS:
        raise UserError(f"preset={config.preset}: unknown{suggestion(config.preset, sorted(PRESETS))}")
    imported = import_r9y9(source, hparams, config.stats, None if config.preset is None else PRESETS[config.preset])
    imported.save(Path(config.output))
    print_summary(imported, source, config.output)
    return 0


def print_summary(imported: Imported, source: Path, output: str) -> None:
    """Print what was imported, and what a user may have missed."""
    print(f"{output}: layout {imported.layout}, step {imported.step}, {imported.model.describe()}")
    averaged = source.with_name(f"{source.stem}_ema{source.suffix}")
    if not imported.averaged and averaged.exists():
        print(f"  {averaged.name}, beside it, has the averaged weights, which usually sound better")
