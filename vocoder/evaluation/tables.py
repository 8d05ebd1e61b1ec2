"""The results of an evaluation as files: results.json, utterances.csv and summary.csv."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from vocoder.evaluation.measures import MEASURES, Measure
from vocoder.evaluation.results import Evaluation
from vocoder.files import atomic_write, write_json

FORMAT = 1


def write_tables(folder: Path, evaluation: Evaluation) -> None:
    """Write results.json, utterances.csv and summary.csv.

    Raises:
        UserError: the folder cannot be written.
    """
    write_json(folder / "results.json", results(evaluation))
    write_csv(folder / "utterances.csv", utterance_rows(evaluation))
    write_csv(folder / "summary.csv", summary_rows(evaluation))


def results(evaluation: Evaluation) -> dict[str, Any]:
    """Everything, as results.json holds it."""
    systems = [system.name for system in evaluation.systems]
    return {
        "format": FORMAT,
        "settings": evaluation.settings,
        "measures": [asdict(measure) for measure in measures_of(evaluation)],
        "systems": [asdict(system) for system in evaluation.systems],
        "summary": {name: _summaries(evaluation, name) for name in systems},
        "bits_by_level": {name: bits_by_level(evaluation, name) for name in systems},
        "bits_by_speaker": {name: bits_by_speaker(evaluation, name) for name in systems},
        "utterances": [asdict(utterance) for utterance in evaluation.utterances],
        "failures": evaluation.failures,
    }


def _summaries(evaluation: Evaluation, system: str) -> dict[str, Any]:
    intervals = {m.name: evaluation.summary(system, m.name) for m in measures_of(evaluation)}
    return {name: asdict(interval) for name, interval in intervals.items() if interval is not None}


def measures_of(evaluation: Evaluation) -> list[Measure]:
    """The measures of which any rendition has a value, in their usual order."""
    found = {name for u in evaluation.utterances for r in u.renditions.values() for name in r.values}
    return [measure for measure in MEASURES if measure.name in found]


def bits_by_level(evaluation: Evaluation, system: str) -> dict[str, float]:
    """Bits per sample of the frames in each band of level, over all utterances."""
    totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for utterance in evaluation.utterances:
        rendition = utterance.renditions.get(system)
        for band, (bits, samples) in (rendition.bits_by_level if rendition else {}).items():
            totals[band][0] += bits
            totals[band][1] += samples
    return {band: bits / samples for band, (bits, samples) in totals.items()}


def bits_by_speaker(evaluation: Evaluation, system: str) -> dict[str, float]:
    """Bits per sample of each speaker's utterances, weighted by their length; empty without speakers."""
    totals: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for utterance in evaluation.utterances:
        rendition = utterance.renditions.get(system)
        if utterance.speaker is not None and rendition and "bits" in rendition.values:
            totals[utterance.speaker][0] += rendition.values["bits"] * utterance.seconds
            totals[utterance.speaker][1] += utterance.seconds
    return {speaker: bits / seconds for speaker, (bits, seconds) in totals.items()}


def utterance_rows(evaluation: Evaluation) -> Iterable[Sequence[object]]:
    """A header, then a row for each rendition."""
    names = [measure.name for measure in measures_of(evaluation)]
    yield ["id", "system", "speaker", "seconds", "wav", *names]
    for utterance in evaluation.utterances:
        for system, r in utterance.renditions.items():
            values = [r.values.get(name, "") for name in names]
            yield [utterance.id, system, utterance.speaker or "", f"{utterance.seconds:.3f}", r.wav, *values]


def summary_rows(evaluation: Evaluation) -> Iterable[Sequence[object]]:
    """A header, then a row for each system and measure: the mean over utterances and its confidence interval."""
    yield ["system", "measure", "unit", "mean", "low", "high", "utterances", "seed_spread"]
    for system in evaluation.systems:
        for measure in measures_of(evaluation):
            found = evaluation.summary(system.name, measure.name)
            if found is not None:
                spread = "" if found.seed_spread is None else found.seed_spread
                values = [found.mean, found.low, found.high, found.count, spread]
                yield [system.name, measure.name, measure.unit, *values]


def write_csv(path: Path, rows: Iterable[Sequence[object]]) -> None:
    """Write rows as UTF-8 CSV, atomically. Raises UserError where it cannot be written."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    with atomic_write(path) as partial:
        partial.write_text(text.getvalue(), encoding="utf-8")


def markdown_summary(evaluation: Evaluation) -> str:
    """A Markdown table: a row for each system, a column for each measure, the mean and half of its interval."""
    measures = measures_of(evaluation)
    header = [f"{m.title} ({m.unit})" if m.unit else m.title for m in measures]
    lines = ["| | " + " | ".join(header) + " |", "| --- |" + " --- |" * len(measures)]
    for system in evaluation.systems:
        cells = []
        for measure in measures:
            found = evaluation.summary(system.name, measure.name)
            cells.append(
                f"{found.mean:.{measure.digits}f} ± {(found.high - found.low) / 2:.{measure.digits}f}" if found else ""
            )
        lines.append(f"| {system.name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)
