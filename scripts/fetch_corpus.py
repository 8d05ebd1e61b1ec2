"""Fetch a published corpus with torchaudio's downloaders: python scripts/fetch_corpus.py NAME OUTPUT_DIR [--part PART]

    ljspeech    one speaker, US English, 24 hours; 2.6 GB; public domain
    vctk        110 speakers, English, 44 hours; 11 GB; CC-BY-4.0
    libritts    audiobooks in English; --part train-clean-100 (the default), dev-clean, …; CC-BY-4.0
    arctic      CMU ARCTIC: an hour of one of 18 speakers; --part slt (the default), bdl, …; free

Archives are checked against the checksums that torchaudio knows, and stay beside what is unpacked from them. What is
there already is not fetched again. At the end stands the folder to give to vocoder-preprocess and vocoder-doctor.
"""

import argparse
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torchaudio import datasets

from vocoder.commands.cli import report_errors
from vocoder.corpora import read_corpus
from vocoder.errors import UserError

LIBRITTS_PARTS = (
    *("train-clean-100", "train-clean-360", "train-other-500"),
    *("dev-clean", "dev-other", "test-clean", "test-other"),
)
ARCTIC_PARTS = (
    *("slt", "aew", "ahw", "aup", "awb", "axb", "bdl", "clb", "eey"),
    *("fem", "gka", "jmk", "ksp", "ljm", "lnh", "rms", "rxr", "slp"),
)


@dataclass(frozen=True)
class Source:
    """How a corpus is fetched.

    Attributes:
        dataset: torchaudio's class, which downloads and unpacks below `root`; `url` is the part, where there are parts.
        folder: what of it is the corpus, below `root`.
        parts: the first is the default.
    """

    dataset: Callable[..., Any]
    folder: str
    parts: tuple[str, ...] = ()


SOURCES = {
    "ljspeech": Source(datasets.LJSPEECH, "LJSpeech-1.1"),
    "vctk": Source(datasets.VCTK_092, "VCTK-Corpus-0.92"),
    "libritts": Source(datasets.LIBRITTS, "LibriTTS", LIBRITTS_PARTS),
    "arctic": Source(datasets.CMUARCTIC, "ARCTIC", ARCTIC_PARTS),
}


def fetch(name: str, output_dir: Path, part: str | None = None) -> tuple[Path, int]:
    """Download and unpack a corpus; return its folder and its number of recordings.

    Raises:
        UserError: there is no such corpus or part, the download failed, the archive is damaged, or what was unpacked is
            not the corpus.
    """
    source = SOURCES[name]
    options = _part(name, source, part)
    output_dir.mkdir(parents=True, exist_ok=True)
    try:
        source.dataset(root=str(output_dir), download=True, **options)
    except (RuntimeError, tarfile.TarError, zipfile.BadZipFile, EOFError) as error:  # RuntimeError: a wrong checksum
        raise UserError(
            f"{output_dir}: the archive of {name} is damaged ({_line(error)}); delete it and try again"
        ) from None
    except OSError as error:  # also of urllib
        raise UserError(
            f"{name} cannot be fetched into {output_dir} ({_line(error)}); check the network and the space on the disk"
        ) from None
    folder = output_dir / source.folder
    corpus = read_corpus(folder)
    if corpus.layout != name:
        raise UserError(f"{folder}: is not {name} as it was unpacked; delete it and try again")
    return folder, len(corpus.recordings)


def _part(name: str, source: Source, part: str | None) -> dict[str, str]:
    """The part as an option of torchaudio's class."""
    if not source.parts:
        if part is not None:
            raise UserError(f"--part {part}: {name} has no parts")
        return {}
    if part is not None and part not in source.parts:
        raise UserError(f"--part {part}: {name} has the parts {', '.join(source.parts)}")
    return {"url": part or source.parts[0]}


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("name", choices=list(SOURCES))
    parser.add_argument("output_dir", type=Path, help="folder for archives and corpora")
    parser.add_argument("--part", help="of libritts: a set; of arctic: a speaker")
    arguments = parser.parse_args()
    folder, count = fetch(arguments.name, arguments.output_dir.resolve(), arguments.part)
    print(f"{count} recordings; vocoder-doctor input={folder}")
    return 0


if __name__ == "__main__":
    sys.exit(report_errors("fetch_corpus", main))
