"""vocoder-evaluate: measure models, baselines and folders of wavs against recordings; write tables and a report."""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import soundfile

from vocoder import jobs
from vocoder.commands import cli
from vocoder.commands.progress import SynthesisProgress, track
from vocoder.commands.streams import write_line
from vocoder.errors import UserError
from vocoder.evaluation.evaluate import (
    BASELINES,
    ORIGINAL,
    Measurement,
    Task,
    TeacherForced,
    available_baselines,
    measure_utterance,
)
from vocoder.evaluation.measure import available_measures
from vocoder.evaluation.measures import MEASURES
from vocoder.evaluation.models import Model, names_of
from vocoder.evaluation.recordings import Recording, files_by_id, recordings_of, spec_for_rate, spread
from vocoder.evaluation.results import Evaluation, System, Utterance
from vocoder.evaluation.tables import markdown_summary, write_tables
from vocoder.features.audio import INT16_LEVELS
from vocoder.features.mel import PRESETS, MelSpec
from vocoder.report import save_pictures, write_report
from vocoder.settings import from_mapping, suggestion
from vocoder.synthesis import Vocoder, check_folder, load

INSTALL = "pip install -e '.[metrics]' brings it"
SOME_FAILED = 1  # exit code; where all utterances failed, it is cli.USER_ERROR


@dataclass(frozen=True)
class Config:
    """The command's settings; configs/evaluate.yaml explains them."""

    model: str | None
    data: str | None
    generated: str | None
    reference: str | None
    output: str
    split: str
    limit: int | None
    seeds: int
    temperature: float
    postfilter: int | None
    speaker: str | None
    baselines: tuple[str, ...] | None
    measures: tuple[str, ...] | None
    mel_preset: str | None
    plots: Literal["png", "pdf", "svg"] | None
    embed: float
    overwrite: bool
    workers: int | None
    engine: str
    precision: str
    threads: int | None
    device: str

    @property
    def folder(self) -> Path:
        return Path(self.output)


@dataclass
class Systems:
    """What is to be measured: tasks, and the systems whose wavs they name."""

    spec: MelSpec
    recordings: list[Recording]
    tasks: list[Task]
    systems: list[System]
    failures: list[str]


def main() -> None:
    """Run the command on the arguments in sys.argv."""
    cli.run_job("evaluate", job, Config)


def job(settings: dict[str, Any]) -> int:
    """Evaluate; return exit code 0, 1 where some utterances failed, or 2 where all failed.

    Raises:
        UserError: a setting is wrong, or the results cannot be written.
    """
    config = from_mapping(Config, settings)
    check_config(config)
    check_folder(config.folder)
    measures, baselines = measures_of(config), baselines_of(config)
    found = prepare_folders(config) if config.generated else prepare_models(config, measures)
    measurement = Measurement(config.folder, found.spec, measures, baselines)
    utterances = measure_all(found, measurement, config)
    if not utterances:
        print_failures(found.failures)
        return cli.USER_ERROR
    baseline_systems = [System(name, "baseline") for name in baselines]
    systems = [System(ORIGINAL, "original"), *baseline_systems, *found.systems]
    evaluation = Evaluation(systems, utterances, shown_settings(config), found.failures)
    write_tables(config.folder, evaluation)
    report = write_report(config.folder, evaluation, embed_limit=round(config.embed * 1e6))
    if config.plots is not None:
        save_pictures(config.folder, evaluation, format=config.plots)
    print_failures(found.failures)
    print(markdown_summary(evaluation))
    print(f"\n{cli.count(len(utterances), 'utterance')}; open {report}")
    return SOME_FAILED if found.failures else 0


def check_config(config: Config) -> None:
    """Raises UserError for settings that are wrong whatever the models and recordings."""
    if config.generated or config.reference:
        given = [name for name in ("model", "data") if getattr(config, name)]
        if not (config.generated and config.reference) or given:
            raise UserError("give model and data, or generated and reference (see --help)")
    elif not (config.model and config.data):
        raise UserError("give model=… data=…, or generated=… reference=… (see --help)")
    for name, value in (("limit", config.limit), ("seeds", config.seeds)):
        if value is not None and value < 1:
            raise UserError(f"{name}={value}: must be at least 1")
    jobs.worker_count(config.workers)  # refused before any work
    if not 0 <= config.embed < float("inf"):
        raise UserError(f"embed={config.embed}: must be 0 or more megabytes")
    check_names("baselines", config.baselines or (), BASELINES)
    check_names("measures", config.measures or (), [measure.name for measure in MEASURES])
    check_names("mel_preset", [config.mel_preset] if config.mel_preset else [], PRESETS)


