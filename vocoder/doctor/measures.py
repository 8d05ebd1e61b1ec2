"""What is measured in a recording without any reference: noise, offset, clipping, damage, silence, bandwidth.

T samples, F frames.
"""

import librosa
import numpy as np
from scipy.ndimage import maximum_filter1d
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import blackmanharris

from vocoder.evaluation.artefacts import flat_tops

FRAME_SECONDS = 0.02  # of levels
QUIETEST_SHARE = 0.1  # of the frames: pauses take more than a tenth of speech
FLOOR_DB = -120.0  # digital silence
SPECTRUM_SECONDS = 0.04
BAND_HZ = 250.0
DYNAMIC_RANGE_DB = 60.0  # below the loudest band: less is leakage, or what a resampler's filter has let through
MODULATION_DB = 9.0  # between loud and quiet frames: more than the chance of noise, which does not follow the speech
IMPULSE_SPAN = 0.004  # seconds to each side: no two glottal pulses are so near to each other
IMPULSE_RATIO = 5.0  # to the sharpest bend within that span; real speech of two people and a codec stays below 3.6
SMALLEST_IMPULSE = 0.02  # of full scale


def noise_floor(wave: np.ndarray, sample_rate: int) -> float:
    """Level in dBFS of the quietest tenth of the frames of a waveform [T], without its offset."""
    size = max(1, min(len(wave), round(FRAME_SECONDS * sample_rate)))
    frames = (wave[: len(wave) // size * size].astype(np.float64) - wave.mean()).reshape(-1, size)
    powers = np.sort(np.square(frames).mean(1))
    return decibels(float(powers[: max(1, round(QUIETEST_SHARE * len(powers)))].mean()))


def decibels(power: float) -> float:
    """A power in dB, FLOOR_DB at least."""
    return float(10 * np.log10(max(power, 10 ** (FLOOR_DB / 10))))


def clipped_seconds(wave: np.ndarray, sample_rate: int) -> float:
    """Time that a waveform [T] spends at flat tops of its highest or lowest value."""
    return sum(stop - start for start, stop in flat_tops(wave, sample_rate)) / sample_rate


def silence_at_ends(wave: np.ndarray, below_peak_db: float) -> tuple[float, float]:
    """Shares of a waveform [T] before and after what is within `below_peak_db` dB of its loudest frame (librosa)."""
    _, (start, stop) = librosa.effects.trim(wave, top_db=below_peak_db, frame_length=1024, hop_length=256)
    return float(start) / len(wave), 1 - float(stop) / len(wave)


def impulses(wave: np.ndarray, sample_rate: int) -> int:
    """Number of single samples of a waveform [T] that are out of line with all around them.

    Damage does that: a wrong byte in a file of 16 bits, which no decoder notices. A sample's bend is its distance from
    the mean of its neighbours; it counts where it is IMPULSE_RATIO times as large as any other nearby.
    """
    half = round(IMPULSE_SPAN * sample_rate / 2)
    if len(wave) < 3:
        return 0
    bend = np.abs(wave[1:-1] - (wave[:-2] + wave[2:]) / 2)
    # The sharpest of the spans before and after each: its own bend and the halves of it beside it are in neither.
    centre = half + 2
    sharpest = maximum_filter1d(np.pad(bend, centre), 2 * half + 1, mode="constant")
    around = np.maximum(sharpest[: len(bend)], sharpest[2 * centre :])
    return int(np.count_nonzero((bend > SMALLEST_IMPULSE) & (bend > IMPULSE_RATIO * around)))


def bandwidth(wave: np.ndarray, sample_rate: int) -> float:
    """The highest frequency, in Hz, at which a waveform [T] has speech.

    Speech is what comes and goes (a band's loud frames are MODULATION_DB above its quiet ones) and is loud enough
    (DYNAMIC_RANGE_DB below the loudest band). A file of 8 kHz resampled to 22 kHz has some 4 kHz, and so has one that
    was encoded for a telephone.
    """
    size = round(SPECTRUM_SECONDS * sample_rate)
    if len(wave) < 2 * size:
        wave = np.pad(wave, (0, 2 * size - len(wave)))
    transform = ShortTimeFFT(blackmanharris(size), size // 2, sample_rate)
    power = np.abs(transform.stft(wave.astype(np.float64) - wave.mean())) ** 2  # [bins, F]
    per_band = max(1, round(BAND_HZ / transform.delta_f))
    bands = len(power) // per_band
    levels = power[: bands * per_band].reshape(bands, per_band, -1).mean(1)
    quiet, loud = (10 * np.log10(np.percentile(levels, q, axis=1) + 1e-20) for q in (10, 95))
    speech = np.flatnonzero((loud > quiet + MODULATION_DB) & (loud > loud.max() - DYNAMIC_RANGE_DB))
    return float((speech.max(initial=-1) + 1) * per_band * transform.delta_f)
