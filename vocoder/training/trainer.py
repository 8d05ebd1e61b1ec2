"""The learner: minimises the exact negative log-likelihood, and can be put down and taken up again."""

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
from vocoder.device import pick_precision, reuse_freed_memory
from vocoder.errors import UserError
from vocoder.evaluation.likelihood import likelihood
from vocoder.evaluation.spectral import SHORTEST
from vocoder.model import VocoderConfig, VocoderModel, build_model, save_checkpoint
from vocoder.model.checkpoint import Checkpoint
from vocoder.settings import differences
from vocoder.training.config import TrainingConfig
from vocoder.training.distributed import World
from vocoder.training.guard import TOO_FAST, Guard
from vocoder.training.interrupts import Interrupted
from vocoder.training.objective import Objective
from vocoder.training.outputs import described
from vocoder.training.schedule import learning_rate_factor, progress_of, warmed_up_average

MARGINAL_BATCHES = 16  # whose samples the output's starting point is fitted to


class Step(NamedTuple):
    """What came of one."""

    loss: Tensor  # nats per sample, over all processes
    gradient_norm: Tensor
    applied: bool  # False where one of them is no number: then nothing was touched


class Trainer:
    """A model in training: `state_dict`, `restore`, `save`, `train_step`, `evaluate`.

    `tell` gets what a user should know of at once.
    """

    def __init__(
        self,
        config: VocoderConfig,
        store: Store,
        settings: TrainingConfig,
        device: torch.device,
        world: World = World(),  # noqa: B008
        tell: Callable[[str], object] = print,
    ) -> None:
        check_fit(config, store, settings, world)
        reuse_freed_memory()
        torch.manual_seed(settings.seed)
        self.config, self.store, self.settings, self.device = config, store, settings, device
        self.world, self.tell = world, tell
        self.model = build_model(config)
        self.model.wavenet.recompute = settings.batch.recompute
        self.margins = Margins(self.model.history_frames, self.model.context_frames)
        self.data = SegmentBatches(
            store,
            settings.batch.size,
            settings.batch.segment_frames,
            self.margins,
            settings.seed,
            settings.batch.sampling,
            rank=world.rank,
            world_size=world.size,
        )
        self._start_from_data()
        self.model.to(device)
        self.averaged = AveragedModel(self.model, multi_avg_fn=warmed_up_average(settings.optimizer.ema_decay))
        self.optimizer = torch.optim.Adamax(
            self.model.parameters(),
            settings.optimizer.learning_rate,
            (settings.optimizer.betas[0], settings.optimizer.betas[1]),
        )
        self.precision = pick_precision(settings.precision, device)
        self.scaler = torch.amp.GradScaler(device.type, enabled=self.precision == torch.float16)
        self.objective = Objective(self.model, settings, self.precision)
        self._parallel = world.parallel(self.objective)
        self.guard = Guard(settings.guard)
        self.parts = settings.batch.accumulate  # more, once memory has run out
        self.step = 0
        self.skipped_batches = 0  # batches that were never trained on: a spike came of them
        self.minutes = 0.0  # of training, evaluation and saving
        self.pending: list[float] = []  # losses that are not logged yet
        self.dev_bits: float | None = None  # measured at this very step
        self.last_dev_bits: float | None = None

    @property
    def progress(self) -> float:
        """How much of the run is done; 1 when it is over."""
        return min(1.0, progress_of(self.settings.length, self.step, self.minutes))

    @property
    def next_batch(self) -> int:
        """The number of the batch that the next step is for."""
        return self.step + self.skipped_batches

    @property
    def unit(self) -> str:
        """What its likelihoods are counted in, by the name they get wherever they are written."""
        return "density_bits" if self.config.distribution.is_density else "bits"

    def train_step(self, batch: Batch) -> Step:
        """One update of weights and their average from this process's share of a batch.

        Nothing is changed where loss or gradient is no number; the step is over all the same.
        """
        self.model.train()
        self._set_learning_rate()
        scaled = self.scaler.state_dict()
        loss, norm = self._gradients(batch)
        applied = _is_number(norm) and _is_number(loss)
        if applied:
            self.scaler.step(self.optimizer)
            self.scaler.update()
            self.averaged.update_parameters(self.model)
        elif self.scaler.is_enabled():
            self.scaler.update()  # a gradient beyond float16's range halves the scale of the next
            if not _is_number(loss):  # but this was none of its doing
                self.scaler.load_state_dict(scaled)
        self.step += 1
        self.dev_bits = None
        return Step(loss, norm, applied)

    def evaluate(self, watched: Callable[[Iterable[Entry]], Iterable[Entry]] = iter) -> float:
        """Bits per sample of the averaged weights on the dev split, in float32, teacher-forced; shared out.

        Raises:
            Interrupted: `watched` ended the utterances early, in this process or another.
        """
        mine = self.dev_entries()[self.world.rank :: self.world.size]
        found = likelihood(self.averaged_model().eval(), self.store, watched(mine))
        sums = (float(found.bits.sum()), float(found.samples.sum()), float(len(found.bits) < len(mine)))
        bits, samples, interrupted = self.world.total(sums, self.device)
        if interrupted:
            raise Interrupted
        return bits / samples

    def averaged_model(self) -> VocoderModel:
        """The model with averaged weights (before the first step, the weights it started with)."""
        return cast(VocoderModel, self.averaged.module)

    def dev_entries(self) -> list[Entry]:
        """Dev utterances in an order that no name decides, up to the evaluated length."""
        entries = sorted(self.store.split("dev"), key=lambda entry: hashlib.sha256(entry.id.encode()).digest())
        if not entries:
            raise UserError(f"{self.store.directory}: its dev split is empty; raise dev_fraction and preprocess again")
        frames_left = self.settings.checkpoint.dev_seconds * self.store.spec.sample_rate / self.store.spec.hop_length
        chosen = []
        for entry in entries:
            if frames_left <= 0:
                break
            chosen.append(entry)
            frames_left -= entry.frames
        return chosen

    def measure_dev(self, watched: Callable[[Iterable[Entry]], Iterable[Entry]] = iter) -> float:
        """`evaluate`, remembered for the checkpoint of this step.

        Raises:
            UserError: it is no number.
        """
        self.dev_bits = self.evaluate(watched)
        if not math.isfinite(self.dev_bits):
            raise UserError(f"step {self.step}: dev bits are {self.dev_bits}; not saved. {TOO_FAST}")
        self.last_dev_bits = self.dev_bits
        return self.dev_bits

    @torch.no_grad()
    def describe_outputs(self) -> dict[str, float]:
        """What the averaged weights predict of the first two seconds of dev speech, in numbers to be watched."""
        entry = self.dev_entries()[0]
        frames = min(entry.frames, 2 * self.store.spec.sample_rate // self.store.spec.hop_length)
        model = self.averaged_model().eval()
        wave, mel = (
            torch.from_numpy(a)[None].to(self.device) for a in read_segment(self.store, entry, 0, frames, self.margins)
        )
        speaker = model.speaker_index(model.speaker_name(entry.speaker))
        return described(model.distribution, model(model.distribution.grid.round(wave), mel, speaker))

    def save(self, directory: Path) -> None:
        """Write a checkpoint.

        Raises:
            UserError: weights are no numbers; or there is no space, or no permission.
        """
        broken = [name for name, weights in self.model.named_parameters() if not weights.isfinite().all()]
        if broken:
            raise UserError(f"step {self.step}: {broken[0]} holds NaN or infinite weights; not saved. {TOO_FAST}")
        weights = {"model": self.model.state_dict(), "ema": self.averaged_model().state_dict()}
        metrics = {"step": self.step, "minutes": self.minutes, "dev_bits": self.dev_bits}
        save_checkpoint(directory, self.config, weights, metrics, self.state_dict())

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs beside the weights, to go on as if nothing had happened."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "averaged_steps": self.averaged.n_averaged,
            "step": self.step,
            "passed_over": self.skipped_batches,
            "parts": self.parts,
            "minutes": self.minutes,
            "pending": list(self.pending),
            "guard": self.guard.state_dict(),
            "last_dev_bits": self.last_dev_bits,
            "settings": asdict(self.settings),
        }

    def restore(self, checkpoint: Checkpoint) -> list[str]:
        """Take up a run where a checkpoint left it; returns which settings are not what they were then.

        Raises:
            UserError: the checkpoint is of another model.
        """
        theirs, ours = checkpoint.config.to_json(), self.config.to_json()
        if theirs != ours:
            changed = ", ".join(differences(theirs, ours))
            raise UserError(
                f"{checkpoint.directory}: was trained as another model ({changed}); go back to that, "
                "or choose another name"
            )
        state = checkpoint.train_state()
        self.model.load_state_dict(checkpoint.weights("model"))
        self.averaged_model().load_state_dict(checkpoint.weights("ema"))
        self.averaged.n_averaged.copy_(state["averaged_steps"])
        self.optimizer.load_state_dict(state["optimizer"])
        for group in self.optimizer.param_groups:
            group["betas"] = self.settings.optimizer.betas
        if state["scaler"]:  # empty where the run was not in float16
            self.scaler.load_state_dict(state["scaler"])
        changed_settings = sorted(differences(state["settings"], asdict(self.settings), "training."))
        self.step, self.minutes = state["step"], state["minutes"]
        self.skipped_batches, self.pending = state.get("passed_over", 0), list(state.get("pending", []))
        self.guard.load_state_dict(state.get("guard", {}))
        if not any("batch." in change for change in changed_settings):
            self.parts = state.get("parts", self.parts)
        self.dev_bits = checkpoint.dev_bits if math.isfinite(checkpoint.dev_bits) else None
        self.last_dev_bits = state.get("last_dev_bits", self.dev_bits)
        return changed_settings

    def _start_from_data(self) -> None:
        mean, std = (torch.from_numpy(array) for array in self.store.mel_statistics)
        self.model.set_mel_statistics(mean, std)
        whole = self.data.full_batches()  # the same in every process
        excitation = [self.model.excitation(b.waves, b.mel) for b in (whole[i] for i in range(MARGINAL_BATCHES))]
        self.model.initialise_output(torch.cat(excitation).flatten()[: 2**18])

    def _set_learning_rate(self) -> None:
        factor = learning_rate_factor(self.settings.schedule, self.step, self.progress)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.optimizer.learning_rate * factor

    def _gradients(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """(loss, norm of its gradient before that is scaled down), in more and smaller parts where memory runs out.

        Raises:
            UserError: it runs out for a single segment, or in one of several processes.
        """
        while True:
            try:
                return self._backward(batch)
            except (RuntimeError, MemoryError) as error:
                if not _out_of_memory(error):
                    raise
                if self.world.size > 1 or self.parts >= len(batch.waves):
                    raise UserError(_no_memory(self.parts, len(batch.waves))) from error
            self.parts = min(2 * self.parts, len(batch.waves))  # outside of except, whose traceback holds tensors
            self.tell(f"step {self.step}: out of memory; batches are computed in {self.parts} parts from here on")
            self.optimizer.zero_grad()
            if self.device.type == "cuda":
                torch.cuda.empty_cache()

    def _backward(self, batch: Batch) -> tuple[Tensor, Tensor]:
        self.optimizer.zero_grad()
        loss = torch.zeros((), device=self.device)
        parts = list(batch.split(self.parts))
        for part in parts:
            share = len(part.waves) / len(batch.waves)
            last = part is parts[-1]
            with nullcontext() if last else self.world.apart(self._parallel):
                part_loss = self._parallel(part, self.next_batch) * share
                self.scaler.scale(part_loss).backward()
            loss += part_loss.detach()
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.optimizer.gradient_norm)
        return self.world.mean(loss), norm


