"""vocoder-synthesize: waveforms from mels, past bad files, with a list of them at the end."""

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from tqdm import tqdm

from vocoder import jobs
from vocoder.commands import cli
from vocoder.errors import UserError
from vocoder.settings import from_mapping
from vocoder.synthesis import (
    Source,
    SynthesisOptions,
    Vocoder,
    check_folder,
    find_sources,
    load,
    shard_of,
    synthesize_into,
)

NOT_ALL = 1  # exit code when some inputs could not be synthesised; none at all is an error of use


@dataclass(frozen=True)
class Settings:
    """The command's config."""

    model: str
    input: str
    output: str
    split: str
    limit: int | None
    overwrite: bool
    shard: str
    executor: Literal["local", "dask"]
    scheduler: str | None
    shards: int | None
    speaker: str | None
    seed: int
    temperature: float
    fold: Literal["auto", "on", "off"]
    engine: str
    precision: str
    threads: int | None
    device: str


@dataclass
class Summary:
    """What came of a shard, or of all."""

    done: int = 0
    there: int = 0  # already
    seconds: float = 0.0  # of speech
    elapsed: float = 0.0  # in drawing and writing it
    failures: list[str] = field(default_factory=list)

    def add(self, other: "Summary") -> None:
        self.done += other.done
        self.there += other.there
        self.seconds += other.seconds
        self.failures += other.failures


def main() -> None:
    """The console script."""
    cli.run("synthesize", job)


def job(config: dict[str, Any]) -> int:
    """Synthesise every input; returns 1 where some could not be, 2 where none could."""
    settings = from_mapping(Settings, config)
    for name, value in (("limit", settings.limit), ("shards", settings.shards)):
        if value is not None and value < 1:
            raise UserError(f"{name}={value}: must be at least 1")
    check_places(Path(settings.input), Path(settings.output))
    if settings.fold == "auto":  # several utterances are enough for all cores, each of them whole
        settings = replace(settings, fold="on" if Path(settings.input).is_file() else "off")
    if settings.scheduler is not None and settings.executor != "dask":
        raise UserError(f"scheduler={settings.scheduler}: give executor=dask too")
    summary = on_cluster(settings) if settings.executor == "dask" else here(settings)
    tell(summary, settings.output)
    if summary.failures and not summary.done + summary.there:
        return cli.USER_ERROR
    return NOT_ALL if summary.failures else 0


def check_places(source: Path, output: Path) -> None:
    """Raises UserError where the output would lie among the inputs, or is no name for a folder."""
    if output.resolve() == (source.parent if source.is_file() else source).resolve():
        raise UserError(f"output={output}: is the input or its folder; choose another folder")
    if output.suffix.lower() == ".wav" and not output.is_dir():
        raise UserError(f"output={output}: is the folder that the wavs are written to; leave out .wav")


def here(settings: Settings) -> Summary:
    """Synthesise with a bar, the real-time factor and the time left."""
    vocoder, sources = prepared(settings, settings.shard)
    why = f" (the fastest on {vocoder.model.device.type})" if settings.engine == "auto" else ""
    print(f"engine: {vocoder.engine.describe()}{', folded' if settings.fold == 'on' else ''}{why}")
    seconds = length_of_one(vocoder, sources, folded=settings.fold == "on")
    total, unit = (len(sources), "utterances") if seconds is None else (seconds, "s")
    shape = (
        f"{{desc}}: {{percentage:3.0f}}%|{{bar}}| {{n:.4g}}/{{total:.4g}} {unit} [{{elapsed}}<{{remaining}}{{postfix}}]"
    )
    started, drawn = time.monotonic(), 0
    with tqdm(total=total, dynamic_ncols=True, desc="synthesising", bar_format=shape, miniters=0) as bar:

        def show(samples: int) -> None:
            nonlocal drawn
            drawn += samples
            speech = drawn / vocoder.sample_rate
            speed = speech / (time.monotonic() - started)
            bar.set_postfix_str(f"{speech:.1f} s drawn, {speed:.3g} × real time", refresh=False)
            bar.update(0 if seconds is None else samples / vocoder.sample_rate)

        summary = synthesized(vocoder, sources, settings, show, bar.update if seconds is None else _ignore)
    summary.elapsed = time.monotonic() - started
    return summary


