"""vocoder-train: trains a vocoder from a store, or goes on with a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tqdm import tqdm

from vocoder.commands import cli
from vocoder.device import pick_device
from vocoder.errors import UserError
from vocoder.likelihood import NATS_PER_BIT
from vocoder.model import ModelConfig, VocoderConfig
from vocoder.model.config import distribution_from_mapping
from vocoder.settings import from_mapping
from vocoder.store import Store
from vocoder.training import Monitor, Run, Trainer, TrainingSettings
from vocoder.training.interrupts import Interrupts


@dataclass(frozen=True)
class Settings:
    """The command's config."""

    data: str
    name: str
    runs: str
    device: str
    model: ModelConfig
    distribution: dict[str, Any]
    training: TrainingSettings


def main() -> None:
    """The console script."""
    cli.run("train", job)


def job(config: dict[str, Any]) -> int:
    """Train as configured until the run is over or a signal comes."""
    settings = from_mapping(Settings, config)
    trainer = trainer_for(settings)
    run = Run(Path(settings.runs) / _plain_name(settings.name))
    with run.locked():
        return _train(trainer, run)


def trainer_for(settings: Settings) -> Trainer:
    """The trainer of a new run.

    Raises:
        UserError: the store cannot be read, or settings do not fit it or each other.
    """
    store = Store(Path(settings.data))
    distribution = distribution_from_mapping(settings.distribution)
    speakers = store.speakers if settings.model.speaker_channels else ()
    config = VocoderConfig(store.spec, settings.model, distribution, speakers)
    return Trainer(config, store, settings.training, pick_device(settings.device))


def _train(trainer: Trainer, run: Run) -> int:
    run.sweep()
    checkpoint = run.newest(tell=tqdm.write)
    changed = trainer.restore(checkpoint) if checkpoint is not None else []
    _introduce(trainer, run, resumed=checkpoint is not None)
    if changed:
        print(f"settings that changed: {', '.join(changed)}")
    if trainer.progress >= 1:
        print(f"{run.directory}: finished already, at step {trainer.step}; a larger training.length goes on from there")
        return 0
    monitor = Monitor(run.directory, trainer.step)
    try:
        with Interrupts() as interrupts, _Bar(trainer) as bar:
            trainer.train(run, monitor, interrupts, bar.show)
    finally:
        monitor.close()
    _conclude(trainer, run, interrupts)
    return interrupts.exit_code


def _plain_name(name: str) -> str:
    if not name or name in (".", "..") or "/" in name:
        raise UserError(f"name={name}: give a plain name; the run is a folder of that name")
    return name


def _introduce(trainer: Trainer, run: Run, resumed: bool) -> None:
    device, precision = trainer.device, str(trainer.precision).removeprefix("torch.")
    print(trainer.model.describe())
    print(f"{len(trainer.data.entries)} training utterances, {device}, {precision}; {run.directory}", end="")
    print(f" goes on from step {trainer.step}" if resumed else " starts")
    if trainer.data.too_short:
        print(f"{trainer.data.too_short} training utterances are shorter than a segment and are not drawn")


def _conclude(trainer: Trainer, run: Run, interrupts: Interrupts) -> None:
    print(f"{run.directory}: step {trainer.step} after {trainer.minutes:.1f} minutes is saved", end="")
    unit = trainer.unit.replace("_", " ")
    print(f", dev {trainer.dev_bits:.3f} {unit} per sample" if trainer.dev_bits is not None else "")
    if interrupts.signal:
        print("stopped by a signal; the same command goes on from here")
    else:
        print(f"listen: vocoder-synthesize model={run.directory} input={trainer.store.directory} output=synthesized")


class _Bar:
    """Progress through a run, in steps or (where it is bounded by time alone) in seconds."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        length = trainer.settings.length
        self._total = length.steps or round(60 * (length.minutes or 0))
        self._bar: tqdm[Any] = tqdm(
            total=self._total,
            initial=self._now(),
            unit="step" if length.steps else "s",
            dynamic_ncols=True,
            bar_format="{l_bar}{bar}| {n_fmt}/{total_fmt} {unit} [{elapsed}<{remaining}{postfix}]",
        )

    def _now(self) -> int:
        return int(self._trainer.progress * self._total)

    def __enter__(self) -> "_Bar":
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.close()

    def show(self, loss: float, samples_per_second: float) -> None:
        """What each log interval brings: the loss in nats per sample."""
        trainer = self._trainer
        self._bar.update(self._now() - self._bar.n)
        dev = {} if trainer.last_dev_bits is None else {"dev": f"{trainer.last_dev_bits:.3f}"}
        self._bar.set_postfix(
            step=trainer.step,
            loss=f"{loss:.3f}",
            **({trainer.unit: f"{loss / NATS_PER_BIT:.3f}"} if trainer.loss_is_likelihood else {}),
            **dev,
            samples=f"{samples_per_second / 1000:.1f}k/s",
        )
