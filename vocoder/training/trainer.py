"""The learner: minimises the exact negative log-likelihood, and can be put down and taken up again."""

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any, cast

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from vocoder.audio import int16_to_waveform
from vocoder.dataset import Batch, SegmentBatches, Shape
from vocoder.device import in_precision, keep_freed_memory, pick_precision
from vocoder.engines import Noise
from vocoder.errors import UserError
from vocoder.likelihood import NATS_PER_BIT, likelihood
from vocoder.mel import log_mel
from vocoder.model import VocoderConfig, VocoderModel, build_model, save_checkpoint
from vocoder.model.checkpoint import Checkpoint
from vocoder.settings import differences
from vocoder.spectral import SHORTEST, multi_resolution_stft_distance
from vocoder.store import Entry, Store
from vocoder.synthesis import Request, Vocoder
from vocoder.training.interrupts import Interrupts
from vocoder.training.monitor import Monitor
from vocoder.training.run import Run
from vocoder.training.schedule import learning_rate_factor, progress_of, warmed_up_average
from vocoder.training.settings import TrainingSettings

TOO_FAST = "Start again from the last checkpoint (the same command) with a lower training.optimizer.learning_rate"
MARGINAL_BATCHES = 16  # whose samples the output's starting point is fitted to


class Trainer:
    """A model in training: `state_dict`, `restore`, `train`, `train_step`, `evaluate`."""

    def __init__(self, config: VocoderConfig, store: Store, settings: TrainingSettings, device: torch.device) -> None:
        if store.spec != config.mel:
            raise UserError(
                f"{store.directory}: its mels are not the model's ({store.spec.differences(config.mel)}); "
                "preprocess the corpus with the model's mel, or train a new model"
            )
        keep_freed_memory()
        torch.manual_seed(settings.seed)
        self.config, self.store, self.settings, self.device = config, store, settings, device
        self.model = build_model(config)
        self.shape = Shape(self.model.history_frames, self.model.context_frames)
        batch = settings.batch
        samples = batch.segment_frames * store.spec.hop_length
        if settings.loss.spectral_weight and samples < SHORTEST:
            raise UserError(
                f"training.batch.segment_frames={batch.segment_frames}: {samples} samples are too few for a spectral "
                f"loss; take {math.ceil(SHORTEST / store.spec.hop_length)} or more, or training.loss.spectral_weight=0"
            )
        self.data = SegmentBatches(store, batch.size, batch.segment_frames, self.shape, settings.seed)
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
        self.step = 0
        self.minutes = 0.0  # of training, evaluation and saving
        self.dev_bits: float | None = None  # measured at this very step
        self.last_dev_bits: float | None = None

    @property
    def progress(self) -> float:
        """How much of the run is done; 1 when it is over."""
        return min(1.0, progress_of(self.settings.length, self.step, self.minutes))

    @property
    def unit(self) -> str:
        """What its likelihoods are counted in, by the name they get wherever they are written."""
        return "density_bits" if self.config.distribution.is_density else "bits"

    @property
    def loss_is_likelihood(self) -> bool:
        """Whether nothing is added to it, so that it can be told in bits."""
        return self.settings.loss.spectral_weight == 0

    def train(self, run: Run, monitor: Monitor, interrupts: Interrupts, bar: Callable[[float, float], None]) -> None:
        """Train until the run is over or a signal came, then save. `bar` is shown losses and samples per second."""
        batches = self.data.batches(self.step, self.settings.batch.workers, self.device.type == "cuda")
        clock = Clock(self)
        if self.step == 0:
            self.checkpoint(run, monitor)
        losses: list[Tensor] = []
        while self.progress < 1 and not interrupts.signal:
            clock.count_break()  # only now, or what the last checkpoint says of its minutes were outdated
            batch = next(batches)
            loss, gradient_norm = self.train_step(batch.to(self.device))
            losses.append(loss)
            clock.count_step()
            logging, saving, auditioning = (
                every and self.step % every == 0
                for every in (self.settings.log_every, self.settings.checkpoint.every, self.settings.audition.every)
            )
            if logging or saving or self.progress >= 1 or interrupts.signal:
                mean_loss = self._finite_mean(losses, batch)
            if logging:
                self._log(monitor, mean_loss, len(losses), gradient_norm, clock.lap(), bar)
                losses = []
            if auditioning and self.progress < 1:
                self.audition(monitor)
            if saving and self.progress < 1:
                self.checkpoint(run, monitor)
        if self.progress >= 1 and self.settings.audition.every:
            self.audition(monitor)
        self.checkpoint(run, monitor, evaluate=not interrupts.signal)

    def train_step(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """One update of weights and their average; returns (loss in nats per sample, gradient norm)."""
        self.model.train()
        factor = learning_rate_factor(self.settings.schedule, self.step, self.progress)
        for group in self.optimizer.param_groups:
            group["lr"] = self.settings.optimizer.learning_rate * factor
        loss = torch.zeros((), device=self.device)
        self.optimizer.zero_grad()
        for part in batch.split(self.settings.batch.accumulate):
            share = len(part.waves) / len(batch.waves)
            part_loss = self.loss(part) * share
            self.scaler.scale(part_loss).backward()
            loss += part_loss.detach()
        self.scaler.unscale_(self.optimizer)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.settings.optimizer.gradient_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.averaged.update_parameters(self.model)
        self.step += 1
        self.dev_bits = None
        return loss, norm

    def loss(self, batch: Batch) -> Tensor:
        """Mean negative log-likelihood in nats per sample, every sample with its whole receptive field.

        With a spectral weight also the distance of a relaxed teacher-forced draw to the target, times the weight.
        """
        with in_precision(self.precision, self.device):
            params, target = self.model.predict(batch.waves, batch.mel, batch.speaker)
        loss = -self.model.distribution.log_prob(params, target).mean()
        if self.settings.loss.spectral_weight:
            loss = loss + self.settings.loss.spectral_weight * self._spectral_distance(params, target, batch.ids)
        return loss

    def _spectral_distance(self, params: Tensor, target: Tensor, ids: list[str]) -> Tensor:
        """Of a draw whose noise is a function of seed, step and utterance, however the batch is split."""
        distribution = self.model.distribution
        noise = Noise(self.settings.seed, [f"{self.step} {id}" for id in ids], distribution.uniforms)
        u = noise.block(0, target.shape[1]).to(self.device)
        drawn = distribution.rsample(params, u, self.settings.loss.spectral_temperature)
        return multi_resolution_stft_distance(drawn, target)

    def evaluate(self) -> float:
        """Bits per sample of the averaged weights on the dev split, in float32, teacher-forced."""
        return likelihood(self.averaged_model().eval(), self.store, self._dev_entries()).per_sample

    def audition(self, monitor: Monitor) -> None:
        """Free-running synthesis of fixed dev utterances, to be heard and seen beside the target."""
        spec, settings = self.store.spec, self.settings.audition
        frames = max(4, round(settings.seconds * spec.sample_rate / spec.hop_length))
        entries = [entry for entry in self._dev_entries() if entry.frames >= 4][: settings.utterances]
        targets = [self.store.read(entry, 0, min(frames, entry.frames)) for entry in entries]
        requests = [
            Request(target.entry.id, target.mel.T.copy(), self._speaker_name(target.entry)) for target in targets
        ]
        waves = Vocoder(self.averaged_model()).synthesize_batch(requests, self.settings.seed) if requests else []
        for target, wave in zip(targets, waves, strict=True):
            name = target.entry.id
            mel = log_mel(torch.from_numpy(wave), spec).numpy()
            monitor.audio(self.step, f"target/{name}", int16_to_waveform(target.wave), spec.sample_rate)
            monitor.audio(self.step, f"synthesized/{name}", wave, spec.sample_rate)
            pictures = {"target": target.mel.T, f"synthesized, step {self.step}": mel}
            monitor.mels(self.step, f"mel/{name}", pictures, spec.hop_length / spec.sample_rate)

    def averaged_model(self) -> VocoderModel:
        """The model with averaged weights (before the first step, the weights it started with)."""
        return cast(VocoderModel, self.averaged.module)

    def checkpoint(self, run: Run, monitor: Monitor, evaluate: bool = True) -> None:
        """Evaluate, save, and forget older checkpoints."""
        if evaluate and self.dev_bits is None:
            self.dev_bits = self.last_dev_bits = self.evaluate()
            if not math.isfinite(self.dev_bits):
                raise UserError(f"step {self.step}: dev bits are {self.dev_bits}; not saved. {TOO_FAST}")
            monitor.scalars(self.step, {f"{self.unit}/dev": self.dev_bits, "minutes": self.minutes})
        directory = run.checkpoint_directory(self.step)
        if not directory.exists():
            weights = {"model": self.model.state_dict(), "ema": self.averaged_model().state_dict()}
            metrics = {"step": self.step, "minutes": self.minutes, "dev_bits": self.dev_bits}
            save_checkpoint(directory, self.config, weights, metrics, self.state_dict())
        run.prune(self.settings.checkpoint.keep)

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint needs beside the weights, to go on as if nothing had happened."""
        return {
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "averaged_steps": self.averaged.n_averaged,
            "step": self.step,
            "minutes": self.minutes,
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
        self.step, self.minutes = state["step"], state["minutes"]
        self.dev_bits = self.last_dev_bits = checkpoint.dev_bits if math.isfinite(checkpoint.dev_bits) else None
        return sorted(differences(state["settings"], asdict(self.settings), "training."))

    def _start_from_data(self) -> None:
        mean, std = (torch.from_numpy(array) for array in self.store.mel_statistics)
        self.model.set_mel_statistics(mean, std)
        batches = [self.data[i] for i in range(MARGINAL_BATCHES)]
        innovation = [self.model.innovation(batch.waves, batch.mel) for batch in batches]
        self.model.initialise_output(torch.cat(innovation).flatten()[: 2**18])

    def _log(
        self,
        monitor: Monitor,
        loss: float,
        steps: int,
        gradient_norm: Tensor,
        seconds: float,
        bar: Callable[[float, float], None],
    ) -> None:
        batch_settings = self.settings.batch
        samples = steps * batch_settings.size * batch_settings.segment_frames * self.store.spec.hop_length
        values = {
            "loss/train": loss,
            "learning_rate": self.optimizer.param_groups[0]["lr"],
            "gradient_norm": float(gradient_norm),
            "samples_per_second": samples / seconds,
        }
        if self.loss_is_likelihood:
            values[f"{self.unit}/train"] = loss / NATS_PER_BIT
        monitor.scalars(self.step, values)
        bar(loss, values["samples_per_second"])

    def _finite_mean(self, losses: list[Tensor], batch: Batch) -> float:
        loss = float(torch.stack(losses).mean())
        if not math.isfinite(loss):
            raise UserError(
                f"step {self.step}: the loss is {loss}; the last batch was {', '.join(batch.ids)}. {TOO_FAST}"
            )
        return loss

    def _dev_entries(self) -> list[Entry]:
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

    def _speaker_name(self, entry: Entry) -> str | None:
        return entry.speaker if self.model.speaker_embedding is not None else None


class Clock:
    """Counts a trainer's minutes, and of these the seconds of its steps; `lap` gives those since the last lap."""

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._last = time.monotonic()
        self._step_seconds = 0.0

    def count_break(self) -> float:
        """What passed since the last count: evaluation, audition, saving."""
        now = time.monotonic()
        seconds, self._last = now - self._last, now
        self._trainer.minutes += seconds / 60
        return seconds

    def count_step(self) -> None:
        """What passed since the last count was a step."""
        self._step_seconds += self.count_break()

    def lap(self) -> float:
        seconds, self._step_seconds = self._step_seconds, 0.0
        return seconds
