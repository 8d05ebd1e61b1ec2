"""Fetch the speech that the package's voice is trained on: python scripts/fetch_voices.py OUTPUT_DIR [--from DIR]

Two speakers who gave their recordings to the public domain (CC0 1.0): kathleen, a woman who reads the CMU Arctic
sentences in US English, and flemishguy, a man who reads Dutch. They are cloned from GitHub (1.5 GB), or taken from
DIR/kathleen and DIR/flemishguy, where one has them already. OUTPUT_DIR has a folder of recordings for each, with the
licence.
"""

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from vocoder.commands.cli import report_errors
from vocoder.errors import UserError
from vocoder.files import atomic_directory

REPOSITORIES = {
    "kathleen": "https://github.com/rhasspy/dataset-voice-kathleen",
    "flemishguy": "https://github.com/rhasspy/dataset-voice-flemishguy",
}
AUDIO = (".wav", ".flac")


def fetch(output_dir: Path, source: Path | None) -> dict[str, int]:
    """Fill `output_dir` with a folder for each voice; return their numbers of recordings.

    A voice whose folder exists is not fetched again: folders are written atomically.

    Raises:
        UserError: git or the network is missing, or a folder has no recordings.
    """
    counts = {}
    for voice, repository in REPOSITORIES.items():
        target = output_dir / voice
        if not target.exists():
            with tempfile.TemporaryDirectory(prefix="voices-") as temporary:
                _copy(source / voice if source else _clone(repository, Path(temporary)), target)
        counts[voice] = sum(file.suffix in AUDIO for file in target.iterdir())
    return counts


def _copy(folder: Path, target: Path) -> None:
    """Copy the recordings and the licence below a folder into one flat folder."""
    recordings = sorted(file for file in folder.rglob("*") if file.suffix in AUDIO)
    if not recordings:
        raise UserError(f"{folder}: has no recordings")
    with atomic_directory(target) as partial:
        for file in [*recordings, *folder.glob("LICENSE*")]:
            shutil.copy(file, partial / file.name)


def _clone(repository: str, folder: Path) -> Path:
    """Clone the newest commit of a repository; return its folder."""
    if shutil.which("git") is None:
        raise UserError("git is missing; install it, or give --from with a folder of the recordings")
    command = ["git", "clone", "--quiet", "--depth", "1", repository, "repository"]
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise UserError(f"{repository} cannot be cloned ({reason}); check the network, or give --from")
    return folder / "repository"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("output_dir", type=Path, help="folder to create")
    parser.add_argument("--from", dest="source", type=Path, help="a folder that has kathleen/ and flemishguy/")
    arguments = parser.parse_args()
    counts = fetch(arguments.output_dir.resolve(), arguments.source)
    print(f"{arguments.output_dir}: {', '.join(f'{count} recordings of {voice}' for voice, count in counts.items())}")
    return 0


if __name__ == "__main__":
    sys.exit(report_errors("fetch_voices", main))
