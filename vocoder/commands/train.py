"""vocoder-train: trains a vocoder from a store, or goes on with a run; alone, with others, or in a sweep."""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vocoder.commands import cli
from vocoder.commands.progress import TrainingBar, write_above
from vocoder.data.store import Store
from vocoder.device import pick_device
from vocoder.errors import UserError
from vocoder.files import atomic_write
from vocoder.model import ModelConfig, VocoderConfig, find_checkpoint
from vocoder.model.checkpoint import checkpoints_in
from vocoder.model.config import distribution_from_mapping
from vocoder.settings import flatten, from_mapping
from vocoder.training import Loop, Monitor, NullMonitor, Run, Trainer, TrainingConfig, World, joined, local_device
from vocoder.training.interrupts import Interrupts
from vocoder.training.transfer import changes, start_from


@dataclass(frozen=True)
class Config:
    """The command's config."""

    data: str
    name: str
    runs: str
    init_from: str | None
    device: str
    model: ModelConfig
    distribution: dict[str, Any]
    training: TrainingConfig


TOLD = 143  # exit code of a process that stops because another one got a signal
SWEEP: list[tuple[list[str], Path]] = []  # (what was set, run) of each job of --multirun


def main() -> None:
    """The console script."""
    cli.run_job("train", job)
    if SWEEP:
        tell_sweep()


def job(config: dict[str, Any]) -> int:
    """Train as configured until the run is over or a signal comes."""
    settings = from_mapping(Config, config)
    sweep = cli.sweep_job()
    if sweep is not None:
        settings = replace(settings, name=f"{settings.name}-{sweep.number}")
    run = Run(Path(settings.runs) / _checked_name(settings.name))
    device = pick_device(local_device(settings.device))
    with joined(device) as world:
        trainer = trainer_for(settings, world)
        with run.locked() if world.is_first else nullcontext():
            code = _train(trainer, run, settings)
    if sweep is not None:
        SWEEP.append((sweep.overrides, run.directory))
    return code


def trainer_for(settings: Config, world: World = World()) -> Trainer:  # noqa: B008
    """The trainer of a new run.

    Raises:
        UserError: the store cannot be read, or settings do not fit it or each other.
    """
    store = Store(Path(settings.data))
    distribution = distribution_from_mapping(settings.distribution)
    speakers = store.speakers if settings.model.speaker_channels else ()
    config = VocoderConfig(store.spec, settings.model, distribution, speakers)
    device = pick_device(local_device(settings.device))
    return Trainer(config, store, settings.training, device, world, write_above if world.is_first else discard)


def discard(message: str) -> None: ...


def _train(trainer: Trainer, run: Run, settings: Config) -> int:
    world, tell = trainer.world, trainer.tell
    if world.is_first:
        run.sweep()
    checkpoint = run.newest_of_all(world, tell)
    if checkpoint is not None:
        changed = trainer.restore(checkpoint)
    elif settings.init_from is not None:
        _begin_with(trainer, settings.init_from)
    _introduce(trainer, run, resumed=checkpoint is not None)
    if checkpoint is not None and changed:
        tell(f"settings that changed: {', '.join(changed)}")
    if trainer.progress >= 1:
        tell(f"{run.directory}: finished already, at step {trainer.step}; a larger training.length goes on from there")
        return 0
    monitor = Monitor(run.directory, trainer.step) if world.is_first else NullMonitor()
    try:
        with Interrupts(to_the_end=True) as interrupts, TrainingBar(trainer) as bar:
            loop = Loop(trainer, run, monitor, interrupts, bar.show)
            loop.train()
            if not loop.stopping and trainer.dev_bits is not None:
                monitor.settings(_flat(settings), {f"final/{trainer.unit}/dev": trainer.dev_bits})
            bar.close()
            if world.is_first:
                _conclude(trainer, run, loop.stopping)
            world.wait()  # torchrun ends all when one has ended
    finally:
        monitor.close()
    return interrupts.exit_code or (TOLD if loop.stopping else 0)


def _begin_with(trainer: Trainer, path: str) -> None:
    """Weights of another model, in every process; the average begins with them too."""
    checkpoint = find_checkpoint(Path(path))
    trainer.tell(f"begins with {checkpoint.directory}, step {checkpoint.step}")
    for line in [*changes(trainer.config.to_json(), checkpoint), *start_from(trainer.model, checkpoint)]:
        trainer.tell(f"  {line}")
    trainer.averaged_model().load_state_dict(trainer.model.state_dict())


def _flat(settings: Config) -> dict[str, Any]:
    parts = (("model", settings.model), ("training", settings.training))
    flat = {f"{part}.{name}": value for part, value in parts for name, value in flatten(value).items()}
    return flat | {f"distribution.{name}": value for name, value in settings.distribution.items()}


def _checked_name(name: str) -> str:
    if not name or name in (".", "..") or "/" in name:
        raise UserError(f"name={name}: must be a plain name without /, because it names the run's folder in `runs`")
    return name


def _introduce(trainer: Trainer, run: Run, resumed: bool) -> None:
    device, precision = trainer.device, str(trainer.precision).removeprefix("torch.")
    tell, size = trainer.tell, trainer.world.size
    tell(trainer.model.describe())
    together = f" in {size} processes" if size > 1 else ""
    goes = f"goes on from step {trainer.step}" if resumed else "starts"
    tell(f"{len(trainer.data.entries)} training utterances, {device}, {precision}{together}; {run.directory} {goes}")
    if trainer.data.too_short:
        tell(f"{trainer.data.too_short} training utterances are shorter than a segment and are not drawn")


def _conclude(trainer: Trainer, run: Run, stopped: bool) -> None:
    print(f"{run.directory}: step {trainer.step} after {trainer.minutes:.1f} minutes is saved", end="")
    unit = trainer.unit.replace("_", " ")
    print(f", dev {trainer.dev_bits:.3f} {unit} per sample" if trainer.dev_bits is not None else "", end="")
    best = find_checkpoint(run.directory)
    print(f"; best is step {best.step} with {best.dev_bits:.3f}" if best.step != trainer.step else "; none was better")
    if trainer.guard.skipped:
        print(f"{trainer.guard.skipped} steps were skipped; {run.directory}/log.jsonl has their utterances")
    if stopped:
        print("stopped by a signal; the same command goes on from here")
    else:
        print(f"listen: vocoder-synthesize model={run.directory} input={trainer.store.directory} output=synthesized")


def tell_sweep() -> None:
    """A table of the runs of a sweep, the best first; also in a file beside them."""
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
    with atomic_write(file) as aside:
        aside.write_text("\n".join(lines) + "\n", encoding="utf-8")
    print("\n".join(lines))
    print(f"(in {file})")
