"""vocoder-synthesize: waveforms from mels, past bad files, with a list of them at the end."""

import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from vocoder.commands import cli
from vocoder.errors import UserError
from vocoder.settings import from_mapping
from vocoder.synthesis import Sound, Source, Vocoder, find_sources, load, shard_of, synthesize_into

NOT_ALL = 1  # exit code when some inputs could not be synthesised; none at all is an error of use


@dataclass(frozen=True)
class Settings:
    """The command's config."""

    model: str
    input: str
    output: str
    split: str
    limit: int | None
    shard: str
    speaker: str | None
    seed: int
    temperature: float
    fold: Literal["auto", "on", "off"]
    engine: str
    precision: str
    threads: int | None
    device: str


def main() -> None:
    """The console script."""
    cli.run("synthesize", job)


def job(config: dict[str, Any]) -> int:
    """Synthesise every input; returns 1 where some could not be, 2 where none could."""
    settings = from_mapping(Settings, config)
    if settings.limit is not None and settings.limit < 1:
        raise UserError(f"limit={settings.limit}: must be at least 1")
    if not 0 < settings.temperature < float("inf"):
        raise UserError(f"temperature={settings.temperature}: must be above 0")
    if (
        settings.fold == "auto"
    ):  # one utterance in pieces, several each in one: there are enough of them to share the work
        settings = replace(settings, fold="on" if Path(settings.input).is_file() else "off")
    vocoder = load(settings.model, settings.device, settings.engine, settings.precision, settings.threads)
    found = find_sources(vocoder, Path(settings.input), settings.split, settings.speaker)
    sources = shard_of(found[: settings.limit], settings.shard)
    print(f"engine: {vocoder.engine.describe()}" + (", folded" if settings.fold == "on" else ""))
    failures = synthesize_all(vocoder, sources, settings)
    for failure in failures:
        print(f"vocoder-synthesize: not synthesised: {failure}", file=sys.stderr)
    if failures and len(failures) == len(sources):
        return cli.USER_ERROR
    return NOT_ALL if failures else 0


def synthesize_all(vocoder: Vocoder, sources: list[Source], settings: Settings) -> list[UserError]:
    """Write the wavs with a bar, the real-time factor and the time left; returns what could not be done."""
    started, rate, output = time.monotonic(), vocoder.sample_rate, Path(settings.output)
    drawn, done, failures = 0, 0, []
    shape = "{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt} utterances [{elapsed}<{remaining}{postfix}]"
    with tqdm(total=len(sources), dynamic_ncols=True, desc="synthesising", bar_format=shape) as bar:

        def show(samples: int) -> None:
            nonlocal drawn
            drawn += samples
            speed = drawn / rate / (time.monotonic() - started)
            bar.set_postfix_str(f"{drawn / rate:.1f} s of speech, {speed:.3g} × real time", refresh=False)
            bar.update(0)

        sound = Sound(settings.seed, settings.temperature, folded=settings.fold == "on")
        for _, result in synthesize_into(output, vocoder, sources, sound, show):
            bar.update()
            if isinstance(result, UserError):
                failures.append(result)
            else:
                done += 1
        there = len(sources) - done - len(failures)
        bar.update(there)
    elapsed = time.monotonic() - started
    kept = f" ({there} were there already)" if there else ""
    if done:
        print(f"{output}: {done} wavs{kept}, {drawn / rate:.1f} s of speech in {elapsed:.1f} s,", end=" ")
        print(f"{drawn / rate / elapsed:.3g} × real time")
    elif there:
        print(f"{output}: nothing to do{kept}")
    return failures
