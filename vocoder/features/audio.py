"""Audio files, resampling, trimming, and conversion between int16 and floating point.

There are two different mappings from 16-bit samples s to floats:

    waveform   s / 32768                 the convention of audio files; silence is exactly 0; mels are computed from it
    grid       2 (s + 32768) / 65535 - 1 the 65 536 levels in [-1, 1] on which the discretized likelihood is defined

The network's inputs and predictions are on the grid; all audio that users get or measure is a waveform.
"""

from io import BytesIO
from pathlib import Path

import librosa
import numpy as np
import soundfile
import torch
import torchaudio

from vocoder.errors import UserError
from vocoder.files import atomic_write

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
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
    _refuse_truncated_riff(path)
    try:
        with soundfile.SoundFile(path) as file:
            sample_rate = file.samplerate
            span = slice(round(begin * sample_rate), None if end is None else round(end * sample_rate))
            start, stop, _ = span.indices(file.frames)
            if start:
                file.seek(start)
            channels = file.read(-1 if end is None else max(0, stop - start), dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError, ValueError) as error:
        raise UserError(f"{path}: not readable as audio ({' '.join(str(error).split())})") from None
    if len(channels) == 0:
        raise UserError(f"{path}: contains no samples")
    if not np.isfinite(channels).all():
        raise UserError(f"{path}: contains NaN or infinite samples")
    return channels.mean(axis=1), int(sample_rate)


def _refuse_truncated_riff(path: Path) -> None:
    """Compare the size in a WAV file's header with the file, because libsndfile reads a truncated WAV without an error.

    Sizes of 0 and from 2^31 up are accepted: programs that stream leave such values in the header.

    Raises:
        UserError: the file is shorter than its header states, or cannot be opened.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header = file.read(12)
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror})") from None
    if header[:4] != b"RIFF" or len(header) < 12:
        return
    stated = int.from_bytes(header[4:8], "little") + 8
    streamed = stated == 8 or stated >= 2**31
    if stated > size + 1 and not streamed:  # the final padding byte is often missing
        raise UserError(f"{path}: truncated ({size} bytes, but its header states {stated})")


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


def resample(waveform: np.ndarray, source_rate: int, target_rate: int) -> np.ndarray:
    """Resample a waveform [T] from one rate to another, in Hz (torchaudio's windowed sinc with a Kaiser window)."""
    if source_rate == target_rate:
        return waveform
    resampled = torchaudio.functional.resample(
        torch.from_numpy(waveform),
        source_rate,
        target_rate,
        lowpass_filter_width=64,  # with this rolloff: flat to 90 % of the band; tones 1 % above the band below -90 dB
        rolloff=0.9475937167399596,
        resampling_method="sinc_interp_kaiser",
        beta=14.769656459379492,
    )
    return resampled.numpy()


def trim_silence(waveform: np.ndarray, below_peak_db: float) -> np.ndarray:
    """Remove leading and trailing parts that are `below_peak_db` dB below the loudest frame (librosa).

    Frames have 1024 samples and a hop of 256.
    """
    trimmed, _ = librosa.effects.trim(waveform, top_db=below_peak_db, frame_length=1024, hop_length=256)
    return trimmed
