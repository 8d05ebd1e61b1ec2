"""A high-pass filter against what is below speech: rumble, hum and a constant offset."""

import numpy as np
from scipy.signal import butter, sosfiltfilt

ORDER = 4  # of the Butterworth filter; it runs forwards and backwards, so that its slope is 48 dB an octave
PADDED_PERIODS = 3  # of the cutoff frequency at each end, in which the filter settles
HIGHEST = 500.0  # Hz, excluded: half of the lowest sample rate that is read


def high_passed(waveform: np.ndarray, sample_rate: int, cutoff: float) -> np.ndarray:
    """A waveform [T] without what is below `cutoff` (Hz), where the filter takes 6 dB; float32 [T], without delay."""
    padding = min(len(waveform) - 1, round(PADDED_PERIODS * sample_rate / cutoff))
    sections = butter(ORDER, cutoff, "highpass", fs=sample_rate, output="sos")
    filtered: np.ndarray = sosfiltfilt(sections, waveform.astype(np.float64), padlen=padding)
    return filtered.astype(np.float32)
