"""Trains a model on `Objective`; saves the state of training, and restores it to resume exactly."""

import hashlib
import math
from collections.abc import Callable, Iterable
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from vocoder.data.dataset import Batch, Margins, SegmentBatches, read_segment
from vocoder.data.store import Entry, Store
from vocoder.device import reuse_freed_memory
from vocoder.errors import UserError
from vocoder.evaluation.likelihood import likelihood
from vocoder.model import VocoderConfig, VocoderModel, build_model, save_checkpoint
from vocoder.model.checkpoint import Checkpoint, load_weights
from vocoder.settings import differences
from vocoder.training.checks import check_compatible
from vocoder.training.config import TrainingConfig
from vocoder.training.distributed import World
from vocoder.training.guard import ADVICE, Guard
from vocoder.training.interrupts import Interrupted
from vocoder.training.memory import is_out_of_memory, out_of_memory_advice
from vocoder.training.objective import Objective
from vocoder.training.output_statistics import output_statistics
from vocoder.training.precision import pick_precision
from vocoder.training.schedule import ema_update, learning_rate_factor, progress_of
from vocoder.training.train_state import TrainState

MARGINAL_BATCHES = 16  # batches whose samples the output layer's initial distribution is fitted to
MARGINAL_SAMPLES = 2**18  # at most


class StepResult(NamedTuple):
    """What a training step computed, and whether it changed the weights."""

    loss: Tensor  # nats per sample, mean over all processes
    gradient_norm: Tensor  # before clipping
    applied: bool  # False if loss or gradient was not finite: then weights and optimiser are unchanged


