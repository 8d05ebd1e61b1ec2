"""What the page says: tables of the summary for its template, and the data of its script."""

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from vocoder.evaluation.measures import Measure
from vocoder.evaluation.results import Evaluation, Interval, System
from vocoder.evaluation.tables import bits_by_level, bits_by_speaker, measures_of

MISSING = "–"
DIRECTIONS = {
    "lower": ("↓", "lower is better"),
    "higher": ("↑", "higher is better"),
    "zero": ("→ 0", "nearest to zero is best"),
}
FAMILIES = {  # one table for each, so that none is much wider than a page
    "Likelihood and coding": ("bits", "flac_bits"),
    "Spectrum": ("log_mel", "stft", "convergence", "mcd"),
    "Pitch and voicing": ("f0_rmse", "voicing_error", "voicing_f1", "gross_pitch_error"),
    "Predicted quality and intelligibility": ("pesq_wb", "pesq_nb", "stoi", "estoi", "mos"),
    "Faults and levels": ("noise_floor", "noise_excess", "clicks", "clipping", "collapse", "level_drift", "dc"),
}
OTHERS = "Other measures"


@dataclass(frozen=True)
class Cell:
    """A mean as text, with what is known of its certainty; empty texts are not shown."""

    mean: str
    interval: str = ""
    seeds: str = ""
    count: str = ""
    best: bool = False


@dataclass(frozen=True)
class Table:
    """A row of cells for each system."""

    title: str
    columns: list[Any]
    rows: list[tuple[System, list[Any]]]


def number(value: float | None, digits: int) -> str:
    """A value with a fixed number of decimals and a typographic minus sign; a dash for none, NaN and infinity."""
    if value is None or not math.isfinite(value):
        return MISSING
    text = f"{value:.{digits}f}"
    return text.replace("-", "−") if float(text) else text.lstrip("-")


def duration(seconds: float) -> str:
    """A duration as text, in a unit that suits it."""
    if seconds < 100:
        return f"{seconds:.1f} seconds"
    return f"{seconds / 60:.1f} minutes" if seconds < 100 * 60 else f"{seconds / 3600:.1f} hours"


def summary_tables(evaluation: Evaluation) -> list[Table]:
    """A table for each family of measures that any system has a value of."""
    measures = measures_of(evaluation)
    families = [(title, [m for m in measures if m.name in names]) for title, names in FAMILIES.items()]
    known = {name for names in FAMILIES.values() for name in names}
    families.append((OTHERS, [m for m in measures if m.name not in known]))
    return [_summary_table(evaluation, title, chosen) for title, chosen in families if chosen]


def _summary_table(evaluation: Evaluation, title: str, measures: list[Measure]) -> Table:
    columns = [_column(evaluation, measure) for measure in measures]
    measured = [system for system in evaluation.systems if _has_any(evaluation, system, measures)]
    return Table(title, measures, [(s, [column[s.name] for column in columns]) for s in measured])


def _has_any(evaluation: Evaluation, system: System, measures: list[Measure]) -> bool:
    renditions = [u.renditions[system.name] for u in evaluation.utterances if system.name in u.renditions]
    return any(measure.name in rendition.values for rendition in renditions for measure in measures)


def _column(evaluation: Evaluation, measure: Measure) -> dict[str, Cell]:
    """Cells by the names of systems."""
    found = {system.name: evaluation.summary(system.name, measure.name) for system in evaluation.systems}
    best = best_systems(evaluation, measure, found)
    total = len(evaluation.utterances)
    return {name: _cell(interval, measure, total, name in best) for name, interval in found.items()}


def best_systems(evaluation: Evaluation, measure: Measure, found: Mapping[str, Interval | None]) -> set[str]:
    """The names of the systems with the best mean, the original aside; empty where all have the same."""
    means = {
        system.name: interval.mean
        for system in evaluation.systems
        if system.kind != "original" and (interval := found[system.name]) and math.isfinite(interval.mean)
    }
    if len(set(means.values())) < 2:
        return set()
    return {name for name, mean in means.items() if not any(measure.is_better(o, mean) for o in means.values())}


def _cell(found: Interval | None, measure: Measure, total: int, best: bool) -> Cell:
    if found is None or not math.isfinite(found.mean):
        return Cell(MISSING)
    low, high = number(found.low, measure.digits), number(found.high, measure.digits)
    spread = found.seed_spread
    return Cell(
        mean=number(found.mean, measure.digits),
        interval=f"{low} to {high}" if found.count > 1 else "",  # of a single utterance it says nothing
        seeds="" if spread is None or not math.isfinite(spread) else f"±{number(spread, measure.digits)}",
        count="" if found.count == total else f"n = {found.count}",
        best=best,
    )


def bits_tables(evaluation: Evaluation) -> list[Table]:
    """Bits per sample by level and by speaker; a table with no values is left out."""
    tables = [
        _bits_table("Bits per sample by level of the recording", evaluation, bits_by_level),
        _bits_table("Bits per sample by speaker", evaluation, bits_by_speaker),
    ]
    return [table for table in tables if table.columns]


def _bits_table(title: str, evaluation: Evaluation, bits_of: Callable[[Evaluation, str], Mapping[str, float]]) -> Table:
    by_system = {system.name: bits_of(evaluation, system.name) for system in evaluation.systems}
    columns = _unique(column for bits in by_system.values() for column in bits)
    systems = [system for system in evaluation.systems if by_system[system.name]]
    rows = [(s, [number(by_system[s.name].get(column), 3) for column in columns]) for s in systems]
    return Table(title, columns, rows)


def _unique(items: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(items))


def first_system(evaluation: Evaluation) -> str:
    """The system that the list of utterances is sorted by at first: a model, else a folder, else a baseline."""
    order = ("model", "folder", "baseline", "original")
    return min(evaluation.systems, key=lambda system: order.index(system.kind)).name


def page_data(evaluation: Evaluation) -> dict[str, Any]:
    """What the page's script needs, except for sounds and pictures; values that are not finite are None."""
    measures = measures_of(evaluation)
    renditions = [
        [u.id, [[rendition.wav, rendition.values] for rendition in u.renditions.values()]]
        for u in evaluation.utterances
    ]
    return {
        "key": hashlib.sha256(json.dumps(renditions).encode()).hexdigest()[:16],  # of what the browser stores
        "systems": [{"name": system.name, "kind": system.kind} for system in evaluation.systems],
        "first": first_system(evaluation),
        "measures": [
            {"name": m.name, "title": m.title, "unit": m.unit, "better": m.better, "digits": m.digits} for m in measures
        ],
        "utterances": [
            {
                "id": utterance.id,
                "speaker": utterance.speaker,
                "seconds": utterance.seconds,
                "values": {name: _finite(r.values) for name, r in utterance.renditions.items()},
                "faults": {name: len(r.artefacts) for name, r in utterance.renditions.items()},
            }
            for utterance in evaluation.utterances
        ],
    }


def _finite(values: Mapping[str, float]) -> dict[str, float | None]:
    return {name: value if math.isfinite(value) else None for name, value in values.items()}
