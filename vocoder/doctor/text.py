"""A diagnosis as text for a terminal."""

from collections.abc import Iterator, Mapping

from vocoder.doctor.diagnosis import MEASURES, Diagnosis, Distribution, Finding
from vocoder.files import plain
from vocoder.report.content import duration, number

SHOWN = 5  # items of a finding, and speakers; the JSON and the page have all


def text_report(diagnosis: Diagnosis, commands: list[str]) -> str:
    """What was found, in lines."""
    return "\n".join([*_overview(diagnosis), *_measures(diagnosis), *_findings(diagnosis), *_advice(commands)])


def _overview(diagnosis: Diagnosis) -> Iterator[str]:
    total, usable = len(diagnosis.examinations), len(diagnosis.usable)
    of_usable = f"{usable} usable, {duration(3600 * diagnosis.hours)}"
    yield f"{plain(diagnosis.root)}: layout {diagnosis.layout}, {total} recordings, {of_usable}"
    if diagnosis.speakers:
        yield f"  speakers     {len(diagnosis.speakers)}: {_some_hours(diagnosis.speakers)}"
    if diagnosis.splits:
        yield f"  splits       {_some_hours(diagnosis.splits)}"
    for name, title in {
        "sample_rate": "sample rate",
        "channels": "channels",
        "format": "format",
        "width": "width",
    }.items():
        counts = diagnosis.counts[name]
        if counts:
            yield f"  {title:12} " + ", ".join(f"{value} ({count})" for value, count in counts.items())


def _some_hours(hours: Mapping[str, float]) -> str:
    shown = [f"{plain(name)} {duration(3600 * value)}" for name, value in list(hours.items())[:SHOWN]]
    return ", ".join(shown) + (", …" if len(hours) > SHOWN else "")


def _measures(diagnosis: Diagnosis) -> Iterator[str]:
    if not diagnosis.distributions:
        return
    yield f"\n  {'':16}{'lowest':>9} {'5 %':>9} {'median':>9} {'95 %':>9} {'highest':>9}"
    for name, found in diagnosis.distributions.items():
        title, unit, digits = MEASURES[name]
        yield f"  {title:16}" + " ".join(f"{number(value, digits):>9}" for value in values_of(found)) + f"  {unit}"


def values_of(found: Distribution) -> tuple[float, ...]:
    """The percentiles in rising order."""
    return found.low, found.p5, found.median, found.p95, found.high


def _findings(diagnosis: Diagnosis) -> Iterator[str]:
    if not diagnosis.findings:
        yield "\nNothing to complain of."
    for finding in diagnosis.findings:
        yield from _finding(finding)


def _finding(finding: Finding) -> Iterator[str]:
    yield f"\n{finding.title}: {len(finding.items)}. {finding.advice}"
    for id, details in finding.items[:SHOWN]:
        yield f"  {plain(details if id in details else f'{id}: {details}')}"
    if len(finding.items) > SHOWN:
        yield f"  … and {len(finding.items) - SHOWN} more"


def _advice(commands: list[str]) -> Iterator[str]:
    if commands:
        yield "\nSuggested:"
        yield from (f"  {command}" for command in commands)
