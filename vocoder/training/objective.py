"""What is minimised: the exact negative log-likelihood, and what may be added to it."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from vocoder.data.dataset import Batch
from vocoder.device import autocast
from vocoder.engines import Noise
from vocoder.evaluation.spectral import multi_resolution_stft_distance
from vocoder.model import VocoderModel
from vocoder.training.config import TrainingConfig


class Objective(nn.Module):
    """The loss of a batch, as a module: what is run in several processes at the same time."""

    def __init__(self, model: VocoderModel, settings: TrainingConfig, precision: torch.dtype) -> None:
        super().__init__()
        self.model = model
        self.settings, self.precision = settings, precision

    @property
    def is_likelihood(self) -> bool:
        """Whether nothing is added to it, so that it can be told in bits."""
        return self.settings.loss.spectral_weight == 0

    def forward(self, batch: Batch, number: int) -> Tensor:
        """Mean negative log-likelihood in nats per sample, every sample with its whole receptive field.

        With a spectral weight also the distance of a relaxed teacher-forced draw to the target, times the weight.
        What is random in it is a function of the seed and the batch's number and utterances.
        """
        with autocast(self.precision, self.model.device), self._dropout_of(batch, number):
            params, target = self.model.params_and_target(batch.waves, batch.mel, batch.speaker)
        loss = -self.model.distribution.log_prob(params, target).mean()
        if self.settings.loss.spectral_weight:
            distance = self._spectral_distance(params, target, [f"{number} {id}" for id in batch.ids])
            loss = loss + self.settings.loss.spectral_weight * distance
        return loss

    def _spectral_distance(self, params: Tensor, target: Tensor, names: list[str]) -> Tensor:
        distribution = self.model.distribution
        noise = Noise(self.settings.seed, names, distribution.uniforms)
        u = noise.block(0, target.shape[1]).to(params.device)
        drawn = distribution.rsample(params, u, self.settings.loss.spectral_temperature)
        return multi_resolution_stft_distance(drawn, target)

    @contextmanager
    def _dropout_of(self, batch: Batch, number: int) -> Iterator[None]:
        """While active, dropout's random numbers are the batch's; they leave no trace outside."""
        if not self.model.wavenet.dropout:
            yield
            return
        name = f"{self.settings.seed} {number} {' '.join(batch.ids)}"
        with torch.random.fork_rng([self.model.device] if self.model.device.type == "cuda" else []):
            torch.manual_seed(int.from_bytes(hashlib.sha256(name.encode()).digest()[:7]))
            yield
