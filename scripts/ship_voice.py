"""Write the averaged weights of a run's best checkpoint as a model directory that can be shipped.

    python scripts/ship_voice.py runs/voice vocoder/voice

An existing directory is replaced, but for its README.md, the model card.
"""

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

from vocoder.commands.cli import report_errors
from vocoder.errors import UserError
from vocoder.files import read_json
from vocoder.model import find_checkpoint, save_checkpoint

CARD = "README.md"


def ship(run: Path, output: Path) -> int:
    """Write the directory; return its size in bytes.

    Raises:
        UserError: there is no undamaged checkpoint, or `output` cannot be written or is something else.
    """
    checkpoint = find_checkpoint(run)
    if output.exists() and not (output / "config.json").exists() and any(p.name != CARD for p in output.iterdir()):
        raise UserError(f"{output}: is not a model directory; choose another")
    weights = {"model": checkpoint.weights(checkpoint.averaged)}
    metrics = read_json(checkpoint.directory / "metrics.json")
    with tempfile.TemporaryDirectory() as folder:
        card = Path(folder, CARD)
        if (output / CARD).exists():
            shutil.copy(output / CARD, card)
        shutil.rmtree(output, ignore_errors=True)
        save_checkpoint(output, checkpoint.config, weights, metrics)
        if card.exists():
            shutil.copy(card, output / CARD)
    return sum(file.stat().st_size for file in output.iterdir())


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("run", type=Path)
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    size = ship(arguments.run, arguments.output)
    print(f"{arguments.output}: {size / 1e6:.1f} MB")
    return 0


if __name__ == "__main__":
    sys.exit(report_errors("ship_voice", main))