def check_fit(config: VocoderConfig, store: Store, settings: TrainingConfig, world: World) -> None:
    """Raises UserError where the parts of a training run do not fit each other."""
    if store.spec != config.mel:
        raise UserError(
            f"{store.directory}: its mels are not the model's ({store.spec.differences(config.mel)}); "
            "preprocess the corpus with the model's mel, or train a new model"
        )
    batch = settings.batch
    samples = batch.segment_frames * store.spec.hop_length
    if settings.loss.spectral_weight and samples < SHORTEST:
        raise UserError(
            f"training.batch.segment_frames={batch.segment_frames}: {samples} samples are too few for a spectral "
            f"loss; take {math.ceil(SHORTEST / store.spec.hop_length)} or more, or training.loss.spectral_weight=0"
        )
    if batch.size % world.size:
        raise UserError(
            f"training.batch.size={batch.size}: is what all {world.size} processes compute together; "
            f"take a multiple of {world.size}"
        )


def _is_number(value: Tensor) -> bool:
    return value.device.type == "meta" or math.isfinite(float(value))


def _out_of_memory(error: BaseException) -> bool:
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def _no_memory(parts: int, segments: int) -> str:
    if parts >= segments:
        return "out of memory for a single segment; take a smaller training.batch.segment_frames, or a smaller model"
    return f"out of memory in one of several processes; take training.batch.accumulate={2 * parts}: the same in parts"
