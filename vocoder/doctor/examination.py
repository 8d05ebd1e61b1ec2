"""One recording examined: what its header says, what its samples measure, and whether preprocessing would skip it."""

import hashlib
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import soundfile

from vocoder.corpora import Recording, escaped
from vocoder.data.preprocess import refuse_short, refuse_silence
from vocoder.doctor import measures
from vocoder.errors import UserError
from vocoder.features.audio import read_audio
from vocoder.report.loudness import loudness

TRIM_DB = 40.0  # below the loudest frame: the value that docs/data.md proposes for trim_db


@dataclass(frozen=True)
class Limits:
    """What preprocessing skips; its settings of the same names."""

    min_seconds: float = 0.3
    silence_peak: float = 0.001


@dataclass(frozen=True)
class Examination:
    """What was found. A value that could not be measured is None.

    Attributes:
        problem: why preprocessing skips the recording; None if it does not.
        format, width: libsndfile's names, such as FLAC and PCM_16.
        peak: largest magnitude; 1 is full scale.
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


def examine(recording: Recording, limits: Limits) -> Examination:
    """Read and measure a recording; what is wrong with it is part of the result."""
    names = Examination(escaped(recording.id), escaped(str(recording.path)), recording.speaker, recording.split)
    found = replace(names, **_header(recording))
    try:
        wave, sample_rate = read_audio(recording.path, recording.begin, recording.end)
        found = replace(found, **_measured(wave, sample_rate))
        _refuse(recording, found, limits)
    except UserError as error:
        found = replace(found, problem=escaped(str(error)))
    return found


def _refuse(recording: Recording, found: Examination, limits: Limits) -> None:
    """Raises UserError for what preprocessing skips although it can be read."""
    assert found.peak is not None
    assert found.seconds is not None
    if found.id != recording.id:
        raise UserError(f"{recording.path}: its name is not UTF-8; rename it")
    refuse_silence(recording.path, found.peak, limits.silence_peak)
    refuse_short(recording.path, found.seconds, limits.min_seconds)


def _header(recording: Recording) -> dict[str, Any]:
    try:
        info = soundfile.info(recording.path)
    except (soundfile.LibsndfileError, OSError, ValueError, TypeError):
        return {}
    return {
        "sample_rate": info.samplerate,
        "channels": info.channels,
        "format": info.format,
        "width": info.subtype,
    }


def _measured(wave: np.ndarray, sample_rate: int) -> dict[str, Any]:
    seconds = len(wave) / sample_rate
    leading, trailing = measures.silence_at_ends(wave, TRIM_DB)
    lufs = loudness(wave, sample_rate)
    return {
        "seconds": seconds,
        "peak": float(np.abs(wave).max()),
        "loudness": lufs if np.isfinite(lufs) else None,
        "noise_floor": measures.noise_floor(wave, sample_rate),
        "offset": float(wave.mean(dtype=np.float64)),
        "clipped": measures.clipped_seconds(wave, sample_rate),
        "impulses": measures.impulses(wave, sample_rate),
        "leading": leading * seconds,
        "trailing": trailing * seconds,
        "bandwidth": measures.bandwidth(wave, sample_rate),
        "content": hashlib.sha256(f"{sample_rate} ".encode() + wave.tobytes()).hexdigest(),
    }
