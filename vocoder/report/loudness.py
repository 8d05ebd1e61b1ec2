"""Loudness in LUFS, for playing all versions of an utterance equally loud. ITU-R BS.1770-4, one channel.

T samples, N blocks.
"""

import math

import numpy as np

BLOCK_SECONDS = 0.4
OVERLAP = 0.75
ABSOLUTE_GATE = -70.0  # LUFS
RELATIVE_GATE = -10.0  # LU below the mean of what passes the absolute gate
OFFSET = -0.691  # dB; the standard's, which makes 997 Hz at full scale -3.01 LUFS
# The standard tabulates its two filters for 48 kHz. These are the analogue parameters behind them (De Man 2014,
# "Evaluation of implementations of the EBU R128 loudness measurement"), from which they follow for any rate.
SHELF_HZ, SHELF_DB, SHELF_Q = 1681.974450955533, 3.999843853973347, 0.7071752369554196
HIGHPASS_HZ, HIGHPASS_Q = 38.13547087602444, 0.5003270373238773


def loudness(wave: np.ndarray, sample_rate: int) -> float:
    """Integrated loudness of a waveform [T] in LUFS; -inf where all of it is below the absolute gate.

    A wave shorter than a block counts as one block.
    """
    power = block_powers(k_weighted(np.asarray(wave, np.float64), sample_rate), sample_rate)
    power = power[_lufs(power) > ABSOLUTE_GATE]
    if not len(power):
        return -math.inf
    power = power[_lufs(power) > _lufs(power.mean()) + RELATIVE_GATE]
    return float(_lufs(power.mean()))


def block_powers(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Mean squares [N] of overlapping blocks of 400 ms of a wave [T]; an incomplete last block is left out."""
    size = min(len(wave), round(BLOCK_SECONDS * sample_rate))
    hop = max(1, round(size * (1 - OVERLAP)))
    sums = np.concatenate([[0.0], np.cumsum(wave**2)])
    starts = np.arange(0, len(wave) - size + 1, hop)
    return (sums[starts + size] - sums[starts]) / max(size, 1)


def k_weighted(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """A wave [T] through the standard's head and high-pass filters.

    They are applied as a product of spectra. The padding of a second holds their decay, which takes
    some 50 ms.
    """
    size = 2 ** math.ceil(math.log2(len(wave) + sample_rate))
    z = np.exp(-2j * np.pi * np.fft.rfftfreq(size))
    response = _biquad(*_shelf(sample_rate), z) * _biquad(*_highpass(sample_rate), z)
    return np.fft.irfft(np.fft.rfft(wave, size) * response, size)[: len(wave)]


def _lufs(power: np.ndarray) -> np.ndarray:
    return OFFSET + 10 * np.log10(np.maximum(power, 1e-20))


def _biquad(numerator: tuple[float, ...], denominator: tuple[float, ...], z: np.ndarray) -> np.ndarray:
    """The response at z, which is e^(-iω)."""
    return np.polyval(numerator[::-1], z) / np.polyval(denominator[::-1], z)


def _shelf(sample_rate: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    k = math.tan(math.pi * SHELF_HZ / sample_rate)
    high = 10 ** (SHELF_DB / 20)
    middle = high**0.4996667741545416  # about the root of the gain; the exponent that reproduces the table
    scale = 1 + k / SHELF_Q + k * k
    numerator = (high + middle * k / SHELF_Q + k * k, 2 * (k * k - high), high - middle * k / SHELF_Q + k * k)
    denominator = (1.0, 2 * (k * k - 1) / scale, (1 - k / SHELF_Q + k * k) / scale)
    return tuple(value / scale for value in numerator), denominator


def _highpass(sample_rate: int) -> tuple[tuple[float, ...], tuple[float, ...]]:
    k = math.tan(math.pi * HIGHPASS_HZ / sample_rate)
    scale = 1 + k / HIGHPASS_Q + k * k
    return (1.0, -2.0, 1.0), (1.0, 2 * (k * k - 1) / scale, (1 - k / HIGHPASS_Q + k * k) / scale)
