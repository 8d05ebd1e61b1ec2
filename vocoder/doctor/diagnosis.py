"""The examinations of a corpus summed up: totals, distributions, and what deserves attention."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from vocoder.data.level import corpus_level
from vocoder.doctor.examination import Examination

CLIPPED_SECONDS = 0.002  # a few flat tops are heard as crackle
OFFSET = 0.01  # of full scale; less is inaudible, and far below the level of speech
NOISE_RANGE_DB = 12.0  # between loudness and noise floor; clean sentences without a pause have 14 and more
SILENCE_SECONDS = 0.5  # at one end
LOUDNESS_DB = 10.0  # from the corpus's median: one gain for the corpus cannot mend it
NARROW = 0.8  # of the band that the recording could have
WIDEST_BAND = 11025.0  # Hz: what models of 22.05 kHz can use


@dataclass(frozen=True)
class Limits:
    """What preprocessing skips; its settings of the same names."""

    min_seconds: float = 0.3
    silence_peak: float = 0.001
    peak: float | None = 0.7  # what its gain brings the corpus to, which decides who is at another scale


@dataclass(frozen=True)
class Finding:
    """A kind of trouble, what to do about it, and whom it concerns: (id, details)."""

    title: str
    advice: str
    items: list[tuple[str, str]]


@dataclass(frozen=True)
class Distribution:
    """Of a measure over the usable recordings: percentiles 0, 5, 50, 95 and 100."""

    low: float
    p5: float
    median: float
    p95: float
    high: float


@dataclass(frozen=True)
class Diagnosis:
    """A corpus.

    Attributes:
        hours: of the usable recordings; by speaker, and by the corpus's own split, where it has them.
        counts: of sample rates, channels, formats and widths over all that could be opened.
    """

    root: str
    layout: str
    examinations: list[Examination]
    hours: float
    speakers: dict[str, float]
    splits: dict[str, float]
    counts: dict[str, dict[str, int]]
    distributions: dict[str, Distribution]
    findings: list[Finding]

    @property
    def usable(self) -> list[Examination]:
        return [each for each in self.examinations if each.usable]


MEASURES = {  # name: title, unit, digits
    "seconds": ("duration", "s", 2),
    "loudness": ("loudness", "LUFS", 1),
    "peak": ("peak", "of full scale", 3),
    "noise_floor": ("noise floor", "dBFS", 1),
    "leading": ("silence before", "s", 2),
    "trailing": ("silence after", "s", 2),
    "bandwidth": ("bandwidth", "Hz", 0),
    "offset": ("DC offset", "of full scale", 4),
}


def diagnose(root: str, layout: str, examinations: Iterable[Examination], limits: Limits = Limits()) -> Diagnosis:
    """Sum up the examinations of the corpus at `root`, in its order."""
    examined = _without_taken_ids(_within_limits(list(examinations), limits))
    usable = [each for each in examined if each.usable]
    return Diagnosis(
        root=root,
        layout=layout,
        examinations=examined,
        hours=_hours(usable),
        speakers=_hours_by(usable, lambda each: each.speaker),
        splits=_hours_by(usable, lambda each: each.split),
        counts={
            name: _counts(getattr(each, name) for each in examined)
            for name in ("sample_rate", "channels", "format", "width")
        },
        distributions={name: found for name in MEASURES if (found := _distribution(usable, name))},
        findings=[finding for finding in _findings(examined, usable) if finding.items],
    )


def _within_limits(examinations: Sequence[Examination], limits: Limits) -> Iterator[Examination]:
    """The examinations; a recording that preprocessing skips for its level or its length has that as its problem."""
    peaks = [each.peak for each in examinations if each.peak is not None]
    level = corpus_level(peaks, limits.peak, limits.silence_peak)
    for each in examinations:
        problem = level.problem(each.peak) if each.usable and each.peak is not None else None
        if problem is None and each.usable and each.seconds is not None and each.seconds < limits.min_seconds:
            problem = f"too short ({each.seconds:.2f} s is below min_seconds={limits.min_seconds:g})"
        yield each if problem is None else replace(each, problem=f"{each.path}: {problem}")


def _without_taken_ids(examinations: Iterable[Examination]) -> list[Examination]:
    """As preprocessing does: of several usable recordings with one id the first is kept."""
    taken: set[str] = set()
    found = []
    for each in examinations:
        if each.usable and each.id in taken:
            each = replace(each, problem=f"{each.path}: another recording has the same id")
        if each.usable:
            taken.add(each.id)
        found.append(each)
    return found


def _hours(examinations: Iterable[Examination]) -> float:
    return sum(each.seconds or 0.0 for each in examinations) / 3600


def _hours_by(usable: Sequence[Examination], key: Callable[[Examination], str | None]) -> dict[str, float]:
    names = sorted({name for each in usable if (name := key(each)) is not None})
    return {name: _hours(each for each in usable if key(each) == name) for name in names}


def _counts(values: Iterable[object]) -> dict[str, int]:
    """How often each value occurs, the most frequent first."""
    return dict(Counter(str(value) for value in values if value is not None).most_common())


def _distribution(usable: Sequence[Examination], name: str) -> Distribution | None:
    values = [value for each in usable if (value := getattr(each, name)) is not None]
    return Distribution(*np.percentile(values, [0, 5, 50, 95, 100]).tolist()) if values else None


def _findings(examined: Sequence[Examination], usable: Sequence[Examination]) -> Iterable[Finding]:
    yield Finding(
        "Skipped by preprocessing",
        "Fetch damaged files again; the others need nothing.",
        [(each.id, each.problem) for each in examined if each.problem is not None],
    )
    yield _duplicates(usable)
    yield Finding(
        "Damaged samples",
        "Single samples are out of line with all around them, as after a wrong byte; fetch the files again.",
        [(each.id, _count(each.impulses, "sample")) for each in usable if each.impulses],
    )
    yield Finding(
        "Clipped",
        "Record again with less gain, or leave these out: a model learns the distortion.",
        [
            (each.id, f"{1000 * each.clipped:.0f} ms at flat tops (peak {each.peak:.3f})")
            for each in usable
            if each.clipped is not None and each.clipped >= CLIPPED_SECONDS
        ],
    )
    yield _narrow(usable)
    yield Finding(
        "Noisy",
        f"The noise floor is less than {NOISE_RANGE_DB:.0f} dB below the speech, and a model learns it, too.",
        [
            (each.id, f"floor {each.noise_floor:.0f} dBFS, speech {each.loudness:.0f} LUFS")
            for each in usable
            if each.noise_floor is not None
            and each.loudness is not None
            and each.loudness - each.noise_floor < NOISE_RANGE_DB
        ],
    )
    yield Finding(
        "DC offset",
        f"The mean is {OFFSET:g} of full scale or more from zero; highpass=20 removes it.",
        [
            (each.id, f"{each.offset:+.3f} of full scale")
            for each in usable
            if each.offset is not None and abs(each.offset) >= OFFSET
        ],
    )
    yield Finding(
        "Silence at the ends",
        "trim_db=40 removes it.",
        [
            (each.id, f"{each.leading:.2f} s before, {each.trailing:.2f} s after")
            for each in usable
            if max(each.leading or 0.0, each.trailing or 0.0) > SILENCE_SECONDS
        ],
    )
    yield _loudness_outliers(usable)


def _duplicates(usable: Sequence[Examination]) -> Finding:
    first: dict[str, str] = {}
    items = []
    for each in usable:
        original = first.setdefault(each.content or each.id, each.id)
        if original != each.id:
            items.append((each.id, f"the same audio as {original}"))
    return Finding("Duplicates", "Remove them, or a recording of the test split may be trained on.", items)


def _narrow(usable: Sequence[Examination]) -> Finding:
    items = [
        (each.id, f"speech up to {each.bandwidth:.0f} Hz at a rate of {each.sample_rate} Hz")
        for each in usable
        if each.bandwidth is not None
        and each.sample_rate is not None
        and each.bandwidth < NARROW * min(each.sample_rate / 2, WIDEST_BAND)
    ]
    advice = "Recorded or coded at a lower rate, then resampled: leave them out, or take a mel preset of that rate."
    return Finding("Narrow band", advice, items)


def _loudness_outliers(usable: Sequence[Examination]) -> Finding:
    values = [each.loudness for each in usable if each.loudness is not None]
    median = float(np.median(values)) if values else 0.0
    return Finding(
        "Loudness",
        f"More than {LOUDNESS_DB:.0f} dB from the corpus's median of {median:.0f} LUFS, which one gain does not mend; "
        f"loudness={median:.0f} loudness_of=recording does.",
        [
            (each.id, f"{each.loudness:.0f} LUFS")
            for each in usable
            if each.loudness is not None and abs(each.loudness - median) > LOUDNESS_DB
        ],
    )


def _count(number: int | None, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
