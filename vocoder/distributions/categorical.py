"""Softmax over the classes of mu-law companded audio (van den Oord et al. 2016, WaveNet)."""

import math
from dataclasses import dataclass

import torch
import torchaudio.functional as AF
from torch import Tensor
from torch.nn import functional as F

from vocoder.device import without_autocast
from vocoder.distributions.base import SamplerSpec
from vocoder.distributions.sampling import (
    at_least_float32,
    gumbel_argmax,
    gumbel_softmax,
    standard_gumbel,
    straight_through,
)
from vocoder.errors import UserError


@dataclass(frozen=True)
class MuLawGrid:
    """The decoded values of mu-law codes: dense around 0, from exactly -1 to exactly +1."""

    levels: int = 256

    def index(self, x: Tensor) -> Tensor:
        """mu-law code of x clamped to [-1, 1], int64."""
        codes: Tensor = AF.mu_law_encoding(x.clamp(-1, 1), self.levels)
        return codes

    def value(self, index: Tensor) -> Tensor:
        """Decoded value of a code, float32."""
        decoded: Tensor = AF.mu_law_decoding(index, self.levels)
        return decoded.clamp(-1, 1)  # decoding can exceed 1 by a rounding error

    @property
    def boundaries(self) -> Tensor:
        """[levels - 1], float32, rising: halfway between neighbouring codes before they are expanded, 0 exactly."""
        mu = self.levels - 1
        halfway = (2 * torch.arange(mu, dtype=torch.float64) + 1 - mu) / mu
        return (halfway.sign() * torch.expm1(halfway.abs() * math.log1p(mu)) / mu).float()

    def round(self, x: Tensor) -> Tensor:
        """Quantise x: encode and decode it."""
        return self.value(self.index(x)).to(x.dtype)


@dataclass(frozen=True)
class Categorical:
    """C classes of mu-law audio; params [B, C, T] are their logits.

    It has no location and no scale, so it cannot be combined with linear prediction.
    """

    classes: int = 256

    def __post_init__(self) -> None:
        if self.classes < 2:
            raise UserError(f"distribution.classes={self.classes}: needs at least 2 (mu-law audio has 256)")

    @property
    def grid(self) -> MuLawGrid:
        return MuLawGrid(self.classes)

    @property
    def channels(self) -> int:
        return self.classes

    @property
    def uniforms(self) -> int:
        return self.classes  # one Gumbel per class

    @property
    def is_density(self) -> bool:
        return False

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Exact log-probability in nats of the class of x: params [B, C, T], x [B, T] -> [B, T]."""
        with without_autocast(params.device):
            logits = at_least_float32(params)
            return -F.cross_entropy(logits, self.grid.index(x), reduction="none")

    def sample(self, params: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
        """Decoded value of a class drawn by Gumbel-max: params [B, C, T], u [B, C, T] -> [B, T]."""
        return self.sample_from_noise(params, self.standard_noise(u.to(at_least_float32(params).dtype)), temperature)

    def standard_noise(self, u: Tensor) -> Tensor:
        """u [B, C, T] -> [B, C + 1, T]: Gumbel noise of the classes, then zeros, as there is no scale to multiply."""
        return F.pad(standard_gumbel(u), (0, 0, 0, 1))

    def sample_from_noise(self, params: Tensor, noise: Tensor, temperature: float = 1.0) -> Tensor:
        """Like `sample`, from standard noise [B, C + 1, T]."""
        with without_autocast(params.device):
            logits = at_least_float32(params)
            index = gumbel_argmax(logits / temperature, noise[:, :-1], 1).squeeze(1)
            return self.grid.value(index).to(logits.dtype)

    @property
    def sampler_spec(self) -> SamplerSpec:
        return SamplerSpec(choices=self.classes, values=tuple(self.grid.value(torch.arange(self.classes)).tolist()))

    def rsample(self, params: Tensor, u: Tensor, temperature: float, hard: bool = True) -> Tensor:
        """A draw that is differentiable in the logits: class values averaged with Gumbel-softmax weights -> [B, T].

        With `hard`, the value equals that of `sample`, and only the gradient is that of the relaxation.
        """
        with without_autocast(params.device):
            logits = at_least_float32(params)
            weights = gumbel_softmax(logits, u.to(logits.dtype), 1, temperature)
            x = torch.einsum("bct,c->bt", weights, self._class_values(logits))
            return straight_through(self.sample(params, u), x) if hard else x

    def mean(self, params: Tensor) -> Tensor:
        """Mean: params [B, C, T] -> [B, T]."""
        with without_autocast(params.device):
            logits = at_least_float32(params)
            return torch.einsum("bct,c->bt", logits.softmax(1), self._class_values(logits))

    def cdf(self, params: Tensor, x: Tensor) -> Tensor:
        """P(X <= x): params [B, C, T], x [B, T] -> [B, T]."""
        with without_autocast(params.device):
            cumulative = at_least_float32(params).softmax(1).cumsum(1)
            return cumulative.gather(1, self.grid.index(x)[:, None]).squeeze(1)

    def marginal_params(self, x: Tensor) -> Tensor:
        """Logits [C] of the histogram of samples x [N], with add-one smoothing."""
        counts = self.grid.index(x.float()).bincount(minlength=self.classes)
        return ((counts + 1) / (len(x) + self.classes)).log().float()

    def _class_values(self, like: Tensor) -> Tensor:
        return self.grid.value(torch.arange(self.classes, device=like.device)).to(like.dtype)
