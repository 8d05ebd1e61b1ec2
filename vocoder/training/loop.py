"""A run from where it is to its end, or to a signal: steps, logs, evaluations, checkpoints, auditions."""

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from statistics import fmean

import torch

from vocoder.data.dataset import Batch
from vocoder.evaluation.likelihood import NATS_PER_BIT
from vocoder.training.audition import audition
from vocoder.training.guard import Verdict
from vocoder.training.interrupts import Interrupted, Interrupts
from vocoder.training.monitor import Monitor
from vocoder.training.run import Run
from vocoder.training.trainer import Step, Trainer

Bar = Callable[[float, float], None]  # is shown losses, and samples per second


class Loop:
    """Takes a trainer through its run, in each of the processes that share it."""

    def __init__(self, trainer: Trainer, run: Run, monitor: Monitor, interrupts: Interrupts, bar: Bar) -> None:
        self.trainer, self.run, self.monitor, self.interrupts, self.bar = trainer, run, monitor, interrupts, bar
        self.settings = trainer.settings
        self.world = trainer.world
        self.clock = Clock(trainer)
        self.stopping = False

    def train(self) -> None:
        """Train until the run is over or a signal came, then save."""
        trainer = self.trainer
        if trainer.step == 0:
            self._checkpoint()
        batches = self._batches()
        while trainer.progress < 1 and not self.stopping:
            self.clock.count_break()  # only now, or what the last checkpoint says of its minutes were outdated
            batch = next(batches).to(trainer.device)
            self.clock.count_waiting()
            step = trainer.train_step(batch)
            self.clock.count_step()
            if self._judge(step, batch) is Verdict.SPIKE and self.settings.guard.roll_back:
                self._roll_back()
                batches = self._batches()
            self._after_step(step)
        self._end()

    def _batches(self) -> Iterator[Batch]:
        trainer = self.trainer
        return trainer.data.batches(
            trainer.next_batch, self.settings.batch.workers, pin_memory=trainer.device.type == "cuda"
        )

    def _judge(self, step: Step, batch: Batch) -> Verdict:
        loss, norm, number = float(step.loss), float(step.gradient_norm), self.trainer.step
        verdict = self.trainer.guard.judge(number, loss, norm, step.applied, batch.ids)
        if step.applied:
            self.trainer.pending.append(loss)
        if verdict is Verdict.GOOD or (verdict is Verdict.SKIPPED and self.trainer.scaler.is_enabled()):
            return verdict  # float16 finds its scale by trying
        what = "skipped, loss or gradient is no number" if verdict is Verdict.SKIPPED else "the loss has spiked"
        event = f"step {number}: {what} (loss {loss:.4g}, gradient norm {norm:.4g}, of {', '.join(batch.ids)})"
        self.trainer.tell(event)
        self.monitor.event(number, event, batch.ids)
        return verdict

    def _roll_back(self) -> None:
        """Go back to the last checkpoint, and on from there without the batches since."""
        trainer, spiked = self.trainer, self.trainer.next_batch
        trainer.guard.may_roll_back(trainer.step)
        times = trainer.guard.rolled_back
        checkpoint = self.run.newest_of_all(self.world, trainer.tell)
        if checkpoint is None:
            return
        trainer.restore(checkpoint)
        trainer.skipped_batches = spiked - trainer.step
        trainer.guard.rolled_back = times + 1
        self.monitor.rewind(trainer.step)
        trainer.tell(f"back to step {trainer.step}, and on from there with other batches")

    def _after_step(self, step: Step) -> None:
        trainer, at = self.trainer, self.trainer.step
        if at % self.settings.log_every == 0:
            self._log(step)
        trainer.minutes, self.stopping = self._agreed()
        if trainer.progress >= 1 or self.stopping:
            return
        if self.settings.audition.every and at % self.settings.audition.every == 0:
            self._audition()
        if at % self.settings.checkpoint.every == 0:
            self._checkpoint()

    def _agreed(self) -> tuple[float, bool]:
        """(minutes, whether a signal came): the same in every process, or they would part."""
        minutes, stopping = self.world.largest(
            (self.trainer.minutes, float(bool(self.interrupts.signal))), self.trainer.device
        )
        return minutes, bool(stopping)

    def _end(self) -> None:
        if not self.stopping and self.settings.audition.every:
            self._audition()
        self._checkpoint()

    def _audition(self) -> None:
        if self.world.is_first:
            with suppress(Interrupted):
                audition(self.trainer, self.monitor, self.interrupts.check)
        self.world.wait()

    def _checkpoint(self) -> None:
        """Evaluate, unless there is a hurry; save; and forget older checkpoints."""
        trainer = self.trainer
        if trainer.dev_bits is None and not self.stopping:
            with suppress(Interrupted):
                bits = trainer.measure_dev(self.interrupts.until)
                self.monitor.scalars(
                    trainer.step,
                    {f"{trainer.unit}/dev": bits, "minutes": trainer.minutes} | trainer.describe_outputs(),
                )
        if self.world.is_first:
            directory = self.run.checkpoint_directory(trainer.step)
            if not directory.exists():
                trainer.save(directory)
            self.run.prune(self.settings.checkpoint.keep, self.settings.checkpoint.keep_every)
        self.world.wait()

    def _log(self, step: Step) -> None:
        trainer = self.trainer
        seconds, waiting = self.clock.lap()
        batch = self.settings.batch
        samples = self.settings.log_every * batch.size * batch.segment_frames * trainer.store.spec.hop_length
        values = {
            "learning_rate": trainer.optimizer.param_groups[0]["lr"],
            "gradient_norm": float(step.gradient_norm),
            "samples_per_second": samples / max(seconds, 1e-9),
            "data_wait": waiting / max(seconds, 1e-9),
        }
        if trainer.guard.skipped:
            values["skipped_steps"] = float(trainer.guard.skipped)
        if trainer.device.type == "cuda":
            values["gpu_memory_gb"] = torch.cuda.max_memory_allocated(trainer.device) / 1e9
        if trainer.pending:
            loss = fmean(trainer.pending)
            values["loss/train"] = loss
            if trainer.objective.is_likelihood:
                values[f"{trainer.unit}/train"] = loss / NATS_PER_BIT
            self.bar(loss, values["samples_per_second"])
        trainer.pending = []
        self.monitor.scalars(trainer.step, values)


class Clock:
    """Counts a trainer's minutes, and of these the seconds of its steps; `lap` gives those since the last lap."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._last = time.monotonic()
        self._step_seconds = self._waiting_seconds = 0.0

    def count_break(self) -> float:
        """What passed since the last count: evaluation, audition, saving."""
        now = time.monotonic()
        seconds, self._last = now - self._last, now
        self._trainer.minutes += seconds / 60
        return seconds

    def count_waiting(self) -> None:
        """What passed since the last count was waiting for data."""
        seconds = self.count_break()
        self._waiting_seconds += seconds
        self._step_seconds += seconds

    def count_step(self) -> None:
        """What passed since the last count was a step."""
        self._step_seconds += self.count_break()

    def lap(self) -> tuple[float, float]:
        """Seconds of steps since the last lap, and how many of them were waiting for data."""
        found = self._step_seconds, self._waiting_seconds
        self._step_seconds = self._waiting_seconds = 0.0
        return found
