"""vocoder-train: trains a vocoder from a store, or resumes a run; also under torchrun, and as a sweep (--multirun)."""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vocoder.commands import cli
from vocoder.commands.progress import TrainingProgress, write_above
from vocoder.data.store import Store
from vocoder.device import pick_device
from vocoder.errors import UserError
from vocoder.features.level import Level
from vocoder.features.pre_emphasis import PreEmphasis
from vocoder.features.recognition import MelStatistics
from vocoder.files import atomic_write
from vocoder.model import ModelConfig, VocoderConfig, find_checkpoint
from vocoder.model.checkpoint import checkpoints_in
from vocoder.model.config import distribution_from_mapping
from vocoder.settings import flatten, from_mapping
from vocoder.training import (
    Loop,
    Monitor,
    NullMonitor,
    Run,
    Trainer,
    TrainingConfig,
    World,
    local_device,
    process_group,
)
from vocoder.training.dev_speech import check_measure
from vocoder.training.interrupts import Interrupts
from vocoder.training.transfer import config_differences, load_matching_weights

STOPPED = 143  # exit code of a process that stops because another one got a signal: that of SIGTERM
SWEEP: list[tuple[list[str], Path]] = []  # (overrides, run directory) of each finished job of --multirun


@dataclass(frozen=True)
class Config:
    """The command's options."""

    data: str
    name: str
    runs: str
    init_from: str | None
    device: str
    model: ModelConfig
    distribution: dict[str, Any]
    pre_emphasis: PreEmphasis
    training: TrainingConfig


def main() -> None:
    """The console script."""
    cli.run_job("train", job, Config)
    if SWEEP:
        report_sweep()


def job(options: dict[str, Any]) -> int:
    """Train until the run is finished or a signal comes; returns the exit code.

    Raises:
        UserError: as `trainer_for`; or the run cannot be started, or fails.
    """
    config = from_mapping(Config, options)
    sweep = cli.sweep_job()
    if sweep is not None:
        config = replace(config, name=f"{config.name}-{sweep.number}")
    run = Run(Path(config.runs) / _checked_name(config.name))
    device = pick_device(local_device(config.device))
    with process_group(device) as world:
        trainer = trainer_for(config, world)
        trainer.dev_entries()  # refuses a store without dev utterances before anything is written
        check_measure(trainer)
        with run.locked() if world.is_first else nullcontext():
            code = _train(trainer, run, config)
    if sweep is not None:
        SWEEP.append((sweep.overrides, run.directory))
    return code


def trainer_for(config: Config, world: World = World()) -> Trainer:  # noqa: B008
    """The trainer of a new run.

    Raises:
        UserError: the store cannot be read, or options do not fit it or each other.
    """
    store = Store(Path(config.data))
    distribution = distribution_from_mapping(config.distribution)
    speakers = store.speakers if config.model.speaker_channels else ()
    mean, std = (tuple(values.tolist()) for values in store.mel_statistics)
    vocoder_config = VocoderConfig(
        store.spec,
        config.model,
        distribution,
        speakers,
        config.pre_emphasis,
        statistics=MelStatistics(mean, std),
        level=level_of(store),
    )
    device = pick_device(local_device(config.device))
    return Trainer(vocoder_config, store, config.training, device, world, write_above if world.is_first else discard)


def level_of(store: Store) -> Level:
    """How preprocessing set the level of the store's waves."""
    description = store.description
    level = description.get("level", {"gain": description.get("gain", 1.0)})  # stores of earlier versions say no more
    return from_mapping(Level, level, f"{store.directory}: level")


def discard(message: str) -> None: ...


def _train(trainer: Trainer, run: Run, config: Config) -> int:
    world = trainer.world
    _start_or_resume(trainer, run, config)
    if trainer.progress >= 1:
        trainer.log(
            f"{run.directory}: finished already, at step {trainer.step}; increase training.length to continue it"
        )
        return 0
    monitor = Monitor(run.directory, trainer.step) if world.is_first else NullMonitor()
    try:
        with Interrupts(ignore_afterwards=True) as interrupts, TrainingProgress(trainer) as bar:
            loop = Loop(trainer, run, monitor, interrupts, bar.show)
            loop.train()
            if not loop.stopping and trainer.state.dev_bits is not None:
                monitor.hyperparameters(_flat(config), {f"final/{trainer.unit}/dev": trainer.state.dev_bits})
            bar.close()
            if world.is_first:
                print_summary(trainer, run, loop.stopping)
            world.barrier()  # torchrun stops all processes when one has exited
    finally:
        monitor.close()
    return interrupts.exit_code or (STOPPED if loop.stopping else 0)


