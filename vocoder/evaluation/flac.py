"""The size of a recording in FLAC: what a general lossless coder needs for it."""

from io import BytesIO

import numpy as np
import soundfile

MARKER = 4  # bytes of "fLaC"


def flac_bits(wave: np.ndarray, sample_rate: int) -> float:
    """Bits per sample of an int16 wave [T] in libsndfile's FLAC, 16 bits, at the highest compression level.

    The frames alone count; metadata (some hundred bytes that say nothing about the wave) are left out, so that short
    recordings compare with long ones. Frame headers and checksums, 0.02 bits per sample, are included.

    Raises:
        ValueError: the wave is empty or not int16.
    """
    if wave.dtype != np.int16 or len(wave) == 0:
        raise ValueError(f"needs int16 samples, not {wave.dtype} {list(wave.shape)}")
    encoded = BytesIO()
    soundfile.write(encoded, wave, sample_rate, format="FLAC", subtype="PCM_16", compression_level=1.0)
    stream = encoded.getvalue()
    return 8 * (len(stream) - _frames_start(stream)) / len(wave)


def _frames_start(stream: bytes) -> int:
    """The offset of the first frame, after the metadata blocks: each is a flag and type, a 24-bit length, and data."""
    start, is_last = MARKER, False
    while not is_last:
        is_last = bool(stream[start] & 0x80)
        start += 4 + int.from_bytes(stream[start + 1 : start + 4], "big")
    return start