class Trainer:
    """A model in training: `state_dict`, `save`, `restore`, `train_step`, `evaluate`.

    Args:
        log: receives messages that a user should see at once.

    Raises:
        UserError: model, store, options and number of processes do not fit together.
    """

    def __init__(
        self,
        vocoder_config: VocoderConfig,
        store: Store,
        config: TrainingConfig,
        device: torch.device,
        world: World = World(),  # noqa: B008
        log: Callable[[str], object] = print,
    ) -> None:
        check_compatible(vocoder_config, store, config, world)
        reuse_freed_memory()
        torch.manual_seed(config.seed)
        self.vocoder_config, self.store, self.config, self.device = vocoder_config, store, config, device
        self.world, self.log = world, log
        self.model = build_model(vocoder_config)
        # Set here rather than in the constructor: it is an option of training, and not part of the model's config.
        self.model.wavenet.recompute = config.batch.recompute
        self.margins = Margins(self.model.history_frames, self.model.context_frames)
        self.data = SegmentBatches(
            store,
            config.batch.size,
            config.batch.segment_frames,
            self.margins,
            config.seed,
            config.batch.sampling,
            rank=world.rank,
            world_size=world.size,
            pre_emphasis=vocoder_config.pre_emphasis,
        )
        self._initialise_from_data()
        self.model.to(device)
        self.ema = AveragedModel(self.model, multi_avg_fn=ema_update(config.optimizer.ema_decay))
        self.optimizer = torch.optim.Adamax(
            self.model.parameters(),
            config.optimizer.learning_rate,
            (config.optimizer.betas[0], config.optimizer.betas[1]),
        )
        self.precision = pick_precision(config.precision, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == torch.float16)
        self.objective = Objective(self.model, config, self.precision)
        self._parallel = world.parallel(self.objective)
        self.state = TrainState(Guard(config.guard), parts=config.batch.accumulate)

    @property
    def step(self) -> int:
        """The number of steps taken."""
        return self.state.step

    @property
    def progress(self) -> float:
        """The fraction of the run that is done; 1 when it is finished."""
        return min(1.0, progress_of(self.config.length, self.state.step, self.state.minutes))

    @property
    def unit(self) -> str:
        """The unit of likelihoods in logs and tables: "bits", or "density_bits" for a continuous density."""
        return "density_bits" if self.vocoder_config.distribution.is_density else "bits"

    def warm_up(self) -> None:
        """Compile the loops of a training step, by computing gradients that are then discarded.

        Memory may run out here already: `train_step` finds that again, and splits its batches.
        """
        self.model.train()
        batch = self.data[self.state.next_batch].to(self.device)
        try:
            self.objective(next(batch.split(self.state.parts)), self.state.next_batch).backward()
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
        self.optimizer.zero_grad()

    def train_step(self, batch: Batch) -> StepResult:
        """Update the weights and their EMA from this process's share of a batch.

        If loss or gradient is not finite, weights and optimiser stay as they are; the step counts all the same.

        Raises:
            UserError: memory runs out and the batch cannot be split further.
        """
        self.model.train()
        self._set_learning_rate()
        scaled = self.scaler.state_dict()
        loss, norm = self._gradients(batch)
        applied = _is_finite(norm) and _is_finite(loss)
        if applied:
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.ema.update_parameters(self.model)
        elif self.scaler.is_enabled():
            self.scaler.update()  # a gradient beyond float16's range halves the next scale
            if not _is_finite(loss):  # but the scale cannot have caused this
                self.scaler.load_state_dict(scaled)
        self.state.step += 1
        self.state.dev_bits = self.state.dev_score = None
        return StepResult(loss, norm, applied)

    def evaluate(self, wrap: Callable[[Iterable[Entry]], Iterable[Entry]] = iter) -> float:
        """Bits per sample of the EMA weights on dev utterances: float32, teacher-forced, shared by all processes.

        Args:
            wrap: wraps the utterances of this process; may end them early.

        Raises:
            Interrupted: `wrap` ended the utterances early, in this process or another.
        """
        entries = self.dev_entries()[self.world.rank :: self.world.size]
        found = likelihood(self.ema_model().eval(), self.store, wrap(entries))
        sums = (float(found.bits.sum()), float(found.samples.sum()), float(len(found.bits) < len(entries)))
        bits, samples, interrupted = self.world.all_reduce_sum(sums, self.device)
        if interrupted:
            raise Interrupted
        return bits / samples

    def unlearned_speakers(self) -> list[str]:
        """Speakers of the model who have no utterance that segments are drawn from."""
        learned = {self.store.speaker_names[i] for i in set(self.data.entries.speaker_indices.tolist()) if i >= 0}
        return [name for name in self.vocoder_config.speakers if name not in learned]

    def ema_model(self) -> VocoderModel:
        """The model with EMA weights, the exponential moving average (before the first step: its initial weights)."""
        return cast(VocoderModel, self.ema.module)

    def dev_entries(self) -> list[Entry]:
        """Dev utterances up to `checkpoint.dev_seconds`, always the same, ordered by a hash of their names.

        A model with speakers is evaluated on those that it learns.

        Raises:
            UserError: there are none.
        """
        known = self.vocoder_config.speakers
        entries = [entry for entry in self.store.split("dev") if not known or entry.speaker in known]
        entries.sort(key=lambda entry: hashlib.sha256(entry.id.encode()).digest())
        if not entries:
            whose = " of the speakers that are learned" if known else ""
            raise UserError(
                f"{self.store.directory}: no dev utterances{whose}; preprocess again with dev_fraction=0.05"
            )
        frames_left = self.config.checkpoint.dev_seconds * self.store.spec.sample_rate / self.store.spec.hop_length
        chosen = []
        for entry in entries:
            if frames_left <= 0:
                break
            chosen.append(entry)
            frames_left -= entry.frames
        return chosen

    @torch.no_grad()
    def output_statistics(self) -> dict[str, float]:
        """Statistics of the EMA weights' output on the first two seconds of dev speech, teacher-forced."""
        entry = self.dev_entries()[0]
        frames = min(entry.frames, 2 * self.store.spec.sample_rate // self.store.spec.hop_length)
        model = self.ema_model().eval()
        segment = read_segment(self.store, entry, 0, frames, self.margins, model.pre_emphasis)
        wave, mel = (torch.from_numpy(array)[None].to(self.device) for array in segment)
        speaker = model.speaker_index(model.speaker_name(entry.speaker))
        return output_statistics(model.distribution, model(model.distribution.grid.round(wave), mel, speaker))

    def save(self, directory: Path) -> None:
        """Write a checkpoint.

        Raises:
            UserError: weights are not finite; or there is no space, or no permission.
        """
        broken = [name for name, weights in self.model.named_parameters() if not weights.isfinite().all()]
        if broken:
            raise UserError(f"step {self.step}: {broken[0]} holds NaN or infinite weights; not saved. {ADVICE}")
        weights = {"model": self.model.state_dict(), "ema": self.ema_model().state_dict()}
        metrics = {
            "step": self.step,
            "minutes": self.state.minutes,
            "dev_bits": self.state.dev_bits,
            "best_by": self.config.checkpoint.best,
            "score": self.state.dev_score,
            "data": self.store.identity,
        }
        save_checkpoint(directory, self.vocoder_config, weights, metrics, self.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs besides the weights to resume exactly."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "averaged_steps": self.ema.n_averaged,
            **self.state.state_dict(),
            "settings": asdict(self.config),
        }

    def restore(self, checkpoint: Checkpoint) -> list[str]:
        """Resume from a checkpoint; returns the options that have changed since.

        Raises:
            UserError: the checkpoint is another model's.
        """
        self._check_same_model(checkpoint)
        saved = checkpoint.train_state()
        load_weights(self.model, checkpoint, "model")
        load_weights(self.ema_model(), checkpoint, "ema")
        self.ema.n_averaged.copy_(saved["averaged_steps"])
        self.optimizer.load_state_dict(saved["optimizer"])
        for group in self.optimizer.param_groups:  # loading has set the saved betas; the current settings prevail
            group["betas"] = self.config.optimizer.betas
        if saved["scaler"]:  # empty if the run was not in float16
            self.scaler.load_state_dict(saved["scaler"])
        changed = sorted(differences(saved["settings"], asdict(self.config), "training."))
        if checkpoint.data not in (None, self.store.identity):
            self.log(
                f"{self.store.directory}: holds other data than this run was trained on; goes on with it. Dev bits "
                "from before do not compare, and only checkpoints from here on can be the best"
            )
        if any("batch." in change for change in changed):
            saved = saved | {"parts": self.state.parts}  # the saved number was for the other batches
        bits, score = (value if math.isfinite(value) else None for value in (checkpoint.dev_bits, checkpoint.score))
        self.state.load_state_dict(saved, bits, score if checkpoint.best_by == self.config.checkpoint.best else None)
        return changed

    def _check_same_model(self, checkpoint: Checkpoint) -> None:
        theirs, ours = checkpoint.config.network_json(), self.vocoder_config.network_json()
        if theirs != ours:
            changed = ", ".join(differences(theirs, ours))
            raise UserError(
                f"{checkpoint.directory}: was trained as another model ({changed}); go back to that, "
                "or choose another name"
            )

    def _initialise_from_data(self) -> None:
        """Set the mel statistics, and start the output layer at the marginal distribution of the data."""
        mean, std = (torch.from_numpy(array) for array in self.store.mel_statistics)
        self.model.set_mel_statistics(mean, std)
        whole = self.data.full_batches()  # the whole batches, which are the same in every process
        excitation = [self.model.excitation(b.waves, b.mel) for b in (whole[i] for i in range(MARGINAL_BATCHES))]
        self.model.initialise_output(torch.cat(excitation).flatten()[:MARGINAL_SAMPLES])

    def _set_learning_rate(self) -> None:
        factor = learning_rate_factor(self.config.schedule, self.step, self.progress)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.optimizer.learning_rate * factor

    def _gradients(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Loss, and the norm of its gradient before clipping; split into more parts when memory runs out.

        Raises:
            UserError: memory runs out for a single segment, or in one of several processes.
        """
        while True:
            try:
                return self._backward(batch)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if self.world.size > 1 or self.state.parts >= len(batch.waves):
                    raise UserError(out_of_memory_advice(self.state.parts, len(batch.waves))) from error
            # Retry outside of the except block, whose traceback keeps tensors alive.
            self.state.parts = min(2 * self.state.parts, len(batch.waves))
            self.log(f"step {self.step}: out of memory; batches are computed in {self.state.parts} parts from here on")
            self.optimizer.zero_grad()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _backward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        self.optimizer.zero_grad()
        loss = torch.zeros((), device=self.device)
        parts = list(batch.split(self.state.parts))
        for part in parts:
            share = len(part.waves) / len(batch.waves)
            last = part is parts[-1]
            with nullcontext() if last else self.world.no_sync(self._parallel):
                part_loss = self._parallel(part, self.state.next_batch) * share
                self.scaler.scale(part_loss).backward()
            loss += part_loss.detach()
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.config.optimizer.gradient_norm)
        return self.world.all_reduce_mean(loss), norm


def _is_finite(value: Tensor) -> bool:
    # Tensors on the device "meta" have no values; tests train there to check that all tensors are on one device.
    return value.device.type == "meta" or math.isfinite(float(value))
