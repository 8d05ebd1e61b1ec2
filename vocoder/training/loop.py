"""The training loop: steps, logging, evaluation, checkpoints and auditions, to the end of a run or to a signal."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from statistics import fmean

import torch

from vocoder.data.dataset import Batch
from vocoder.errors import UserError
from vocoder.evaluation.likelihood import NATS_PER_BIT
from vocoder.training.audition import audition
from vocoder.training.dev_speech import measure_dev_speech, score_of
from vocoder.training.guard import ADVICE, Verdict
from vocoder.training.interrupts import Interrupted, Interrupts
from vocoder.training.monitor import Monitor
from vocoder.training.run import Run
from vocoder.training.train_state import TrainState
from vocoder.training.trainer import StepResult, Trainer

ShowProgress = Callable[[float, float], None]  # called with (mean loss, samples per second)


class Loop:
    """Runs a trainer to the end of its run, in each of the processes that share it.

    Args:
        show: called at every log interval with the mean loss in nats per sample, and samples per second.
    """

    def __init__(
        self, trainer: Trainer, run: Run, monitor: Monitor, interrupts: Interrupts, show: ShowProgress
    ) -> None:
        self.trainer, self.run, self.monitor, self.interrupts, self.show = trainer, run, monitor, interrupts, show
        self.config, self.state, self.world = trainer.config, trainer.state, trainer.world
        self.clock = Clock(self.state)
        self.stopping = False  # a signal came, in this process or another

    def train(self) -> None:
        """Train until the run is finished or a signal comes, then save.

        Raises:
            UserError: training diverges, or a checkpoint cannot be written.
        """
        trainer = self.trainer
        trainer.warm_up()
        if trainer.step == 0:
            self._checkpoint()
        self.clock.start()  # only here: neither compilation nor the first evaluation is training
        batches = self._batches()
        while trainer.progress < 1 and not self.stopping:
            self.clock.count_break()  # here, so that the minutes in the last checkpoint are those when it was saved
            batch = next(batches).to(trainer.device)
            self.clock.count_waiting()
            result = trainer.train_step(batch)
            self.clock.count_step()
            if self._judge(result, batch) is Verdict.SPIKE and self.config.guard.roll_back:
                self._roll_back()
                batches = self._batches()
            self._after_step(result)
        self._end()

    def _batches(self) -> Iterator[Batch]:
        pin_memory = self.trainer.device.type == "cuda"
        return self.trainer.data.batches(self.state.next_batch, self.config.batch.workers, pin_memory)

    def _judge(self, result: StepResult, batch: Batch) -> Verdict:
        loss, norm, step = float(result.loss), float(result.gradient_norm), self.state.step
        verdict = self.state.guard.judge(step, loss, norm, result.applied, batch.ids)
        if result.applied:
            self.state.unlogged_losses.append(loss)
        if verdict is Verdict.GOOD or (verdict is Verdict.SKIPPED and self.trainer.scaler.is_enabled()):
            return verdict  # skipped steps are normal while float16 searches for its loss scale
        event = "skipped, loss or gradient is not finite" if verdict is Verdict.SKIPPED else "the loss has spiked"
        message = f"step {step}: {event} (loss {loss:.4g}, gradient norm {norm:.4g}, batch of {', '.join(batch.ids)})"
        self.trainer.log(message)
        self.monitor.event(step, message, batch.ids)
        return verdict

    def _roll_back(self) -> None:
        """Restore the last checkpoint; the batches since then are left out."""
        state = self.state
        spiked_batch, rolled_back = state.next_batch, state.guard.rolled_back
        state.guard.check_rollbacks(state.step)
        checkpoint = self.run.recover_newest(self.trainer.log, self.world)
        if checkpoint is None:
            return
        self.trainer.restore(checkpoint)
        state.dropped_batches = spiked_batch - state.step
        state.guard.rolled_back = rolled_back + 1
        self.monitor.rewind(state.step)
        self.trainer.log(f"back to step {state.step}; continuing from there with other batches")

    def _after_step(self, result: StepResult) -> None:
        step = self.state.step
        if step % self.config.log_every == 0:
            self._log(result)
        self.state.minutes, self.stopping = self._agreed()
        if self.trainer.progress >= 1 or self.stopping:
            return
        if self.config.audition.every and step % self.config.audition.every == 0:
            self._audition()
        if step % self.config.checkpoint.every == 0:
            self._checkpoint()

    def _agreed(self) -> tuple[float, bool]:
        """(minutes, whether a signal came), the same in every process: otherwise some would stop and others not."""
        values = (self.state.minutes, float(bool(self.interrupts.signal)))
        minutes, stopping = self.world.all_reduce_max(values, self.trainer.device)
        return minutes, bool(stopping)

    def _end(self) -> None:
        if not self.stopping and self.config.audition.every:
            self._audition()
        self._checkpoint()

    def _audition(self) -> None:
        if self.world.is_first:
            with suppress(Interrupted):
                audition(self.trainer, self.monitor, self.interrupts.check)
        self.world.barrier()

    def _checkpoint(self) -> None:
        """Evaluate (unless a signal came), save, and delete old checkpoints."""
        if self.state.dev_bits is None and not self.stopping:
            with suppress(Interrupted):
                self._evaluate()
        if self.world.is_first:
            directory = self.run.checkpoint_directory(self.state.step)
            if not directory.exists():
                self.trainer.save(directory)
            self.run.prune(self.config.checkpoint.keep, self.config.checkpoint.keep_every)
        self.world.barrier()

    def _evaluate(self) -> None:
        trainer, state = self.trainer, self.state
        bits = trainer.evaluate(self.interrupts.until_signal)
        if not math.isfinite(bits):
            raise UserError(f"step {state.step}: dev bits are {bits}; not saved. {ADVICE}")
        values = {f"{trainer.unit}/dev": bits, "minutes": state.minutes}
        score = bits
        if self.config.checkpoint.best != "bits":
            heard, score = self._measure_dev_speech()
            values |= heard
        state.dev_bits, state.last_dev_bits, state.dev_score = bits, bits, score
        self.monitor.scalars(state.step, values | trainer.output_statistics())

    def _measure_dev_speech(self) -> tuple[dict[str, float], float]:
        """Measures of synthesised dev speech, and the score of `checkpoint.best`, in the first process alone.

        Raises:
            Interrupted: a signal came.
        """
        if not self.world.is_first:
            return {}, math.inf
        values = measure_dev_speech(self.trainer, self.interrupts.check)
        return {f"free_running/{name}": value for name, value in values.items()}, score_of(self.trainer, values)

    def _log(self, result: StepResult) -> None:
        trainer, state = self.trainer, self.state
        seconds, waiting = self.clock.lap()
        batch = self.config.batch
        samples = self.config.log_every * batch.size * batch.segment_frames * trainer.store.spec.hop_length
        values = {
            "learning_rate": trainer.optimizer.param_groups[0]["lr"],
            "gradient_norm": float(result.gradient_norm),
            "samples_per_second": samples / max(seconds, 1e-9),
            "data_wait": waiting / max(seconds, 1e-9),
        }
        if state.guard.skipped:
            values["skipped_steps"] = float(state.guard.skipped)
        if trainer.device.type == "cuda":
            values["gpu_memory_gb"] = torch.cuda.max_memory_allocated(trainer.device) / 1e9
        if state.unlogged_losses:
            loss = fmean(state.unlogged_losses)
            values["loss/train"] = loss
            if trainer.objective.is_likelihood:
                values[f"{trainer.unit}/train"] = loss / NATS_PER_BIT
            self.show(loss, values["samples_per_second"])
        state.unlogged_losses = []
        self.monitor.scalars(state.step, values)


class Clock:
    """Counts the minutes of a run, and the seconds of its steps; `lap` returns the seconds since the last lap."""

    def __init__(self, state: TrainState) -> None:
        self._state = state
        self._step_seconds = self._waiting_seconds = 0.0
        self.start()

    def start(self) -> None:
        """Count from now on."""
        self._last = time.monotonic()

    def count_break(self) -> None:
        """Count the time since the last count as evaluation, audition or saving: in the minutes, not in the steps."""
        self._elapsed()

    def count_waiting(self) -> None:
        """Count the time since the last count as waiting for data, which is part of a step."""
        seconds = self._elapsed()
        self._waiting_seconds += seconds
        self._step_seconds += seconds

    def count_step(self) -> None:
        """Count the time since the last count as part of a step."""
        self._step_seconds += self._elapsed()

    def lap(self) -> tuple[float, float]:
        """Seconds of steps since the last lap, and the seconds of these spent waiting for data."""
        found = self._step_seconds, self._waiting_seconds
        self._step_seconds = self._waiting_seconds = 0.0
        return found

    def _elapsed(self) -> float:
        """Seconds since the last count; adds them to the run's minutes."""
        now = time.monotonic()
        seconds, self._last = now - self._last, now
        self._state.minutes += seconds / 60
        return seconds