def check_names(setting: str, names: Iterable[str], known: Iterable[str]) -> None:
    """Raises UserError for a name that is not among the known ones."""
    for name in names:
        if name not in known:
            raise UserError(f"{setting}: unknown {name}{suggestion(name, known)}")


def measures_of(config: Config) -> tuple[str, ...]:
    """The measures to compute: those that were asked for, or all whose packages are installed, with a note of others.

    Raises:
        UserError: the package of one that was asked for is not installed.
    """
    names, usable = [measure.name for measure in MEASURES], available_measures()
    available = [name for name in names if name in usable]
    if config.measures is not None:
        check_installed("measures", config.measures, available)
        return tuple(name for name in names if name in config.measures)
    if len(available) < len(names):
        missing = ", ".join(name for name in names if name not in available)
        write_line(sys.stderr, f"vocoder-evaluate: not measured: {missing}; {INSTALL}")
    return tuple(available)


def baselines_of(config: Config) -> tuple[str, ...]:
    """The baselines that were asked for, or all whose packages are installed.

    Raises:
        UserError: the package of one that was asked for is not installed.
    """
    if config.baselines is None:
        return available_baselines()
    check_installed("baselines", config.baselines, available_baselines())
    return config.baselines


def check_installed(setting: str, names: Iterable[str], available: Iterable[str]) -> None:
    """Raises UserError for a name that is not among the available ones."""
    for name in names:
        if name not in available:
            raise UserError(f"{setting}: {name} needs a package that is not installed; {INSTALL}")


# Waves


def split_paths(text: str) -> list[Path]:
    """Paths separated by commas; a path that exists may have commas in it."""
    return [Path(text)] if Path(text).exists() else [Path(part).expanduser() for part in text.split(",") if part]


def prepare_models(config: Config, measures: tuple[str, ...]) -> Systems:
    """Load the models, write their waves, and compute their likelihoods."""
    paths = split_paths(config.model or "")
    names = names_of(paths)
    vocoders = [
        load(path, config.device, config.engine, config.precision, config.threads, config.postfilter) for path in paths
    ]
    spec = vocoders[0].spec
    for name, vocoder in zip(names, vocoders, strict=True):
        if vocoder.spec != spec:
            raise UserError(
                f"model={name}: its mels are not those of {names[0]} ({vocoder.spec.differences(spec)}); "
                "evaluate it alone, or compare folders of wavs (generated=…)"
            )
        if config.speaker is not None:
            vocoder.model.speaker_index(config.speaker)  # refuses a speaker that the model does not have
    recordings = spread(recordings_of(Path(config.data or ""), config.split, spec, exclude=config.folder), config.limit)
    failures: list[str] = []
    wavs: dict[str, dict[str, list[Path]]] = {recording.id: {} for recording in recordings}
    likelihoods: dict[str, dict[str, TeacherForced]] = {recording.id: {} for recording in recordings}
    systems = []
    for name, vocoder in zip(names, vocoders, strict=True):
        print(f"{name}: {vocoder.engine.describe()}", flush=True)
        model = Model(name, vocoder, config.folder, config.temperature, config.speaker)
        synthesize_all(model, recordings, config, wavs, failures)
        if "bits" in measures and is_comparable(vocoder):
            compute_likelihoods(model, recordings, likelihoods, failures)
        systems.append(System(name, "model", model.details()))
    tasks = [Task(recording, wavs[recording.id], likelihoods[recording.id]) for recording in recordings]
    return Systems(spec, recordings, tasks, systems, failures)


def is_comparable(vocoder: Vocoder) -> bool:
    """Whether its bits per sample are comparable: exact, over all levels of 16-bit audio."""
    distribution = vocoder.model.distribution
    return distribution.grid.levels == INT16_LEVELS and not distribution.is_density