def _start_or_resume(trainer: Trainer, run: Run, config: Config) -> None:
    """Restore the newest checkpoint; in a new run, load the weights of `init_from`, if given."""
    if trainer.world.is_first:
        run.remove_partial()
    checkpoint = run.recover_newest(trainer.log, trainer.world)
    changed = trainer.restore(checkpoint) if checkpoint is not None else []
    if checkpoint is None and config.init_from is not None:
        _initialise_from(trainer, config.init_from)
    _log_start(trainer, run, resumed=checkpoint is not None)
    if changed:
        trainer.log(f"settings that changed: {', '.join(changed)}")


def _initialise_from(trainer: Trainer, path: str) -> None:
    """Load another model's weights, in every process; the EMA weights start with them too."""
    if not Path(path).is_dir():
        raise UserError(f"init_from={path}: no such directory; give a run or a checkpoint")
    checkpoint = find_checkpoint(Path(path))
    theirs = checkpoint.config.pre_emphasis
    if theirs != trainer.vocoder_config.pre_emphasis:
        settings = f"pre_emphasis.coefficient={theirs.coefficient:g} pre_emphasis.gain={theirs.gain:g}"
        raise UserError(f"init_from={path}: its samples have another pre-emphasis; give {settings}")
    trainer.log(f"starts with the weights of {checkpoint.directory}, step {checkpoint.step}")
    differences = config_differences(trainer.vocoder_config.to_json(), checkpoint)
    for line in [*differences, *load_matching_weights(trainer.model, checkpoint)]:
        trainer.log(f"  {line}")
    trainer.ema_model().load_state_dict(trainer.model.state_dict())


def _flat(config: Config) -> dict[str, Any]:
    parts = (("model", config.model), ("pre_emphasis", config.pre_emphasis), ("training", config.training))
    flat = {f"{part}.{name}": value for part, value in parts for name, value in flatten(value).items()}
    return flat | {f"distribution.{name}": value for name, value in config.distribution.items()}


def _checked_name(name: str) -> str:
    if not name or name in (".", "..") or "/" in name:
        raise UserError(f"name={name}: must be a plain name without /, because it names the run's folder in `runs`")
    return name


def _log_start(trainer: Trainer, run: Run, resumed: bool) -> None:
    device, precision, size = trainer.device, str(trainer.precision).removeprefix("torch."), trainer.world.size
    trainer.log(trainer.model.describe())
    utterances = cli.count(len(trainer.data.entries), "training utterance")
    processes = f" in {size} processes" if size > 1 else ""
    start = f"resumes from step {trainer.step}" if resumed else "starts"
    trainer.log(f"{utterances}, {device}, {precision}{processes}; {run.directory} {start}")
    for name in trainer.unlearned_speakers():
        trainer.log(f"speaker {name} is not learned: no utterance in train is as long as a segment")
    if trainer.data.too_short:
        utterances = cli.count(trainer.data.too_short, "training utterance")
        trainer.log(f"not used: {utterances} shorter than a segment")


def print_summary(trainer: Trainer, run: Run, stopped: bool) -> None:
    """Print what was saved, how good it is, and what to do next."""
    state = trainer.state
    print(f"{run.directory}: step {state.step} after {state.minutes:.1f} minutes is saved", end="")
    unit = trainer.unit.replace("_", " ")
    print(f", dev {state.dev_bits:.3f} {unit} per sample" if state.dev_bits is not None else "", end="")
    best = find_checkpoint(run.directory)
    measure = "" if best.best_by == "bits" else f" by {best.best_by}"
    named = f"; best{measure} is step {best.step} with {best.dev_bits:.3f}"
    print(named if best.step != state.step else f"; none was better{measure}")
    skipped = state.guard.skipped
    if skipped:
        print(f"{cli.count(skipped, 'step')} skipped; {run.directory}/log.jsonl lists the utterances")
    if stopped:
        print("stopped by a signal; run the same command again to resume")
    else:
        print(f"listen: vocoder-synthesize model={run.directory} input={trainer.store.directory} output=synthesized")


def report_sweep() -> None:
    """Print a table of a sweep's runs, the best first, and write it to a file next to them."""
    constant = set.intersection(*(set(overrides) for overrides, _ in SWEEP))
    rows = []
    for overrides, directory in SWEEP:
        best = find_checkpoint(directory)
        newest = checkpoints_in(directory)[-1].name.removeprefix("step-").lstrip("0") or "0"
        changed = " ".join(override for override in overrides if override not in constant)
        rows.append((best.dev_bits, f"| {changed} | {best.dev_bits:.4f} | {best.step} | {newest} | {directory} |"))
    lines = ["| settings | best dev bits | at step | steps | run |", "| --- | --- | --- | --- | --- |"]
    lines += [line for _, line in sorted(rows)]
    file = SWEEP[0][1].parent / f"{SWEEP[0][1].name.rsplit('-', 1)[0]}.sweep.md"
    with atomic_write(file) as partial:
        partial.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    print(f"(in {file})")
