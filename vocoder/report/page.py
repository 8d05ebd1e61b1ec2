"""Write an evaluation as one HTML page that works from disk and requests nothing from any network."""

import base64
import hashlib
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from vocoder.evaluation.results import CONFIDENCE, Evaluation
from vocoder.evaluation.tables import measures_of
from vocoder.files import atomic_write
from vocoder.report.content import DIRECTIONS, bits_tables, duration, page_data, summary_tables
from vocoder.report.media import MediaWriter
from vocoder.report.pictures import DIFFERENCE_COLOURS, DIFFERENCE_DB, MEL_COLOURS, RANGE_DB, gradient

TEMPLATES = Path(__file__).parent / "templates"
EMBED_LIMIT = 64_000_000  # bytes of sounds and pictures inside the page
STYLES = ("report.css", "listening.css")
SCRIPTS = (
    "elements.js",
    "statistics.js",
    "playback.js",
    "transport.js",
    "pictures.js",
    "utterances.js",
    "preference.js",
    "report.js",
)


def write_report(folder: Path, evaluation: Evaluation, *, embed_limit: int = EMBED_LIMIT) -> Path:
    """Write report.html into an evaluation's folder; return its path.

    Args:
        folder: holds the renditions' wavs.
        embed_limit: bytes of the page for sounds and pictures (base64). Utterances that do not fit refer to the wavs
            and to files in `folder / "pictures"`.

    Raises:
        UserError: a wav cannot be read, or a file cannot be written.
    """
    systems = [system.name for system in sorted(evaluation.systems, key=lambda system: system.kind != "original")]
    reference = next((system.name for system in evaluation.systems if system.kind == "original"), None)
    writer = MediaWriter(folder, systems, reference, embed_limit)
    media = [writer.media(utterance) for utterance in evaluation.utterances]
    style, script = texts(STYLES), texts(SCRIPTS)
    page = (
        environment("vocoder.report")
        .get_template("report.html.j2")
        .render(
            style=style,
            script=script,
            policy=content_policy(style, script),
            evaluation=evaluation,
            data=page_data(evaluation) | {"legends": legends()},
            media=media,
            embedded=writer.embedded,
            embed_limit=embed_limit,
            measures=measures_of(evaluation),
            speech=duration(sum(utterance.seconds for utterance in evaluation.utterances)),
            tables=summary_tables(evaluation),
            bits=bits_tables(evaluation),
            directions=DIRECTIONS,
            confidence=round(100 * CONFIDENCE),
            seeds=any(rendition.by_seed for u in evaluation.utterances for rendition in u.renditions.values()),
        )
    )
    path = folder / "report.html"
    with atomic_write(path) as partial:
        partial.write_text(page, encoding="utf-8", errors="replace")
    return path


def content_policy(style: str, script: str) -> str:
    """A content security policy: only this style and script, and nothing from outside the page and its folder."""
    files = "data: 'self' file:"
    return (
        f"default-src 'none'; style-src '{_source_hash(style)}'; script-src '{_source_hash(script)}'; "
        f"img-src {files}; media-src {files}; base-uri 'none'; form-action 'none'"
    )


def legends() -> dict[str, object]:
    """Colour scales of the pictures as CSS gradients, and their ranges in dB."""
    return {
        "mel": {"gradient": gradient(MEL_COLOURS), "range": RANGE_DB},
        "difference": {"gradient": gradient(DIFFERENCE_COLOURS), "range": DIFFERENCE_DB},
    }


def environment(package: str) -> Environment:
    """Jinja with the templates of a package; it escapes what it inserts, and an unknown name is an error."""
    environment = Environment(
        loader=PackageLoader(package),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"allow_nan": False, "separators": (",", ":")}
    return environment


def texts(names: tuple[str, ...], folder: Path = TEMPLATES) -> str:
    """The files of a page, one after the other."""
    return "\n".join((folder / name).read_text(encoding="utf-8") for name in names)


def _source_hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