def synthesize_all(
    model: Model,
    recordings: list[Recording],
    config: Config,
    wavs: dict[str, dict[str, list[Path]]],
    failures: list[str],
) -> None:
    """Write the model's waves for every seed; add the paths of what succeeded to `wavs`, by id and model."""
    made: dict[str, list[Path]] = {recording.id: [] for recording in recordings}
    for seed in range(config.seeds):
        failed: dict[str, UserError] = {}
        with SynthesisProgress(len(recordings), None, model.vocoder.sample_rate) as bar:
            for id, result in model.synthesize(recordings, seed, bar.add_samples, overwrite=config.overwrite):
                bar.add_utterances(1)
                if isinstance(result, UserError):
                    failed[id] = result
        for id, paths in made.items():
            if id not in failed:
                paths.append(model.wavs(seed) / f"{id}.wav")
        failures.extend(f"{model.name}: {error}" for error in failed.values())
    for id, paths in made.items():
        if len(paths) == config.seeds:
            wavs[id][model.name] = paths


def compute_likelihoods(
    model: Model,
    recordings: list[Recording],
    likelihoods: dict[str, dict[str, TeacherForced]],
    failures: list[str],
) -> None:
    """Add the model's likelihood of each recording to `likelihoods`, by id and model."""
    found = track(model.likelihoods(recordings), "likelihood", len(recordings), "utterances")
    for id, result in found:
        if isinstance(result, UserError):
            failures.append(f"{model.name}: {id}: {result}")
        else:
            likelihoods[id][model.name] = result


def prepare_folders(config: Config) -> Systems:
    """Pair the wavs of each folder with the recordings."""
    reference = Path(config.reference or "")
    spec = PRESETS[config.mel_preset] if config.mel_preset else spec_of(reference)
    recordings = files_by_id(reference, spec, "reference", config.folder)
    paths = split_paths(config.generated or "")
    names, failures = names_of(paths), []
    found = [files_by_id(path, spec, "generated", config.folder) for path in paths]
    for path, generated in zip(paths, found, strict=True):
        if not generated.keys() & recordings.keys():
            raise UserError(f"generated={path}: none of its files has the name of one in {reference}")
    rendered = [recordings[id] for id in recordings if any(id in generated for generated in found)]
    chosen = spread(rendered, config.limit)
    wavs: dict[str, dict[str, list[Path]]] = {recording.id: {} for recording in chosen}
    for name, generated in zip(names, found, strict=True):
        for id in wavs:
            if id in generated:
                wavs[id][name] = [generated[id].path]
            else:
                failures.append(f"{name}: has no wav for {id}")
    tasks = [Task(recording, wavs[recording.id]) for recording in chosen]
    systems = [System(name, "folder", {"folder": str(path)}) for name, path in zip(names, paths, strict=True)]
    return Systems(spec, list(chosen), tasks, systems, failures)


def spec_of(folder: Path) -> MelSpec:
    """A mel spec for the sample rate of the folder's first readable file."""
    for recording in files_by_id(folder, spec_for_rate(22050), "reference", folder / "nothing").values():
        try:
            return spec_for_rate(soundfile.info(recording.path).samplerate)
        except soundfile.LibsndfileError:
            continue
    raise UserError(f"reference={folder}: no file in it can be read as audio")


# Measures


def measure_all(found: Systems, measurement: Measurement, config: Config) -> list[Utterance]:
    """Measure all utterances in worker processes; failures are added to those of `found`."""
    workers = jobs.worker_count(config.workers)
    work = jobs.parallel_map(partial(measure_utterance, measurement=measurement), found.tasks, workers)
    utterances = []
    for task, result in track(work, "measuring", len(found.tasks), "utterances"):
        if isinstance(result, UserError):
            found.failures.append(f"{task.recording.id}: {result}")
        else:
            utterances.append(result)
    return utterances


def shown_settings(config: Config) -> dict[str, str]:
    """The settings that tables and report name."""
    of_models = ("model", "data", "split", "seeds", "temperature", "postfilter", "speaker")
    names = (*(("generated", "reference") if config.generated else of_models), "limit")
    return {name: str(getattr(config, name)) for name in names if getattr(config, name) is not None}


def print_failures(failures: list[str]) -> None:
    """Print a line for each failure to standard error."""
    for failure in failures:
        write_line(sys.stderr, f"vocoder-evaluate: not measured: {failure}")
