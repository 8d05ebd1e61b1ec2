"""A diagnosis as one HTML page, with histograms, that works from disk and requests nothing from any network."""

from pathlib import Path

from vocoder.doctor.diagnosis import MEASURES, Diagnosis
from vocoder.doctor.histogram import Histogram, histogram
from vocoder.doctor.text import values_of
from vocoder.files import atomic_write
from vocoder.report.content import duration, number
from vocoder.report.page import content_policy, environment, texts

LISTED = 200  # items of a finding; doctor.json has all
FILE = "doctor.html"


def write_page(folder: Path, diagnosis: Diagnosis, commands: list[str]) -> Path:
    """Write doctor.html into a folder; return its path.

    Raises:
        UserError: the file cannot be written.
    """
    style = texts(("report.css",)) + texts(("doctor.css",), Path(__file__).parent / "templates")
    page = (
        environment("vocoder.doctor")
        .get_template("doctor.html.j2")
        .render(
            style=style,
            policy=content_policy(style, ""),
            diagnosis=diagnosis,
            commands=commands,
            measures=MEASURES,
            histograms=histograms(diagnosis),
            listed=LISTED,
            number=number,
            duration=duration,
            values_of=values_of,
        )
    )
    path = folder / FILE
    with atomic_write(path) as partial:
        partial.write_text(page, encoding="utf-8", errors="replace")
    return path


def histograms(diagnosis: Diagnosis) -> list[Histogram]:
    """One for each measure that any usable recording has."""
    values = {name: [getattr(each, name) for each in diagnosis.usable] for name in diagnosis.distributions}
    return [
        histogram([value for value in values[name] if value is not None], title, unit)
        for name, (title, unit, _) in MEASURES.items()
        if name in values
    ]
