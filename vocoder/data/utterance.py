"""From a recording, or a part of one, to what the store holds of it: the wave on 16 bits, and its log-mel."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vocoder.data.given_mels import read_given_mel
from vocoder.errors import UserError
from vocoder.features.audio import int16_to_waveform, resample, trim_silence, waveform_to_int16
from vocoder.features.audio_file import AudioFile
from vocoder.features.highpass import high_passed
from vocoder.features.mel import MelSpec, frame_count, log_mel


@dataclass(frozen=True)
class Part:
    """The samples of a file that make one utterance."""

    path: Path
    start: int = 0  # in samples of the file
    stop: int | None = None  # None: to the end
    mel: Path | None = None  # a file with a mel that takes the place of its own
    gain: float = 1.0


@dataclass(frozen=True)
class Processing:
    """What is done to every recording."""

    spec: MelSpec
    highpass: float | None  # cutoff, Hz
    trim_db: float | None
    min_seconds: float
    silence_peak: float


@dataclass(frozen=True)
class ProcessedUtterance:
    """The result."""

    wave: np.ndarray  # int16 [F·hop]
    mel: np.ndarray  # float32 [F, n_mels]
    clipped: int  # number of samples beyond full scale
    correlation: float | None = None  # of a mel from a file with the wave's own


def read_samples(path: Path, start: int, stop: int | None, highpass: float | None) -> tuple[np.ndarray, int]:
    """Samples `start` to `stop` of a file [T], high-pass filtered if a cutoff in Hz is given, and its rate in Hz.

    Raises:
        UserError: as `AudioFile.read`.
    """
    with AudioFile(path) as file:
        waveform, sample_rate = file.read(start, stop), file.sample_rate
    return waveform if highpass is None else high_passed(waveform, sample_rate, highpass), sample_rate


def process(part: Part, processing: Processing) -> ProcessedUtterance:
    """Filter, resample, scale, trim and quantise, and compute the log-mel from the quantised wave.

    Raises:
        UserError: it cannot be read, is silent, or is too short; or the mel that is given for it is not its own.
    """
    spec = processing.spec
    waveform, sample_rate = read_samples(part.path, part.start, part.stop, processing.highpass)
    peak = float(np.abs(waveform).max())
    if peak < processing.silence_peak:
        raise UserError(f"{part.path}: silence (peak {peak:.5f} is below {processing.silence_peak:g})")
    waveform = resample(waveform, sample_rate, spec.sample_rate) * part.gain
    if processing.trim_db is not None:
        waveform = trim_silence(waveform, processing.trim_db)
    seconds = len(waveform) / spec.sample_rate
    if seconds < processing.min_seconds:
        raise UserError(f"{part.path}: too short ({seconds:.2f} s is below min_seconds={processing.min_seconds:g})")
    wave = waveform_to_int16(waveform)[: frame_count(len(waveform), spec) * spec.hop_length]
    mel = log_mel(torch.from_numpy(int16_to_waveform(wave)), spec).T.contiguous().numpy()
    clipped = int((np.abs(waveform) > 1).sum())
    if part.mel is None:
        return ProcessedUtterance(wave, mel, clipped)
    mel, agreement = read_given_mel(part.mel, mel, spec)
    return ProcessedUtterance(wave[: len(mel) * spec.hop_length], mel, clipped, agreement.correlation)
