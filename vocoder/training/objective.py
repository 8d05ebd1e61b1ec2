"""The training objective: the exact negative log-likelihood, plus an optional spectral loss."""

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
    """The loss of a batch, as a module so that DistributedDataParallel can wrap it."""

    def __init__(self, model: VocoderModel, config: TrainingConfig, precision: torch.dtype) -> None:
        super().__init__()
        self.model = model
        self.config, self.precision = config, precision

    @property
    def is_likelihood(self) -> bool:
        """Whether the loss is the likelihood alone, and so can be reported in bits."""
        return self.config.loss.spectral_weight == 0

    def forward(self, batch: Batch, number: int) -> Tensor:
        """Mean negative log-likelihood in nats per sample, each sample with its whole receptive field.

        If `loss.spectral_weight` is not 0, adds this weight times the spectral distance between a teacher-forced,
        straight-through (Gumbel-softmax) draw and the target. Dropout and the draw's noise are functions of the seed
        and of the batch's number and utterances.
        """
        segments = batch.waves, batch.mel, batch.speaker
        with autocast(self.precision, self.model.device), self._seeded_dropout(batch, number):
            if self.is_likelihood:
                return -self.model.log_prob(*segments).mean()
            params, target = self.model.params_and_target(*segments)
        distance = self._spectral_distance(params, target, [f"{number} {id}" for id in batch.ids])
        likelihood = self.model.distribution.log_prob(params, target).mean()
        return self.config.loss.spectral_weight * distance - likelihood

    def _spectral_distance(self, params: Tensor, target: Tensor, names: list[str]) -> Tensor:
        distribution = self.model.distribution
        noise = Noise(self.config.seed, names, distribution.uniforms)
        u = noise.block(0, target.shape[1]).to(params.device)
        drawn = distribution.rsample(params, u, self.config.loss.spectral_temperature)
        return multi_resolution_stft_distance(drawn, target)

    @contextmanager
    def _seeded_dropout(self, batch: Batch, number: int) -> Iterator[None]:
        """A context in which dropout depends on seed and batch alone; the global generator is left unchanged."""
        if not self.model.wavenet.dropout:
            yield
            return
        name = f"{self.config.seed} {number} {' '.join(batch.ids)}"
        with torch.random.fork_rng([self.model.device] if self.model.device.type == "cuda" else []):
            # 7 bytes always fit into a signed 64-bit seed.
            torch.manual_seed(int.from_bytes(hashlib.sha256(name.encode()).digest()[:7]))
            yield
