"""Fetch real speech from Debian's archive: python scripts/fetch_demo_corpus.py OUTPUT_DIR [--language en]

The packages asterisk-core-sounds-LANGUAGE-g722 contain some 25 minutes of telephone prompts by one speaker, free to
share with attribution. They are encoded in G.722 at 16 kHz, a lossy codec with a band of 7 kHz and an audible noise
floor.

apt downloads the package and verifies the archive's signatures as usual, but with its lists and cache in a temporary
folder, so that it needs no root and does not change the system.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from vocoder.commands.cli import report_errors
from vocoder.errors import UserError
from vocoder.features.audio import write_wav
from vocoder.files import atomic_directory

CREDITS = {  # from the copyright file of each package
    "en": "recorded by Allison Smith, CC-BY-SA-3.0, made for Asterisk with contributions by Digium",
    "es": "recorded by Allison Smith, CC-BY-SA-3.0, made for Asterisk with contributions by Digium",
    "fr": "recorded by June Wallack, CC-BY-SA-3.0, made for Asterisk with contributions by Digium",
    "it": "recorded by Carlo Flora, CC-BY-3.0, made for Asterisk",
    "ru": "provided by Maxim Topal, CC-BY-3.0, made for Asterisk",
}
OWN_FOLDER = "or use your own recordings: make demo WAVS=dir"


def fetch(output_dir: Path, language: str) -> int:
    """Fill `output_dir` with 16-bit WAV files and ATTRIBUTION.txt, atomically; return the number of WAV files.

    A folder that is already complete is not changed; the result is then 0.

    Raises:
        UserError: a tool, the network or the package is missing, or the folder has other contents.
    """
    package = f"asterisk-core-sounds-{language}-g722"
    if _is_complete(output_dir, package):
        return 0
    with tempfile.TemporaryDirectory(prefix="demo-corpus-") as temporary:
        unpacked = _download(package, Path(temporary))
        sources = sorted(unpacked.rglob("*.g722"))
        if not sources:
            raise UserError(f"{package}: contains no .g722 files; {OWN_FOLDER}")
        top = os.path.commonpath([source.parent for source in sources])
        with atomic_directory(output_dir) as partial:
            for source in sources:
                samples, sample_rate = decode_g722(source)
                write_wav(partial / source.relative_to(top).with_suffix(".wav"), samples, sample_rate)
            copyright_file = unpacked / "usr/share/doc" / package / "copyright"
            (partial / "ATTRIBUTION.txt").write_text(
                f"These recordings: {CREDITS[language]}.\n"
                f"Decoded without other changes from the Debian package {package}, whose copyright file follows.\n\n"
                + copyright_file.read_text(encoding="utf-8"),
                encoding="utf-8",
            )
    return len(sources)


def decode_g722(path: Path) -> tuple[np.ndarray, int]:
    """Decode a raw G.722 file to (int16 samples [T], sample rate in Hz).

    Raises:
        UserError: the package that decodes it is not installed.
    """
    try:
        import av
    except ModuleNotFoundError:
        raise UserError("the package av is missing, which decodes G.722: pip install '.[demo]'") from None
    with av.open(str(path), format="g722") as container:
        frames = [frame.to_ndarray()[0] for frame in container.decode(audio=0)]  # packed mono: [1, T]
        return np.concatenate(frames), container.streams.audio[0].rate


def _is_complete(output_dir: Path, package: str) -> bool:
    """Whether the folder already has the corpus. ATTRIBUTION.txt is proof, because the folder is created atomically.

    Raises:
        UserError: the folder exists and has other contents.
    """
    if not output_dir.exists():
        return False
    attribution = output_dir / "ATTRIBUTION.txt"
    if attribution.is_file() and package in attribution.read_text(encoding="utf-8"):
        return True
    if not output_dir.is_dir() or any(output_dir.iterdir()):
        raise UserError(f"{output_dir}: exists and is not the corpus {package}; choose another folder")
    return False


def _download(package: str, folder: Path) -> Path:
    """Download and unpack a Debian package below `folder`; return the root of its files."""
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise UserError(f"{tool} is missing: this script needs Debian or a derivative; {OWN_FOLDER}")
    for needed in ("lists/partial", "cache/archives/partial"):
        (folder / needed).mkdir(parents=True)
    apt = [
        "apt-get",
        f"-oDir::State::Lists={folder}/lists",
        f"-oDir::Cache={folder}/cache",
        "-oDebug::NoLocking=1",
        "-oAPT::Sandbox::User=root",  # apt's unprivileged user cannot access the temporary folder
        "-oAcquire::Languages=none",
        "-oAcquire::http::Timeout=20",  # seconds
        "-oAcquire::https::Timeout=20",
    ]
    hint = f"check the network and that the apt sources have Debian's archive, {OWN_FOLDER}"
    _run([*apt, "update"], folder, hint)
    _run([*apt, "download", package], folder, hint)
    (archive,) = folder.glob("*.deb")
    _run(["dpkg-deb", "-x", str(archive), "unpacked"], folder, hint)
    return folder / "unpacked"


def _run(command: list[str], folder: Path, hint: str) -> None:
    """Run a command in `folder`.

    Raises:
        UserError: the command failed; with the last line of its error output and `hint`.
    """
    english = {**os.environ, "LC_ALL": "C"}
    done = subprocess.run(command, cwd=folder, env=english, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise UserError(f"{command[0]} failed ({reason}); {hint}")


def main() -> int:
    parser = argparse.ArgumentParser(description="Fetch a demo corpus of real speech from Debian's archive.")
    parser.add_argument("output_dir", type=Path, help="folder to create")
    parser.add_argument("--language", choices=sorted(CREDITS), default="en")
    arguments = parser.parse_args()
    count = fetch(arguments.output_dir.resolve(), arguments.language)
    print(f"{arguments.output_dir}: {f'{count} recordings' if count else 'already complete'}")
    return 0


if __name__ == "__main__":
    sys.exit(report_errors("fetch_demo_corpus", main))
