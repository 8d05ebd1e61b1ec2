"""Copy recordings of a corpus, and damage one in each way that is found in the field, to see what becomes of them.

    python -m scripts.experiments.break_corpus SOURCE OUTPUT_DIR

Every kind of damage has a recording of its own, named after it; the others are whole, for comparison.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from vocoder.commands.cli import report_errors
from vocoder.corpora import Recording, find_recordings
from vocoder.errors import UserError
from vocoder.features.audio import read_audio, resample
from vocoder.files import atomic_directory

Wave = np.ndarray  # [T]
RATE = 22050  # Hz, of the recording with the band of a telephone
MOST_WHOLE = 20


def break_corpus(source: Path, output: Path) -> int:
    """Fill `output`; return its number of files.

    Raises:
        UserError: there are too few recordings, or `output` exists.
    """
    recordings = find_recordings(source, "source")
    if len(recordings) <= len(DAMAGES):
        raise UserError(f"{source}: has {len(recordings)} recordings; more than {len(DAMAGES)} are needed")
    if output.exists():
        raise UserError(f"{output}: exists already; give another name or delete it")
    whole = recordings[len(DAMAGES) :][:MOST_WHOLE]
    with atomic_directory(output) as partial:
        for recording, (name, damage) in zip(recordings, DAMAGES.items(), strict=False):
            damage(*read_audio(recording.path), partial / name)
        for number, recording in enumerate(whole):
            _write(*read_audio(recording.path), partial / f"whole-{number:02d}.wav")
        _duplicate(whole[0], partial / "duplicate.flac")
        return len(list(partial.iterdir()))


def _write(wave: Wave, rate: int, path: Path, subtype: str = "PCM_16") -> None:
    soundfile.write(path, wave, rate, subtype)


def _duplicate(recording: Recording, path: Path) -> None:
    """The audio of a recording once more, in another format."""
    _write(*read_audio(recording.path), path)


def _truncated(wave: Wave, rate: int, path: Path) -> None:
    _write(wave, rate, path)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def _wrong_byte(wave: Wave, rate: int, path: Path) -> None:
    """Flip the second highest bit of the sample in the middle of a WAV file."""
    _write(wave, rate, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 4 * 2 + 1] ^= 0x40  # an odd place: samples begin at 44, the low byte first
    path.write_bytes(content)


def _wrong_byte_flac(wave: Wave, rate: int, path: Path) -> None:
    _write(wave, rate, path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def _empty(wave: Wave, rate: int, path: Path) -> None:
    path.touch()


def _page(wave: Wave, rate: int, path: Path) -> None:
    path.write_text("<!DOCTYPE html><title>404 Not Found</title>\n" * 20)


def _not_a_number(wave: Wave, rate: int, path: Path) -> None:
    broken = wave.copy()
    broken[len(wave) // 2] = np.nan
    _write(broken, rate, path, "FLOAT")


def _silence(wave: Wave, rate: int, path: Path) -> None:
    _write(np.zeros_like(wave), rate, path)


def _short(wave: Wave, rate: int, path: Path) -> None:
    _write(wave[len(wave) // 2 :][: rate // 5], rate, path)


def _telephone(wave: Wave, rate: int, path: Path) -> None:
    _write(resample(resample(wave, rate, 8000), 8000, RATE), RATE, path)


def _clipped(wave: Wave, rate: int, path: Path) -> None:
    _write((wave * 4 / np.abs(wave).max()).clip(-1, 1), rate, path)


def _offset(wave: Wave, rate: int, path: Path) -> None:
    _write(wave + 0.05, rate, path)


def _noisy(wave: Wave, rate: int, path: Path) -> None:
    _write(wave + np.random.default_rng(0).normal(0, wave.std() / 3, len(wave)), rate, path)


def _silent_ends(wave: Wave, rate: int, path: Path) -> None:
    _write(np.pad(wave, (rate, 2 * rate)), rate, path)


def _quiet(wave: Wave, rate: int, path: Path) -> None:
    _write(wave / 10, rate, path)


DAMAGES: dict[str, Callable[[Wave, int, Path], None]] = {
    "truncated.wav": _truncated,
    "wrong-byte.wav": _wrong_byte,
    "wrong-byte-flac.flac": _wrong_byte_flac,
    "empty.wav": _empty,
    "html.wav": _page,
    "nan.wav": _not_a_number,
    "silence.wav": _silence,
    "short.wav": _short,
    "telephone.wav": _telephone,
    "clipped.wav": _clipped,
    "offset.wav": _offset,
    "noisy.wav": _noisy,
    "silent-ends.wav": _silent_ends,
    "quiet.wav": _quiet,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("source", type=Path, help="a folder of recordings")
    parser.add_argument("output_dir", type=Path, help="folder to create")
    arguments = parser.parse_args()
    count = break_corpus(arguments.source, arguments.output_dir)
    print(f"{arguments.output_dir}: {count} files, {len(DAMAGES)} of them damaged")
    return 0


if __name__ == "__main__":
    sys.exit(report_errors("break_corpus", main))
