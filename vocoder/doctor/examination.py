"""One recording examined: what its header says, what its samples measure, and whether preprocessing would skip it."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from vocoder.corpora import Recording
from vocoder.doctor import measures
from vocoder.errors import UserError
from vocoder.features.audio_file import AudioFile
from vocoder.features.loudness import loudness
from vocoder.files import is_utf8, printable

TRIM_DB = 40.0  # below the loudest frame: the value that docs/data.md proposes for trim_db
# Samples that are measured, ten minutes at 24 kHz: a spectrum of them takes half a gigabyte. All of a longer recording
# is decoded, but these speak for it.
LONGEST = 600 * 24000


@dataclass(frozen=True)
class Examination:
    """What was found. A value that could not be measured is None.

    Attributes:
        problem: why preprocessing skips the recording; None if it does not.
        format, width: libsndfile's names, such as FLAC and PCM_16.
        peak: largest magnitude; 1 is full scale. (Of the whole recording, as seconds and content; what follows is of
            its first LONGEST samples.)
        loudness: in LUFS (ITU-R BS.1770); None for what is too quiet for it.
        noise_floor: of the quietest tenth, in dBFS.
        offset: mean, of full scale.
        clipped: seconds at flat tops.
        impulses: single samples that are out of line.
        leading, trailing: seconds of silence at the ends, TRIM_DB below the loudest frame.
        bandwidth: highest frequency of speech, in Hz.
        content: a hash of the samples: the same audio in another format has the same.
    """

    id: str
    path: str
    speaker: str | None = None
    split: str | None = None
    problem: str | None = None
    sample_rate: int | None = None
    channels: int | None = None
    format: str | None = None
    width: str | None = None
    seconds: float | None = None
    peak: float | None = None
    loudness: float | None = None
    noise_floor: float | None = None
    offset: float | None = None
    clipped: float | None = None
    impulses: int | None = None
    leading: float | None = None
    trailing: float | None = None
    bandwidth: float | None = None
    content: str | None = None

    @property
    def usable(self) -> bool:
        return self.problem is None


def examine(recording: Recording) -> Examination:
    """Read and measure a recording; what is wrong with it is part of the result."""
    found = unexamined(recording, None)
    try:
        with AudioFile(recording.path) as file:
            found = replace(
                found, sample_rate=file.sample_rate, channels=file.channels, format=file.format, width=file.width
            )
            found = replace(found, **_measured(file, *file.span(recording.begin, recording.end)))
    except UserError as error:
        return replace(found, problem=printable(str(error)))
    if not is_utf8(recording.id):
        return replace(found, problem=f"{found.path}: its name is not UTF-8; rename it")
    return found


def unexamined(recording: Recording, problem: str | None) -> Examination:
    """What is known of a recording before it is opened, and why it could not be."""
    names = printable(recording.id), printable(str(recording.path))
    return Examination(*names, recording.speaker, recording.split, None if problem is None else printable(problem))


def _measured(file: AudioFile, start: int, stop: int | None) -> dict[str, Any]:
    """The measures of the samples from `start` to `stop`, decoded block by block: hours of them need little memory.

    Raises:
        UserError: they cannot be decoded, or there are none.
    """
    content = hashlib.sha256(f"{file.sample_rate} ".encode())
    samples, peak = 0, 0.0
    measured: list[np.ndarray] = []
    for block in file.blocks(start, stop):
        if samples < LONGEST:
            measured.append(block)
        content.update(block.tobytes())
        samples, peak = samples + len(block), max(peak, float(np.abs(block).max()))
    if not samples:
        raise UserError(f"{file.path}: contains no samples")
    whole = {"seconds": samples / file.sample_rate, "peak": peak, "content": content.hexdigest()}
    return whole | _measures(np.concatenate(measured)[:LONGEST], file.sample_rate)


def _measures(wave: np.ndarray, sample_rate: int) -> dict[str, Any]:
    leading, trailing = measures.silence_at_ends(wave, TRIM_DB)
    lufs = loudness(wave, sample_rate)
    return {
        "loudness": lufs if np.isfinite(lufs) else None,
        "noise_floor": measures.noise_floor(wave, sample_rate),
        "offset": float(wave.mean(dtype=np.float64)),
        "clipped": measures.clipped_seconds(wave, sample_rate),
        "impulses": measures.impulses(wave, sample_rate),
        "leading": leading * len(wave) / sample_rate,
        "trailing": trailing * len(wave) / sample_rate,
        "bandwidth": measures.bandwidth(wave, sample_rate),
    }
