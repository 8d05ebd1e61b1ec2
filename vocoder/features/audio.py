"""Audio files, resampling, trimming, and conversion between int16 and floating point.

There are two different mappings from 16-bit samples s to floats:

    waveform   s / 32768                 the convention of audio files; silence is exactly 0; mels are computed from it
    grid       2 (s + 32768) / 65535 - 1 the 65 536 levels in [-1, 1] on which the discretized likelihood is defined

The network's inputs and predictions are on the grid; all audio that users get or measure is a waveform.
"""

import math
from io import BytesIO
from pathlib import Path

import librosa
import numpy as np
import soundfile
import soxr
import torch
import torchaudio

from vocoder.features.audio_file import AUDIO_SUFFIXES as AUDIO_SUFFIXES
from vocoder.features.audio_file import AudioFile
from vocoder.files import atomic_write

INT16_LEVELS = 65536
_INT16_SCALE = 32768  # libsndfile's convention for 16-bit PCM


def int16_to_waveform(samples: np.ndarray) -> np.ndarray:
    """int16 samples as a float32 waveform in [-1, 1)."""
    return (samples.astype(np.float32) / _INT16_SCALE).astype(np.float32)


def waveform_to_int16(waveform: np.ndarray) -> np.ndarray:
    """A float waveform rounded to int16; values outside [-1, 1) are clipped.

    Raises:
        ValueError: a value is not finite (a NaN would silently become an arbitrary sample).
    """
    if not np.isfinite(waveform).all():
        raise ValueError("waveform has NaN or infinite values")
    scaled = np.rint(waveform.astype(np.float64) * _INT16_SCALE)
    return np.clip(scaled, -_INT16_SCALE, _INT16_SCALE - 1).astype(np.int16)


def int16_to_grid(samples: np.ndarray) -> np.ndarray:
    """int16 samples as float32 values on the grid in [-1, 1]; inverted exactly by `grid_to_int16`."""
    level = samples.astype(np.float64) + _INT16_SCALE
    return (2 * level / (INT16_LEVELS - 1) - 1).astype(np.float32)


def grid_to_int16(grid: np.ndarray) -> np.ndarray:
    """Values in [-1, 1] as the nearest int16 samples; exact for every value that `int16_to_grid` returns."""
    level = np.rint((grid.astype(np.float64) + 1) / 2 * (INT16_LEVELS - 1))
    return (level - _INT16_SCALE).astype(np.int16)


def read_audio(path: Path, begin: float = 0.0, end: float | None = None) -> tuple[np.ndarray, int]:
    """Read an audio file as (float32 waveform [T], sample rate in Hz); channels are averaged.

    Args:
        begin, end: of the part that is read, in seconds; None is the end of the file.

    Raises:
        UserError: the file cannot be decoded, is empty or truncated, or contains NaN or infinite samples.
    """
    with AudioFile(path) as file:
        return file.read(*file.span(begin, end)), file.sample_rate


def write_wav(path: Path, samples: np.ndarray, sample_rate: int, comment: str = "") -> None:
    """Write int16 samples [T] as a 16-bit PCM WAV file, atomically.

    Raises:
        UserError: the disk is full, or `path` cannot be written to.
    """
    encoded = BytesIO()  # encoded in memory, because libsndfile hides the OSError of a full disk
    with soundfile.SoundFile(encoded, "w", sample_rate, 1, "PCM_16", format="WAV") as file:
        if comment:
            file.comment = comment
        file.write(samples)
    with atomic_write(path) as partial:
        partial.write_bytes(encoded.getvalue())


def read_comment(path: Path) -> str:
    """The comment stored in an audio file; empty if it has none or is not an audio file."""
    try:
        with soundfile.SoundFile(path) as file:
            return str(file.comment)
    except (soundfile.LibsndfileError, OSError):
        return ""


# The torchaudio kernel of a rate ratio has this many coefficients at most: 2 MB, which covers all rates in use. Ratios
# of large numbers (44 056 Hz to 22 050 Hz is 22 028 : 11 025) would take gigabytes, and minutes.
LARGEST_KERNEL = 2**19
_KERNEL_WIDTH = 64  # zero crossings to each side; with this roll-off: flat to 90 % of the band, and …
_ROLLOFF = 0.9475937167399596  # … tones 1 % above the band below -90 dB


def resample(waveform: np.ndarray, source_rate: int, target_rate: int) -> np.ndarray:
    """Resample a waveform [T] from one rate to another, in Hz; the result has ceil(T · target / source) samples.

    By torchaudio's windowed sinc with a Kaiser window; for ratios of large numbers by soxr, whose cost does not depend
    on the ratio.
    """
    if source_rate == target_rate:
        return waveform
    if _kernel_size(source_rate, target_rate) > LARGEST_KERNEL:
        return _resample_any_ratio(waveform, source_rate, target_rate)
    resampled = torchaudio.functional.resample(
        torch.from_numpy(waveform),
        source_rate,
        target_rate,
        lowpass_filter_width=_KERNEL_WIDTH,
        rolloff=_ROLLOFF,
        resampling_method="sinc_interp_kaiser",
        beta=14.769656459379492,
    )
    return resampled.numpy()


def _kernel_size(source_rate: int, target_rate: int) -> int:
    """Coefficients of torchaudio's kernel: a filter for each of the target's positions between source samples."""
    divisor = math.gcd(source_rate, target_rate)
    source, target = source_rate // divisor, target_rate // divisor
    width = math.ceil(_KERNEL_WIDTH * source / (min(source, target) * _ROLLOFF))
    return target * (2 * width + source)


def _resample_any_ratio(waveform: np.ndarray, source_rate: int, target_rate: int) -> np.ndarray:
    length = -(-len(waveform) * target_rate // source_rate)  # as torchaudio; soxr rounds
    resampled = soxr.resample(waveform.astype(np.float32, copy=False), source_rate, target_rate, quality="VHQ")
    return np.pad(resampled[:length], (0, max(0, length - len(resampled))))


def trim_silence(waveform: np.ndarray, below_peak_db: float) -> np.ndarray:
    """Remove leading and trailing parts that are `below_peak_db` dB below the loudest frame (librosa).

    Frames have 1024 samples and a hop of 256.
    """
    trimmed, _ = librosa.effects.trim(waveform, top_db=below_peak_db, frame_length=1024, hop_length=256)
    return trimmed
