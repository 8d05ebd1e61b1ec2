"""Loudness in LUFS: ITU-R BS.1770-4, one channel. T samples."""

import math
from dataclasses import dataclass

import numpy as np
from scipy.signal import sosfilt

from vocoder.errors import UserError

LOWEST_RATE = 4000  # Hz; the shelf's frequency must be below half of it
BLOCK_SECONDS = 0.4
STEPS = 4  # in a block; a block begins with each step, so that blocks overlap by 75 %
ABSOLUTE_GATE = -70.0  # LUFS
RELATIVE_GATE = -10.0  # LU below the mean of what passes the absolute gate
OFFSET = -0.691  # dB; the standard's, which makes 997 Hz at full scale -3.01 LUFS
# The standard tabulates its two filters for 48 kHz. These are the analogue parameters behind them (De Man 2014,
# "Evaluation of implementations of the EBU R128 loudness measurement"), from which they follow for any rate.
SHELF_HZ, SHELF_DB, SHELF_Q = 1681.974450955533, 3.999843853973347, 0.7071752369554196
HIGHPASS_HZ, HIGHPASS_Q = 38.13547087602444, 0.5003270373238773


@dataclass(frozen=True)
class GatedPower:
    """The blocks of a recording that pass both gates: their number, and their mean square after K-weighting."""

    power: float
    blocks: int

    @property
    def lufs(self) -> float:
        """The loudness; -inf where no block passes."""
        return float(_lufs(np.array(self.power))) if self.blocks else -math.inf


def loudness(wave: np.ndarray, sample_rate: int) -> float:
    """Integrated loudness of a waveform [T] in LUFS; -inf where all of it is below the absolute gate.

    A wave shorter than a block counts as one block. At rates below LOWEST_RATE loudness is not defined: NaN.
    """
    if sample_rate < LOWEST_RATE:
        return math.nan
    meter = LoudnessMeter(sample_rate)
    meter.add(wave)
    return meter.gated().lufs


class LoudnessMeter:
    """The loudness of a waveform that arrives in blocks: `add` each, then `gated`.

    Memory grows by 10 numbers a second.

    Raises:
        UserError: the rate is below LOWEST_RATE.
    """

    def __init__(self, sample_rate: int) -> None:
        if sample_rate < LOWEST_RATE:
            raise UserError(f"loudness is not defined at {sample_rate} Hz; from {LOWEST_RATE} Hz it is")
        self._filters = _k_filters(sample_rate)
        self._state = np.zeros((len(self._filters), 2))
        self._step = round(BLOCK_SECONDS / STEPS * sample_rate)
        self._rest = np.zeros(0)
        self._energies: list[np.ndarray] = []  # of steps

    def add(self, block: np.ndarray) -> None:
        """Add samples [n]."""
        weighted, self._state = sosfilt(self._filters, np.asarray(block, np.float64), zi=self._state)
        weighted = np.concatenate([self._rest, weighted])
        whole = len(weighted) // self._step * self._step
        self._energies.append(np.square(weighted[:whole]).reshape(-1, self._step).sum(1))
        self._rest = weighted[whole:]

    def gated(self) -> GatedPower:
        """What passes the gates so far; an incomplete last block is left out, unless it is the only one."""
        energies = np.concatenate([np.zeros(0), *self._energies])
        if len(energies) < STEPS:
            samples = len(energies) * self._step + len(self._rest)
            power = np.array([(energies.sum() + np.square(self._rest).sum()) / max(samples, 1)])
        else:
            sums = np.cumsum(np.concatenate([[0.0], energies]))
            power = (sums[STEPS:] - sums[:-STEPS]) / (STEPS * self._step)
        power = power[_lufs(power) > ABSOLUTE_GATE]
        if not len(power):
            return GatedPower(0.0, 0)
        power = power[_lufs(power) > _lufs(power.mean()) + RELATIVE_GATE]
        return GatedPower(float(power.mean()), len(power))


def k_weighted(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """A wave [T] through the standard's head and high-pass filters."""
    weighted: np.ndarray = sosfilt(_k_filters(sample_rate), wave)
    return weighted


def _lufs(power: np.ndarray) -> np.ndarray:
    return OFFSET + 10 * np.log10(np.maximum(power, 1e-20))


def _k_filters(sample_rate: int) -> np.ndarray:
    """Both filters as second-order sections [2, 6]."""
    return np.array(
        [(*numerator, *denominator) for numerator, denominator in (_shelf(sample_rate), _highpass(sample_rate))]
    )


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
