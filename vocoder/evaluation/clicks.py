"""Clicks: isolated impulses in a waveform that its recording does not have."""

import numpy as np
import torch

from vocoder.evaluation.results import Artefact

SEGMENT = 0.02  # seconds of the segments whose spectrum whitens the waveform: speech is stationary for about so long
SMOOTHING = 0.0007  # seconds: keeps the correlation of formants; that of pitch (2 ms and more) would ring as long
DYNAMIC_RANGE = 1e-5  # power: bands further below the mean than 50 dB hold leakage of the window and no information
QUANTISATION = 1 / 32768**2 / 12  # power of the rounding to 16 bits
BLOCK = 0.002  # seconds: no two glottal pulses are so near to each other
SURROUNDINGS = 12  # blocks to each side: 24 ms hold two pulses of the deepest voices
NEIGHBOURS = 1  # blocks to each side that the response of a click itself reaches
RANK = 3  # of the surrounding peak to exceed, so that two more clicks nearby do not hide one
ABOVE_SURROUNDINGS = 2.5  # of WORLD's pulses, the sharpest of honest renditions, hardly one exceeds it
ABOVE_RECORDING = 2.5  # a plosive rendered 3 dB louder, and not quite the same, stays below
SMALLEST = 0.01  # of full scale: smaller ones in a pause are hardly heard


def find_clicks(waveform: np.ndarray, target: np.ndarray, sample_rate: int) -> list[Artefact]:
    """Impulses of one to a few samples in waveform [T] that stand out from what surrounds them and from target [T].

    For each sample the amplitude of an impulse there is estimated, as a matched filter does it in noise of the spectrum
    of the speech around it. Glottal pulses and plosives are impulses too; they differ in that others like them surround
    them, or that the recording has them at about the same time.
    """
    block, segment = round(BLOCK * sample_rate), 2 * round(SEGMENT * sample_rate / 2)
    if len(waveform) < 2 * segment:
        return []
    amplitude, target_amplitude = _impulses(waveform, target, segment, sample_rate)
    blocks = _blocks(amplitude, block)
    peaks, target_peaks = blocks.max(1), _blocks(target_amplitude, block).max(1)
    limit = np.maximum(ABOVE_SURROUNDINGS * _surrounding(peaks), ABOVE_RECORDING * _around(target_peaks).max(1))
    largest = peaks >= np.lib.stride_tricks.sliding_window_view(np.pad(peaks, 1), 3).max(1)
    found = np.flatnonzero(largest & (peaks > np.maximum(limit, SMALLEST)))
    places = found * block + blocks[found].argmax(1)
    return [Artefact("click", place / sample_rate, (place + 1) / sample_rate) for place in places.tolist()]


def _impulses(waveform: np.ndarray, target: np.ndarray, segment: int, sample_rate: int) -> tuple[np.ndarray, ...]:
    """Amplitudes of impulses [T] in waveform [T] and target [T], by the same filters.

    In stationary noise of spectrum S the best linear unbiased estimate is the waveform filtered by 1/S, divided by the
    mean of 1/S (Kay 1993, Fundamentals of Statistical Signal Processing: Estimation Theory, chapter 4).
    """
    spectrum, target_spectrum = _spectra(waveform, segment), _spectra(target, segment)
    power = _power(spectrum)
    # A click makes its own segments white, so take the segments on both sides that do not overlap with it; the
    # quieter one, because the other may hold a click too.
    steps = np.pad(power, ((2, 2), (0, 0)), mode="edge")
    noise = _smoothed(np.minimum(steps[:-4], steps[4:]) + _power(target_spectrum), sample_rate)
    noise += DYNAMIC_RANGE * noise.mean(1, keepdims=True) + np.float32(QUANTISATION)
    weights = 1 / noise
    weights /= (2 * weights.sum(1, keepdims=True) - weights[:, :1] - weights[:, -1:]) / (2 * segment)
    return tuple(np.abs(_overlap_add(s * weights, segment))[: len(waveform)] for s in (spectrum, target_spectrum))


def _window(segment: int) -> np.ndarray:
    """A Hann window whose copies at half its length add up to one."""
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(segment) / segment)).astype(np.float32)


def _spectra(waveform: np.ndarray, segment: int) -> np.ndarray:
    """[segments, segment + 1]: of twice the length, so that filtering does not wrap around."""
    padded = np.pad(waveform.astype(np.float32), (segment // 2, segment))
    segments = np.lib.stride_tricks.sliding_window_view(padded, segment)[:: segment // 2]
    return _rfft(np.pad(segments * _window(segment), ((0, 0), (0, segment))))


def _rfft(rows: np.ndarray) -> np.ndarray:
    """torch's FFT of real rows, several times as fast as NumPy's."""
    return torch.fft.rfft(torch.from_numpy(rows)).numpy()


def _irfft(rows: np.ndarray) -> np.ndarray:
    return torch.fft.irfft(torch.from_numpy(rows)).numpy()


def _power(spectrum: np.ndarray) -> np.ndarray:
    """Power spectra [segments, segment + 1], scaled to the power of a sample."""
    return (spectrum.real**2 + spectrum.imag**2) / np.square(_window(spectrum.shape[1] - 1)).sum()


def _smoothed(power: np.ndarray, sample_rate: int) -> np.ndarray:
    """Envelopes [segments, segment + 1] of power spectra: their correlation, faded out beyond SMOOTHING."""
    segment = power.shape[1] - 1
    lag = np.minimum(np.arange(2 * segment), 2 * segment - np.arange(2 * segment)) / sample_rate
    correlation = _irfft(power) * np.exp(-0.5 * (lag / SMOOTHING) ** 2).astype(np.float32)
    return np.maximum(_rfft(correlation).real, 0)


def _overlap_add(spectrum: np.ndarray, segment: int) -> np.ndarray:
    """The waveform of filtered segments; its first sample is the waveform's."""
    half = segment // 2
    pieces = _irfft(spectrum)
    pieces = np.roll(pieces, half, axis=1)  # the filter is symmetric: responses reach to both sides
    quarters = pieces.reshape(len(pieces), 4, half)
    out = np.zeros((len(pieces) + 3, half), np.float32)
    for i in range(4):
        out[i : i + len(pieces)] += quarters[:, i]
    return out.reshape(-1)[segment:]  # half a segment of padding, and half of the roll


def _blocks(values: np.ndarray, block: int) -> np.ndarray:
    return np.pad(values, (0, -len(values) % block)).reshape(-1, block)


def _around(peaks: np.ndarray) -> np.ndarray:
    """[B, 2 SURROUNDINGS + 1]: each block's peak among its surroundings."""
    return np.lib.stride_tricks.sliding_window_view(np.pad(peaks, SURROUNDINGS, mode="reflect"), 2 * SURROUNDINGS + 1)


def _surrounding(peaks: np.ndarray) -> np.ndarray:
    """The RANK-th largest peak around each block [B], without the block and its neighbours."""
    around = _around(peaks)
    others = np.delete(around, np.arange(SURROUNDINGS - NEIGHBOURS, SURROUNDINGS + NEIGHBOURS + 1), axis=1)
    return np.partition(others, -RANK, axis=1)[:, -RANK]
