"""vocoder-synthesize: make waveforms of mels; skip inputs that cannot be synthesised, and list them at the end."""

import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

from vocoder import jobs
from vocoder.commands import cli
from vocoder.commands.cluster import cluster_address
from vocoder.commands.progress import SynthesisProgress, track
from vocoder.commands.streams import write_line
from vocoder.errors import UserError
from vocoder.features.mel_input import MelFormat
from vocoder.settings import from_mapping, unknown_setting
from vocoder.synthesis import (
    Source,
    SynthesisOptions,
    Vocoder,
    check_folder,
    find_sources,
    load,
    synthesize_into,
)

SOME_FAILED = 1  # exit code; where all inputs failed, it is cli.USER_ERROR


@dataclass(frozen=True)
class Config:
    """The command's settings; configs/synthesize.yaml explains them."""

    model: str | None
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
    postfilter: int | None
    fold: Literal["auto", "on", "off"]
    engine: str
    precision: str
    threads: int | None
    device: str
    mel: dict[str, Any]  # of MelFormat, but for `from`, which Python keeps for itself

    @property
    def mels(self) -> MelFormat:
        """Raises UserError for settings of `mel` that are unknown or wrong."""
        unknown = self.mel.keys() - {"from", "statistics", "layout", "convert"}
        if unknown:
            key = sorted(unknown)[0]
            raise unknown_setting(f"mel.{key}", key, [key for key in self.mel if key not in unknown])
        return from_mapping(MelFormat, {"preset" if key == "from" else key: self.mel[key] for key in self.mel}, "mel")


@dataclass
class Summary:
    """The outcome for one shard, or for all."""

    written: int = 0  # utterances
    existing: int = 0  # utterances whose wavs were there already
    seconds: float = 0.0  # of speech written
    elapsed: float = 0.0  # seconds of generating and writing it
    failures: list[str] = field(default_factory=list)  # a message for each utterance that was not synthesised

    def add(self, other: "Summary") -> None:
        """Add another shard's; `elapsed` stays, because shards run at the same time."""
        self.written += other.written
        self.existing += other.existing
        self.seconds += other.seconds
        self.failures += other.failures


def main() -> None:
    """Run the command on the arguments in sys.argv."""
    cli.run_job("synthesize", job, Config)


def job(settings: dict[str, Any]) -> int:
    """Synthesise every input; return exit code 0, 1 where some inputs failed, or 2 where all failed.

    Raises:
        UserError: a setting is wrong, or the output cannot be written.
    """
    config = from_mapping(Config, settings)
    check_config(config)
    if config.fold == "auto":  # several utterances keep all cores busy without folding
        config = replace(config, fold="on" if Path(config.input).is_file() else "off")
    summary = synthesize_locally(config) if config.executor == "local" else synthesize_on_cluster(config)
    print_summary(summary, config.output)
    if summary.failures and not summary.written + summary.existing:
        return cli.USER_ERROR
    return SOME_FAILED if summary.failures else 0


def check_config(config: Config) -> None:
    """Raises UserError for settings that are wrong whatever the model and the inputs."""
    for name, value in (("limit", config.limit), ("shards", config.shards)):
        if value is not None and value < 1:
            raise UserError(f"{name}={value}: must be at least 1")
    check_output(Path(config.input), Path(config.output))
    config.mels  # noqa: B018  (refused before any work)
    cluster_address(config.executor, config.scheduler, config.shard)


def check_output(source: Path, output: Path) -> None:
    """Raises UserError where the wavs would be written among the inputs, or the output is named like a file."""
    if output.resolve() == (source.parent if source.is_file() else source).resolve():
        raise UserError(f"output={output}: is the input or its folder; choose another folder")
    if output.suffix.lower() == ".wav" and not output.is_dir():
        raise UserError(f"output={output}: must be a folder, in which wavs are named after their inputs; drop .wav")


def synthesize_locally(config: Config) -> Summary:
    """Synthesise in this process, with a progress bar."""
    vocoder, sources = load_shard(config, config.shard)
    folded = config.fold == "on"
    why = f" (default on {vocoder.model.device.type})" if config.engine == "auto" else ""
    print(f"engine: {vocoder.engine.describe()}{', folded' if folded else ''}{why}")
    seconds = seconds_if_single(vocoder, sources, folded)
    started = time.monotonic()
    with SynthesisProgress(len(sources), seconds, vocoder.sample_rate) as bar:
        summary = synthesize_sources(vocoder, sources, config, bar.add_samples, bar.add_utterances)
    summary.elapsed = time.monotonic() - started
    return summary


