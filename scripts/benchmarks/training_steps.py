"""The training steps that benchmark_training compares: of this project, of r9y9's wavenet-vocoder, of convolutions."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from scripts.benchmarks.networks import r9y9_wavenet
from scripts.benchmarks.stores import noise_store
from vocoder.commands import cli
from vocoder.device import reuse_freed_memory
from vocoder.distributions import MixtureOfLogistics
from vocoder.features.mel import PRESETS
from vocoder.model import ModelConfig, VocoderConfig, head, residual_layer
from vocoder.settings import from_mapping
from vocoder.training import Trainer, TrainingConfig

BATCH, SAMPLES = 2, 10_240  # of a step


@dataclass(frozen=True)
class TrainingStep:
    """A function that takes one training step, and the number of samples that the step predicts."""

    samples: int
    run: Callable[[], object]

    def count_flops(self) -> int:
        """Floating-point operations of a step with plain torch layers; torch cannot count inside compiled loops."""
        with (
            patch.object(residual_layer, "is_compiled_for", lambda signal: False),
            patch.object(head, "is_compiled_for", lambda signal: False),
            FlopCounterMode(display=False) as counter,
        ):
            self.run()
        return int(counter.get_total_flops())


def trainer_step(*choices: str, precision: str = "float32", mel: str = "hifigan_22k") -> TrainingStep:
    """A step of this project's trainer on noise.

    Args:
        choices: settings of vocoder-train that select the network and the batch.
        precision: of training, float32 or bfloat16.
        mel: a preset of the mel.
    """
    batch = [f"training.batch.size={BATCH}", f"training.precision={precision}", "training.audition.every=0"]
    frames = SAMPLES // PRESETS[mel].hop_length
    batch.append(f"training.batch.segment_frames={frames}")
    config = cli.compose("train", ["data=none", "name=none", *batch, *choices])
    model = VocoderConfig(PRESETS[mel], from_mapping(ModelConfig, config["model"]), MixtureOfLogistics())
    settings = from_mapping(TrainingConfig, config["training"])
    with TemporaryDirectory() as folder:
        trainer = Trainer(model, noise_store(Path(folder), mel), settings, torch.device("cpu"))
        batches = [trainer.data[n] for n in range(4)]

    def run() -> None:
        trainer.train_step(batches[trainer.step % len(batches)])

    return TrainingStep(BATCH * frames * PRESETS[mel].hop_length, run)


def r9y9_step() -> TrainingStep:
    """A step of r9y9's network with his loss, and the optimiser and the averaging of this project."""
    from wavenet_vocoder.mixture import discretized_mix_logistic_loss  # type: ignore[import-not-found, import-untyped, unused-ignore]

    model = r9y9_wavenet()
    x, mel = torch.rand(BATCH, 1, SAMPLES) * 2 - 1, torch.rand(BATCH, 80, SAMPLES // 256)

    def loss() -> Tensor:
        params = model(x, mel)[:, :, :-1]
        nats = discretized_mix_logistic_loss(params, x[:, 0, 1:, None], num_classes=65536, reduce=False)
        return nats.mean()

    return optimised_step(model, loss)


def convolution_step(precision: str) -> TrainingStep:
    """A step of `Convolutions`, with a stand-in for the loss."""
    torch.manual_seed(0)
    reuse_freed_memory()
    model = Convolutions()
    samples = SAMPLES + 2 * sum(model.dilations)
    h, c = torch.randn(BATCH, 128, samples), torch.randn(BATCH, 80, samples)

    def loss() -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss: Tensor = model(h, c).float().square().mean()
        return loss

    return optimised_step(model, loss)


class Convolutions(nn.Module):
    """The residual layers as torch convolutions over [B, C, T], the other common layout; without input and head."""

    def __init__(self, channels: int = 128, layers: int = 24, cycle: int = 6) -> None:
        super().__init__()
        self.dilations = [2 ** (n % cycle) for n in range(layers)]
        self.gates = nn.ModuleList(nn.Conv1d(channels, 2 * channels, 3, dilation=d) for d in self.dilations)
        self.conditions = nn.ModuleList(nn.Conv1d(80, 2 * channels, 1) for _ in self.dilations)
        self.outs = nn.ModuleList(nn.Conv1d(channels, 2 * channels, 1) for _ in self.dilations)

    def forward(self, h: Tensor, c: Tensor) -> Tensor:
        """Skips [B, C, T'] of h [B, C, T] and conditioning c [B, 80, T]; T' is T less the receptive field."""
        samples, skips = h.shape[2] - 2 * sum(self.dilations), torch.zeros(())
        for conv, condition, out in zip(self.gates, self.conditions, self.outs, strict=True):
            z = conv(h)
            signal, gate = (z + condition(c[:, :, c.shape[2] - z.shape[2] :])).chunk(2, 1)
            residual, skip = out(signal.tanh() * gate.sigmoid()).chunk(2, 1)
            h = (h[:, :, h.shape[2] - z.shape[2] :] + residual) * 0.5**0.5
            skips = skips + skip[:, :, skip.shape[2] - samples :]
        return skips


def optimised_step(model: nn.Module, loss: Callable[[], Tensor]) -> TrainingStep:
    """A step of forward, backward, clipping, Adamax and the moving average of the weights, as the trainer takes it."""
    optimizer = torch.optim.Adamax(model.parameters(), 1e-4)
    parameters: list[Tensor] = list(model.parameters())
    averaged = [parameter.detach().clone() for parameter in parameters]  # AveragedModel cannot copy r9y9's network

    def run() -> None:
        optimizer.zero_grad()
        loss().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(averaged, parameters, 0.001)

    return TrainingStep(BATCH * SAMPLES, run)