def length_of_one(vocoder: Vocoder, sources: list[Source], folded: bool) -> float | None:
    """Seconds to be drawn where there is a single source: of that the bar can tell how far it is."""
    if len(sources) != 1:
        return None
    try:
        frames = vocoder.frames_to_draw(sources[0].read(), folded=folded)
    except UserError:  # which will be told in its place
        return None
    return frames * vocoder.spec.hop_length / vocoder.sample_rate


def _ignore(number: int) -> None: ...


def on_cluster(settings: Settings) -> Summary:
    """Every shard as a task of a Dask cluster, whose workers see the same paths."""
    if settings.scheduler is None:
        raise UserError("executor=dask: give scheduler=tcp://HOST:PORT, where the cluster's scheduler listens")
    if settings.shard != "1/1":
        raise UserError(f"shard={settings.shard}: with executor=dask all shards are tasks; leave it out")
    scheduler = settings.scheduler
    model, input, output = (str(Path(p).absolute()) for p in (settings.model, settings.input, settings.output))
    settings = replace(settings, model=model, input=input, output=output)
    check_before(settings)
    summary, started = Summary(), time.monotonic()
    with jobs.dask_executor(scheduler) as (pool, workers):
        count = settings.shards or 4 * workers
        shards = [f"{i}/{count}" for i in range(1, count + 1)]
        done = jobs.parallel_map(partial(synthesize_shard, settings), shards, workers, pool)
        for shard, result in cli.progress(done, f"synthesising on {workers} workers", count, "shard"):
            summary.add(Summary(failures=[f"shard {shard}: {result}"]) if isinstance(result, UserError) else result)
    summary.elapsed = time.monotonic() - started
    return summary


def check_before(settings: Settings) -> None:
    """Raises UserError for what would be wrong in every shard."""
    vocoder = load(settings.model, "cpu", "reference")
    find_sources(vocoder, Path(settings.input), settings.split, settings.speaker)
    check_folder(Path(settings.output))


def synthesize_shard(settings: Settings, shard: str) -> Summary:
    """One task of a cluster."""
    settings = replace(settings, threads=settings.threads or 1)  # a host's other tasks have its other cores
    return synthesized(*prepared(settings, shard), settings, _ignore, _ignore)


def prepared(settings: Settings, shard: str) -> tuple[Vocoder, list[Source]]:
    vocoder = load(settings.model, settings.device, settings.engine, settings.precision, settings.threads)
    found = find_sources(vocoder, Path(settings.input), settings.split, settings.speaker, Path(settings.output))
    return vocoder, shard_of(found[: settings.limit], shard)


def synthesized(
    vocoder: Vocoder,
    sources: list[Source],
    settings: Settings,
    drawn: Callable[[int], None],
    finished: Callable[[int], object],
) -> Summary:
    """Write the wavs; `drawn` is told of samples and `finished` of utterances."""
    summary = Summary()
    sound = SynthesisOptions(
        settings.seed, settings.temperature, folded=settings.fold == "on", speaker=settings.speaker
    )
    written = synthesize_into(Path(settings.output), vocoder, sources, sound, drawn, overwrite=settings.overwrite)
    for _, result in written:
        finished(1)
        if isinstance(result, UserError):
            summary.failures.append(str(result))
        else:
            summary.done += 1
            summary.seconds += result / vocoder.sample_rate
    summary.there = len(sources) - summary.done - len(summary.failures)
    finished(summary.there)
    return summary


def tell(summary: Summary, output: str) -> None:
    for failure in summary.failures:
        print(f"vocoder-synthesize: not synthesised: {failure}", file=sys.stderr)
    kept = f" ({summary.there} were there already)" if summary.there else ""
    if summary.done:
        speed = summary.seconds / summary.elapsed
        print(f"{output}: {summary.done} wavs{kept}, {summary.seconds:.1f} s of speech", end=" ")
        print(f"in {summary.elapsed:.1f} s, {speed:.3g} × real time")
    elif summary.there:
        print(f"{output}: nothing to do{kept}")
