"""vocoder-doctor: examine a corpus of recordings; print what was found, and write it as JSON and as a page."""

from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from vocoder import jobs
from vocoder.commands import cli
from vocoder.commands.progress import track
from vocoder.corpora import read_corpus
from vocoder.doctor import Diagnosis, Limits, diagnose, examine, suggested_commands, text_report, unexamined, write_page
from vocoder.errors import UserError
from vocoder.files import write_json
from vocoder.settings import from_mapping

JSON_FILE = "doctor.json"


@dataclass(frozen=True)
class Config:
    """The command's settings; configs/doctor.yaml explains them."""

    input: str
    output: str | None
    layout: str
    speaker: Literal["auto", "none", "folder"]
    min_seconds: float
    silence_peak: float
    peak: float | None
    workers: int | None


def main() -> None:
    """Run the command on the arguments in sys.argv."""
    cli.run_job("doctor", job, Config)


def job(settings: dict[str, Any]) -> int:
    """Examine, report, and return exit code 0: a sick corpus is no error of the doctor.

    Raises:
        UserError: a setting is wrong, there is no corpus, or the report cannot be written.
    """
    config = from_mapping(Config, settings)
    workers = jobs.worker_count(config.workers)
    output = None if config.output is None else Path(config.output)
    if output is not None and output.exists() and not output.is_dir():
        raise UserError(f"output={output}: is no folder; give another name")
    corpus = read_corpus(Path(config.input), config.layout)
    recordings = [replace(recording, speaker=recording.speaker_by(config.speaker)) for recording in corpus.all]
    work = jobs.parallel_map(partial(jobs.each_alone, examine), recordings, workers)
    found = [
        unexamined(recording, str(result)) if isinstance(result, UserError) else result
        for recording, result in track(work, "examining", len(recordings))
    ]
    limits = Limits(config.min_seconds, config.silence_peak, config.peak)
    diagnosis = diagnose(config.input, corpus.layout, found, limits)
    commands = suggested_commands(diagnosis, config.layout, config.speaker)
    print(text_report(diagnosis, commands))
    if output is not None:
        write_json(output / JSON_FILE, as_json(diagnosis, commands))
        print(f"\n{output / JSON_FILE} has every recording; open {write_page(output, diagnosis, commands)}")
    return 0


def as_json(diagnosis: Diagnosis, commands: list[str]) -> dict[str, Any]:
    """The diagnosis with its examinations last, for those who read the file from the top."""
    found = asdict(diagnosis) | {"suggested": commands}
    return found | {"examinations": found.pop("examinations")}
