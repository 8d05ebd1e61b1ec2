"""The results of an evaluation: what each system makes of each utterance, and their summary."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

RESAMPLINGS = 2000  # of the bootstrap
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Artefact:
    """A fault that a detector found, in seconds from the start of the utterance."""

    kind: str  # "click", "clipping" or "collapse"
    start: float
    stop: float


@dataclass(frozen=True)
class System:
    """Something that makes waves of mels, or the original itself."""

    name: str  # key in results.json, and folder of its wavs
    kind: Literal["original", "baseline", "model", "folder"]
    details: dict[str, str] = field(default_factory=dict)  # shown as they are: engine, steps, real-time factor, …


@dataclass(frozen=True)
class Rendition:
    """An utterance as one system renders it.

    Attributes:
        wav: path relative to the evaluation's folder.
        values: by the names of measures, the mean over seeds; what does not apply is left out.
        by_seed: the values of each sampling seed, if there is more than one.
        artefacts: what the detectors found in the wav.
        bits_by_level: total bits and samples of the frames whose level lies in each band ("-40 to -20 dBFS").
    """

    wav: str
    values: dict[str, float]
    by_seed: list[dict[str, float]] = field(default_factory=list)
    artefacts: list[Artefact] = field(default_factory=list)
    bits_by_level: dict[str, tuple[float, int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Utterance:
    """An utterance and its renditions, by the names of systems; the original is one of them."""

    id: str
    seconds: float
    speaker: str | None
    renditions: dict[str, Rendition]

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Utterance":
        """The inverse of `dataclasses.asdict`, after JSON has made lists of tuples."""
        renditions = {name: _rendition_from_json(values) for name, values in record["renditions"].items()}
        return cls(record["id"], record["seconds"], record["speaker"], renditions)


def _rendition_from_json(record: Mapping[str, Any]) -> Rendition:
    return Rendition(
        wav=record["wav"],
        values=record["values"],
        by_seed=record["by_seed"],
        artefacts=[Artefact(**artefact) for artefact in record["artefacts"]],
        bits_by_level={band: (bits, samples) for band, (bits, samples) in record["bits_by_level"].items()},
    )


@dataclass(frozen=True)
class Interval:
    """A mean over utterances, and its bootstrap confidence interval."""

    mean: float
    low: float
    high: float
    count: int  # of utterances
    seed_spread: float | None = None  # standard deviation over sampling seeds of the mean over utterances


@dataclass(frozen=True)
class Evaluation:
    """All results of a run of vocoder-evaluate."""

    systems: list[System]
    utterances: list[Utterance]
    settings: dict[str, str]
    failures: list[str] = field(default_factory=list)

    def summary(self, system: str, measure: str) -> Interval | None:
        """Mean and confidence interval of a measure of a system; None if no utterance has a value."""
        found = [u.renditions[system] for u in self.utterances if system in u.renditions]
        found = [rendition for rendition in found if measure in rendition.values]
        if not found:
            return None
        low, high = confidence_interval([rendition.values[measure] for rendition in found])
        mean = float(np.mean([rendition.values[measure] for rendition in found]))
        return Interval(mean, low, high, len(found), _seed_spread(found, measure))


def _seed_spread(renditions: Sequence[Rendition], measure: str) -> float | None:
    """Standard deviation over seeds of the mean over utterances; None with fewer than two seeds."""
    seeds = min(len(rendition.by_seed) for rendition in renditions)
    if seeds < 2 or any(measure not in values for r in renditions for values in r.by_seed):
        return None
    means = [np.mean([rendition.by_seed[seed][measure] for rendition in renditions]) for seed in range(seeds)]
    return float(np.std(means, ddof=1))


def confidence_interval(values: Sequence[float], confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean of values [N] (Efron 1979), the same in every call.

    A single value gives an interval of no width, which says nothing about the mean.
    """
    array = np.asarray(values, np.float64)
    generator = np.random.default_rng(0)
    means = array[generator.integers(len(array), size=(RESAMPLINGS, len(array)))].mean(1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)
