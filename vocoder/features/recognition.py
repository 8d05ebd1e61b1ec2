"""Which preset a mel of unknown origin looks like, to a model that expects one preset.

Every band of the model's training data has a mean and a standard deviation. A reading of the given values (as another
preset, as normalised ones, as amplitudes without a logarithm) maps them to the values that the model would have got.
The right reading gives values that are likely under the training data; the log-likelihoods per value are compared:

    log p(v | reading) = log t((m(v) + level - mean) / std) + log |dm/dv|       v given, m(v) the model's value

t is Student's, so that pauses quieter than any in training count no more than other surprises. The level that fits best
is chosen within `LEVELS`, because recordings differ in it. A change of unit is charged by its derivative, or shrinking
everything to the mean would always win. Values below the model's floor are clipped to it, and get no credit there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from vocoder.features.mel_check import possible_range
from vocoder.features.presets import PRESETS
from vocoder.features.spec import MelSpec, hann_window, input_response, mel_filterbank

MARGIN = 0.3  # nats per value by which another reading must be likelier; docs/mels.md has the measurement
CLIPPED_MARGIN = 0.1  # … where the model's spec clips both ends, and nothing in the mel is clipped
ATOM = 0.005  # share of values exactly at the lowest one that shows where a logarithm was floored
MIN_FRAMES = 20  # fewer say too little about the speech in them
MAX_FRAMES = 500  # more say nothing new
LEVELS = (-1.0, 0.0, 1.0)  # nepers by which a mel may be louder (-) or quieter than training data
FLOOR_TOLERANCE = 1e-3
NARROWEST = 0.5  # nepers: the standard deviation of a band in which training data hardly varied
DEGREES = 4.0  # of freedom of Student's distribution


@dataclass(frozen=True)
class MelStatistics:
    """Mean and standard deviation of each band of a model's training data, in values of its mel."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


@dataclass(frozen=True)
class Reading:
    """A way to read values as a mel, and what to do about it."""

    name: str
    advice: str  # the setting that makes it right, if there is one
    likelihood: float  # nats per value, without constants


def recognise(mel: np.ndarray, spec: MelSpec, statistics: MelStatistics) -> Reading | None:
    """The reading that is likelier than the mel [n_mels, F] as it is by more than the margin; None for no such.

    Presets with the same logarithm, scale and filter norm give nearly the same values: those are not told apart.
    """
    if mel.shape[1] < MIN_FRAMES or np.ptp(mel) < 1 / spec.log_unit:  # silence could be anyone's
        return None
    mel = mel[:, :: -(-mel.shape[1] // MAX_FRAMES)].astype(np.float64)
    model = _Model(spec, statistics)
    found, floor = list(readings(mel, model)), floor_of(mel)
    if floor is not None:
        same_floor = [reading for reading in found if _has_floor(reading.name, floor)]
        if same_floor and abs(floor - spec.log_minimum) > FLOOR_TOLERANCE:
            return max(same_floor, key=lambda reading: reading.likelihood)
        found = same_floor or found
    best = max(found, key=lambda reading: reading.likelihood, default=None)
    own = model.likelihood(mel, np.zeros(()))
    return best if best is not None and best.likelihood > own + _margin(mel, spec, floor) else None


def _margin(mel: np.ndarray, spec: MelSpec, floor: float | None) -> float:
    if not can_have_made(mel, spec):
        return 0.0
    return CLIPPED_MARGIN if spec.log_ceiling is not None and floor is None else MARGIN


def floor_of(mel: np.ndarray) -> float | None:
    """The lowest value, where so many values equal it that a logarithm's argument was floored there."""
    lowest = float(mel.min())
    return lowest if (mel <= lowest + FLOOR_TOLERANCE).mean() >= ATOM else None


def _has_floor(name: str, floor: float) -> bool:
    return name in PRESETS and abs(PRESETS[name].log_minimum - floor) <= FLOOR_TOLERANCE


class _Model:
    """The spec and the training data that readings are judged by."""

    def __init__(self, spec: MelSpec, statistics: MelStatistics) -> None:
        self.spec = spec
        self.mean, std = (np.array(values)[:, None] for values in (statistics.mean, statistics.std))
        self.std = np.maximum(std, NARROWEST / spec.log_unit)
        # Bands that are at the floor in all training data, as above the band of telephone speech, say nothing.
        heard = self.mean[:, 0] > spec.log_minimum + NARROWEST / spec.log_unit
        self.bands = heard if heard.any() else ~heard

    def likelihood(self, read: np.ndarray, log_derivative: np.ndarray) -> float:
        """Nats per value of `read` [n_mels, F], at the level that fits best."""
        credit = np.broadcast_to(log_derivative, read.shape)[self.bands].mean()
        return max(self._at_level(read + level / self.spec.log_unit) for level in LEVELS) + float(credit)

    def _at_level(self, read: np.ndarray) -> float:
        z = (np.maximum(read, self.spec.log_minimum) - self.mean) / self.std
        return float(-0.5 * (DEGREES + 1) * np.log1p(z[self.bands] ** 2 / DEGREES).mean())


def readings(mel: np.ndarray, model: _Model) -> Iterator[Reading]:
    """Every way but the model's own to read the mel [n_mels, F] that its values allow."""
    spec = model.spec
    for name, preset in PRESETS.items():
        if preset.n_mels != spec.n_mels or preset == spec or not can_have_made(mel, preset):
            continue
        ratio = np.log(preset.log_unit / spec.log_unit)
        shift = (band_level(spec) - band_level(preset))[:, None]
        read = (preset.nepers(mel) + shift) / spec.log_unit + spec.log_offset
        derivative = np.where(read > spec.log_minimum, ratio, min(0.0, ratio))
        yield Reading(name, f"mel.from={name} converts it", model.likelihood(read, derivative))
    if abs(mel.mean()) < 0.5 and 0.5 < mel.std() < 1.5:
        advice = "mel.statistics=FILE, with the mean and scale that normalised them, undoes that"
        read = model.mean + model.std * mel
        yield Reading("normalised values", advice, model.likelihood(read, np.log(model.std)))
    if mel.min() >= 0:
        read = np.log(np.maximum(mel, 1e-10)) / (spec.log_unit * spec.power) + spec.log_offset
        derivative = np.where(read > spec.log_minimum, -np.log(np.maximum(mel, 1e-10) * spec.log_unit), 0.0)
        yield Reading("a mel without logarithm", "take the logarithm first", model.likelihood(read, derivative))


def can_have_made(mel: np.ndarray, spec: MelSpec) -> bool:
    """Whether the spec can have produced the values, with the overshoot of an acoustic model."""
    lowest, highest = possible_range(spec)
    return bool(mel.min() >= lowest and mel.max() <= highest)


@lru_cache(maxsize=64)
def band_level(spec: MelSpec) -> np.ndarray:
    """What white noise of one density per hertz has in each band [n_mels], in nepers; no band lies below -23."""
    magnitude = (spec.sample_rate * hann_window(spec).square().sum()).sqrt() * input_response(spec)
    return np.log(np.maximum((mel_filterbank(spec) @ magnitude**spec.power).numpy(), 1e-10)) / spec.power