def seconds_if_single(vocoder: Vocoder, sources: list[Source], folded: bool) -> float | None:
    """Seconds of audio to generate if there is one source; None if there are several, or it cannot be read."""
    if len(sources) != 1:
        return None
    try:
        frames = vocoder.frames_to_draw(sources[0].read(), folded=folded)
    except UserError:  # synthesis will report it
        return None
    return frames * vocoder.spec.hop_length / vocoder.sample_rate


def synthesize_on_cluster(config: Config) -> Summary:
    """Synthesise each shard as a task of a Dask cluster whose workers see the same paths.

    Raises:
        UserError: the settings do not fit a cluster, it cannot be reached, or every shard would fail.
    """
    scheduler = cluster_address(config.executor, config.scheduler, config.shard)
    assert scheduler is not None
    model = None if config.model is None else str(Path(config.model).absolute())
    input, output = (str(Path(p).absolute()) for p in (config.input, config.output))
    statistics = config.mel["statistics"] and str(Path(config.mel["statistics"]).absolute())
    config = replace(config, model=model, input=input, output=output, mel=config.mel | {"statistics": statistics})
    check_inputs(config)
    summary, started = Summary(), time.monotonic()
    with jobs.dask_executor(scheduler) as (pool, workers):
        count = config.shards or 4 * workers
        shards = [f"{i}/{count}" for i in range(1, count + 1)]
        results = jobs.parallel_map(partial(synthesize_shard, config), shards, workers, pool)
        title = f"synthesising on {cli.count(workers, 'worker')}"
        for shard, result in track(results, title, count, "shards"):
            summary.add(Summary(failures=[f"shard {shard}: {result}"]) if isinstance(result, UserError) else result)
    summary.elapsed = time.monotonic() - started
    return summary


def check_inputs(config: Config) -> None:
    """Raises UserError where the model, the inputs or the output folder would fail every shard."""
    vocoder = load(config.model, "cpu", "reference", postfilter=config.postfilter, mels=config.mels)
    find_sources(vocoder, Path(config.input), config.split, config.speaker)
    check_folder(Path(config.output))


def synthesize_shard(config: Config, shard: str) -> Summary:
    """Synthesise one shard (`i/N`) as a task of a cluster."""
    config = replace(config, threads=config.threads or 1)  # the host's other tasks use its other cores
    vocoder, sources = load_shard(config, shard)
    return synthesize_sources(vocoder, sources, config, _ignore, _ignore)


def load_shard(config: Config, shard: str) -> tuple[Vocoder, list[Source]]:
    """The model, and the inputs of one shard (`i/N`)."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        vocoder = load(
            config.model, config.device, config.engine, config.precision, config.threads, config.postfilter, config.mels
        )
    for warning in caught:  # of an approximate conversion, without Python's line numbers
        write_line(sys.stderr, f"vocoder-synthesize: {warning.message}")
    found = find_sources(vocoder, Path(config.input), config.split, config.speaker, Path(config.output))
    return vocoder, jobs.shard_of(found[: config.limit], shard)


def synthesize_sources(
    vocoder: Vocoder,
    sources: list[Source],
    config: Config,
    progress: Callable[[int], None],
    on_utterances: Callable[[int], None],
) -> Summary:
    """Write the wavs; call back with the number of samples just generated, and of utterances just finished."""
    summary = Summary()
    options = SynthesisOptions(config.seed, config.temperature, folded=config.fold == "on", speaker=config.speaker)
    written = synthesize_into(Path(config.output), vocoder, sources, options, progress, overwrite=config.overwrite)
    for _, result in written:
        on_utterances(1)
        if isinstance(result, UserError):
            summary.failures.append(str(result))
        else:
            summary.written += 1
            summary.seconds += result / vocoder.sample_rate
    summary.existing = len(sources) - summary.written - len(summary.failures)
    on_utterances(summary.existing)
    return summary


def _ignore(count: int) -> None: ...


def print_summary(summary: Summary, output: str) -> None:
    """Print the failures to standard error, and what was written to standard output."""
    for failure in summary.failures:
        write_line(sys.stderr, f"vocoder-synthesize: not synthesised: {failure}")
    existing = f" ({summary.existing} existed already)" if summary.existing else ""
    if summary.written:
        speed = summary.seconds / summary.elapsed
        print(f"{output}: {cli.count(summary.written, 'wav')}{existing}, {summary.seconds:.1f} s of speech", end=" ")
        print(f"in {summary.elapsed:.1f} s, {speed:.3g} × real time")
    elif summary.existing:
        print(f"{output}: nothing to do{existing}")
