"""Softmax over the classes of mu-law companded audio (van den Oord et al. 2016, WaveNet)."""

from dataclasses import dataclass

import torch
import torchaudio.functional as AF
from torch import Tensor
from torch.nn import functional as F

from vocoder.device import without_autocast
from vocoder.distributions.base import SamplerSpec
from vocoder.distributions.mixture import in_full_precision
from vocoder.distributions.sampling import gumbel, gumbel_argmax, relaxed_choice, straight_through
from vocoder.errors import UserError


@dataclass(frozen=True)
class MuLawGrid:
    """The values that mu-law codes decode to: dense around 0, and from exactly -1 to exactly +1."""

    levels: int = 256

    def index(self, x: Tensor) -> Tensor:
        """The code of x, after clamping x to [-1, 1]: int64."""
        codes: Tensor = AF.mu_law_encoding(x.clamp(-1, 1), self.levels)
        return codes

    def value(self, index: Tensor) -> Tensor:
        """The value that a code stands for: float32."""
        decoded: Tensor = AF.mu_law_decoding(index, self.levels)
        return decoded.clamp(-1, 1)  # rounding must not lead out of the interval

    def round(self, x: Tensor) -> Tensor:
        """The value whose code x has."""
        return self.value(self.index(x)).to(x.dtype)


@dataclass(frozen=True)
class Categorical:
    """C classes of mu-law audio; params [B, C, T] are their logits.

    Nothing orders the classes, so it cannot be moved or scaled, and takes no linear prediction.
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
        return self.classes  # a Gumbel for each class

    @property
    def is_density(self) -> bool:
        return False

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Exact log-probability in nats of the class of x: params [B, C, T], x [B, T] -> [B, T]."""
        with without_autocast(params.device):
            logits = in_full_precision(params)
            return -F.cross_entropy(logits, self.grid.index(x), reduction="none")

    def sample(self, params: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
        """The value of a class drawn by Gumbel-max: params [B, C, T], u [B, C, T] -> [B, T]."""
        return self.draw(params, self.standard_noise(u.to(in_full_precision(params).dtype)), temperature)

    def standard_noise(self, u: Tensor) -> Tensor:
        """Gumbel noise for the classes, and none for the value: u [B, C, T] -> [B, C + 1, T]."""
        return F.pad(gumbel(u), (0, 0, 0, 1))

    def draw(self, params: Tensor, noise: Tensor, temperature: float = 1.0) -> Tensor:
        """As `sample`, from standard noise [B, C + 1, T]."""
        with without_autocast(params.device):
            logits = in_full_precision(params)
            index = gumbel_argmax(logits / temperature, noise[:, :-1], 1).squeeze(1)
            return self.grid.value(index).to(logits.dtype)

    @property
    def sampler_spec(self) -> SamplerSpec:
        return SamplerSpec(self.classes, values=tuple(self.grid.value(torch.arange(self.classes)).tolist()))

    def rsample(self, params: Tensor, u: Tensor, temperature: float, hard: bool = True) -> Tensor:
        """A draw that is differentiable in the logits: the mean value of a relaxed choice -> [B, T].

        With `hard` the value is what `sample` draws, and only the gradient that of the relaxation.
        """
        with without_autocast(params.device):
            logits = in_full_precision(params)
            weights = relaxed_choice(logits, u.to(logits.dtype), 1, temperature)
            x = torch.einsum("bct,c->bt", weights, self._values(logits))
            return straight_through(self.sample(params, u), x) if hard else x

    def mean(self, params: Tensor) -> Tensor:
        """params [B, C, T] -> [B, T]."""
        with without_autocast(params.device):
            logits = in_full_precision(params)
            return torch.einsum("bct,c->bt", logits.softmax(1), self._values(logits))

    def cdf(self, params: Tensor, x: Tensor) -> Tensor:
        """P(X <= x): params [B, C, T], x [B, T] -> [B, T]."""
        with without_autocast(params.device):
            below = in_full_precision(params).softmax(1).cumsum(1)
            return below.gather(1, self.grid.index(x)[:, None]).squeeze(1)

    def marginal_params(self, x: Tensor) -> Tensor:
        """The logits [C] of the histogram of samples x [N], every class counted once more than it occurs."""
        counts = self.grid.index(x.float()).bincount(minlength=self.classes)
        return ((counts + 1) / (len(x) + self.classes)).log().float()

    def _values(self, like: Tensor) -> Tensor:
        return self.grid.value(torch.arange(self.classes, device=like.device)).to(like.dtype)
