"""Discretized mixture of logistics (Salimans et al. 2017, PixelCNN++), exact at any number of levels.

With the logistic CDF F(x) = sigmoid((x - mean) / scale), half a bin h, and

    a = (x + h - mean) / scale        b = (x - h - mean) / scale

a component gives the level x the mass between the edges of its bin; the outermost levels take the tails:

    lowest    F(x + h)               log P = logsigmoid(a)
    highest   1 - F(x - h)           log P = logsigmoid(-b)
    between   F(x + h) - F(x - h)    log P = logsigmoid(a) + logsigmoid(-b) + log(1 - exp(-2 h / scale))

The last row is an identity, not an approximation: sigmoid(a) - sigmoid(b) =
sigmoid(a) sigmoid(-b) (1 - exp(b - a)), and a - b = 2 h / scale whatever x is.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from vocoder.device import without_autocast
from vocoder.distributions.grid import Grid
from vocoder.distributions.sampling import gumbel_argmax, standard_logistic
from vocoder.errors import UserError


@dataclass(frozen=True)
class MixtureOfLogistics:
    """M discretized logistics; params [B, 3M, T] are logits, means and log-scales, in this order.

    `log_scale_min` is the one floor on log-scales, in the likelihood and in sampling alike. By default a
    scale of a fifth of half a bin, where one level holds 98.7 % of a component: lower brings nothing.
    """

    components: int = 10
    levels: int = 65536
    log_scale_min: float | None = None

    def __post_init__(self) -> None:
        if self.components < 1:
            raise UserError(f"distribution.components={self.components}: a mixture needs at least 1")
        if self.levels < 3:
            raise UserError(f"distribution.levels={self.levels}: needs at least 3 (16-bit audio has 65536)")
        if self.log_scale_min is None:
            object.__setattr__(self, "log_scale_min", math.log(self.grid.half_bin / 5))

    @property
    def grid(self) -> Grid:
        return Grid(self.levels)

    @property
    def channels(self) -> int:
        return 3 * self.components

    @property
    def uniforms(self) -> int:
        return self.components + 1  # one for each Gumbel, one for the logistic

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Exact log-probability in nats: params [B, 3M, T], x [B, T] on the grid -> [B, T].

        Computed in float32 at least, also under autocast: at half precision 1 - 1e-5 is 1.
        """
        with without_autocast(params.device):
            logits, means, log_scales = self._split(params)
            component = self._component_log_prob(means, log_scales, x.to(means.dtype).unsqueeze(1))  # [B, M, T]
            return (logits.log_softmax(1) + component).logsumexp(1)

    def sample(self, params: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
        """A draw on the grid: params [B, 3M, T], u [B, M + 1, T] -> [B, T].

        Rounding the clamped continuous draw to the nearest level is an exact draw from `log_prob`:
        the mass of a bin is F(x + h) - F(x - h), and clamping gives the tails to the outermost levels.
        `temperature` divides logits and multiplies scales.
        """
        with without_autocast(params.device):
            logits, means, log_scales = self._split(params)
            u = u.to(means.dtype)
            chosen = gumbel_argmax(logits / temperature, u[:, : self.components], dim=1)  # [B, 1, T]
            mean, log_scale = means.gather(1, chosen), log_scales.gather(1, chosen)
            noise = standard_logistic(u[:, self.components :])
            return self.grid.round(mean + temperature * log_scale.exp() * noise).squeeze(1)

    def affine(self, params: Tensor, shift: Tensor, log_scale: Tensor) -> Tensor:
        """Parameters of shift + exp(log_scale) y, where y has params [B, 3M, T]; shift and log_scale [B, T]."""
        logits, means, log_scales = _in_full_precision(params).chunk(3, 1)
        shift, log_scale = shift.unsqueeze(1), log_scale.unsqueeze(1)
        return torch.cat((logits, shift + log_scale.exp() * means, log_scale + log_scales), 1)

    def marginal_params(self, x: Tensor) -> Tensor:
        """The mixture [3M] of zero-mean logistics of fixed, log-spaced scales that fits x [N] best.

        Speech pooled over time is a mixture of scales around 0. The weights come from expectation
        maximisation, which is monotone and needs no step size.
        """
        x = x.to(torch.float64)
        size = x.abs()
        ends = torch.tensor([0.5 / self.components, 1 - 0.5 / self.components**2], dtype=x.dtype, device=x.device)
        spread = size.quantile(ends) / math.log(3)  # the median of |x| is log(3) scale
        if self.components == 1:
            spread = (size.mean() / math.log(4)).expand(2)  # the mean of |x| is log(4) scale, and heeds outliers
        low, high = spread.clamp(min=self.grid.half_bin / math.log(3)).log()
        log_scales = torch.linspace(float(low), float(high), self.components, dtype=x.dtype, device=x.device)
        log_scales = log_scales.clamp(min=self.log_scale_min)
        means = torch.zeros_like(log_scales)
        component = self._component_log_prob(means[:, None], log_scales[:, None], x[None])  # [M, N]
        log_weights = torch.full_like(log_scales, -math.log(self.components))
        for _ in range(100):
            responsibility = (log_weights[:, None] + component).softmax(0)
            log_weights = responsibility.mean(1).clamp(min=1e-3).log()  # none starts out dead
        return torch.cat((log_weights, means, log_scales)).float()

    def _split(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        logits, means, log_scales = _in_full_precision(params).chunk(3, 1)
        return logits, means, log_scales.clamp(min=self.log_scale_min)

    def _component_log_prob(self, means: Tensor, log_scales: Tensor, x: Tensor) -> Tensor:
        half_bin = self.grid.half_bin
        inverse_scale = (-log_scales).exp()
        distance = x - means  # first, so that close numbers subtract without loss
        upper = F.logsigmoid((distance + half_bin) * inverse_scale)
        lower = F.logsigmoid((half_bin - distance) * inverse_scale)
        between = upper + lower + log1mexp(2 * half_bin * inverse_scale)
        at_edge = torch.where(self.grid.is_lowest(x), upper, lower)
        return torch.where(self.grid.is_lowest(x) | self.grid.is_highest(x), at_edge, between)


def _in_full_precision(params: Tensor) -> Tensor:
    return params.float() if params.dtype in (torch.float16, torch.bfloat16) else params


def log1mexp(z: Tensor) -> Tensor:
    """log(1 - exp(-z)) for z > 0, accurate at both ends (Maechler 2012), with finite gradients.

    Each branch is fed numbers on which it is finite, because `where` multiplies the gradient of the
    branch not taken by zero, and zero times infinity is NaN.
    """
    small = z <= math.log(2)
    for_small = (-(-z.clamp(max=math.log(2))).expm1()).log()
    for_large = (-(-z.clamp(min=math.log(2))).exp()).log1p()
    return torch.where(small, for_small, for_large)
