"""Waveforms in and out: reading, resampling, level, and the int16 grid.

Two maps lead from 16-bit samples s to floats, and they are not the same:

    waveform   s / 32768               what audio files mean by s; silence is exactly 0; mels are computed from it
    grid       2 (s + 32768)/65535 - 1 the 65 536 levels of [-1, 1] on which the discretized likelihood is defined

The network sees and predicts the grid; everything a user hears or measures is the waveform.
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
    """A float waveform rounded to int16; what exceeds [-1, 1) is clipped.

    Raises:
        ValueError: where a value is not finite (a NaN would silently become full scale).
    """
    if not np.isfinite(waveform).all():
        raise ValueError("waveform has NaN or infinite values")
    scaled = np.rint(waveform.astype(np.float64) * _INT16_SCALE)
    return np.clip(scaled, -_INT16_SCALE, _INT16_SCALE - 1).astype(np.int16)


def int16_to_grid(samples: np.ndarray) -> np.ndarray:
    """int16 samples as float32 levels of the grid in [-1, 1]; the inverse of `grid_to_int16`."""
    level = samples.astype(np.float64) + _INT16_SCALE
    return (2 * level / (INT16_LEVELS - 1) - 1).astype(np.float32)


def grid_to_int16(grid: np.ndarray) -> np.ndarray:
    """Grid values in [-1, 1] as int16 samples; exact for every value that `int16_to_grid` gives."""
    level = np.rint((grid.astype(np.float64) + 1) / 2 * (INT16_LEVELS - 1))
    return (level - _INT16_SCALE).astype(np.int16)


def read_audio(path: Path) -> tuple[np.ndarray, int]:
    """An audio file as (float32 waveform [T], sample rate); channels are averaged.

    Raises:
        UserError: the file cannot be decoded, is empty or cut short, or holds NaN or infinite samples.
    """
    _refuse_truncated_riff(path)
    try:
        channels, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError, ValueError) as error:
        raise UserError(f"{path}: not readable as audio ({' '.join(str(error).split())})") from None
    if len(channels) == 0:
        raise UserError(f"{path}: holds no samples")
    if not np.isfinite(channels).all():
        raise UserError(f"{path}: holds NaN or infinite samples")
    return channels.mean(axis=1), int(sample_rate)


def _refuse_truncated_riff(path: Path) -> None:
    """libsndfile reads a WAV that was cut short without a word; its header knows better.

    Writers that stream leave the size at 0 or near 2^32: those sizes say nothing and pass.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header = file.read(12)
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror})") from None
    if header[:4] != b"RIFF" or len(header) < 12:
        return
    promised = int.from_bytes(header[4:8], "little") + 8
    streamed = promised == 8 or promised >= 2**31
    if promised > size + 1 and not streamed:  # one byte of padding is often left out
        raise UserError(f"{path}: cut short ({size} bytes, its header promises {promised})")


def write_wav(path: Path, samples: np.ndarray, sample_rate: int, comment: str = "") -> None:
    """Write int16 samples [T] as 16-bit PCM, aside and then renamed."""
    encoded = BytesIO()  # so that a full disk is an OSError, which libsndfile would hide
    with soundfile.SoundFile(encoded, "w", sample_rate, 1, "PCM_16", format="WAV") as file:
        if comment:
            file.comment = comment
        file.write(samples)
    with atomic_write(path) as aside:
        aside.write_bytes(encoded.getvalue())


def comment_of(path: Path) -> str:
    """The comment in a sound file; empty where there is none, or no sound file."""
    try:
        with soundfile.SoundFile(path) as file:
            return str(file.comment)
    except (soundfile.LibsndfileError, OSError):
        return ""


def resample(waveform: np.ndarray, source_rate: int, target_rate: int) -> np.ndarray:
    """Band-limited resampling of a waveform [T] (torchaudio's windowed sinc, Kaiser window)."""
    if source_rate == target_rate:
        return waveform
    resampled = torchaudio.functional.resample(
        torch.from_numpy(waveform),
        source_rate,
        target_rate,
        lowpass_filter_width=64,  # with this rolloff: flat to 90 % of the band, tones 1 % above it below -90 dB
        rolloff=0.9475937167399596,
        resampling_method="sinc_interp_kaiser",
        beta=14.769656459379492,
    )
    return resampled.numpy()


def trim_silence(waveform: np.ndarray, below_peak_db: float) -> np.ndarray:
    """Cut leading and trailing parts that stay `below_peak_db` dB under the loudest frame (librosa)."""
    trimmed, _ = librosa.effects.trim(waveform, top_db=below_peak_db, frame_length=1024, hop_length=256)
    return trimmed
