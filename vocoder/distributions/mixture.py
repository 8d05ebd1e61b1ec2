"""Discretized mixtures of a location-scale family, exact for any number of levels.

With the CDF F of the standard distribution, half a bin h, and

    a = (x + h - mean) / scale        b = (x - h - mean) / scale

a component assigns level x the probability of its bin; the outermost levels take the tails:

    lowest    F(a)           log P = log F(a)
    highest   1 - F(b)       log P = log F(-b), by symmetry
    between   F(a) - F(b)    log P = log_mass(a, b)

B batch, M components, P parameter channels, U uniforms, T samples; params [B, 3M, T] are logits, means and log-scales,
in this order.
"""

import math
from typing import ClassVar, cast

import torch
from torch import Tensor

from vocoder.device import without_autocast
from vocoder.distributions.base import SamplerSpec
from vocoder.distributions.grid import UniformGrid
from vocoder.distributions.sampling import (
    at_least_float32,
    gumbel_argmax,
    gumbel_softmax,
    standard_gumbel,
    straight_through,
)
from vocoder.distributions.standard import StandardDistribution
from vocoder.errors import UserError


class Mixture:
    """Base of all mixtures; a subclass is a frozen dataclass that sets `standard` and declares the options."""

    standard: ClassVar[StandardDistribution]
    components: int
    levels: int
    log_scale_min: float | None  # floor on log-scales, the same in likelihood and sampling; None derives it from levels

    def __post_init__(self) -> None:
        if self.components < 1:
            raise UserError(f"distribution.components={self.components}: a mixture needs at least 1")
        if self.levels < 3:
            raise UserError(f"distribution.levels={self.levels}: needs at least 3 (16-bit audio has 65536)")
        if self.log_scale_min is None:
            # A fifth of half a bin: one level then holds nearly all of a component, so a lower floor gains nothing.
            object.__setattr__(self, "log_scale_min", math.log(self.grid.half_bin / 5))

    @property
    def grid(self) -> UniformGrid:
        return UniformGrid(self.levels)

    @property
    def channels(self) -> int:
        return 3 * self.components

    @property
    def uniforms(self) -> int:
        return self.components + 1  # one per component for its Gumbel, one for the value

    @property
    def is_density(self) -> bool:
        """True if `log_prob` is the log of a density, which has no upper bound, rather than of a probability."""
        return False

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Exact log-probability in nats: params [B, P, T], x [B, T] on the grid -> [B, T].

        Computed in float32 or better, also under autocast: in half precision, 1 - 1e-5 is 1.
        """
        with without_autocast(params.device):
            logits, means, log_scales = self._split(params)
            component = self._component_log_prob(means, log_scales, x.to(means.dtype).unsqueeze(1))  # [B, M, T]
            return (logits.log_softmax(1) + component).logsumexp(1)

    def sample(self, params: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
        """A draw on the grid: params [B, P, T], u [B, U, T] -> [B, T].

        A continuous draw, clamped to [-1, 1] and rounded to the nearest level, is an exact draw from `log_prob`:
        rounding gives each level the probability of its bin, clamping gives the tails to the outermost levels.
        `temperature` divides the logits and multiplies the scales.
        """
        return self.sample_from_noise(params, self.standard_noise(u.to(at_least_float32(params).dtype)), temperature)

    def standard_noise(self, u: Tensor) -> Tensor:
        """u [B, U, T] -> [B, M + 1, T]: Gumbel noise of the components, then a draw of the standard distribution."""
        component_u, value_u = self._split_uniforms(u)
        return torch.cat((standard_gumbel(component_u), self.standard.quantile(value_u)), 1)

    def sample_from_noise(self, params: Tensor, noise: Tensor, temperature: float = 1.0) -> Tensor:
        """Like `sample`, from standard noise [B, M + 1, T]: Gumbel-max for the component, mean + scale * noise."""
        with without_autocast(params.device):
            logits, means, log_scales = self._split(params)
            chosen = gumbel_argmax(logits / temperature, noise[:, :-1], 1)  # [B, 1, T]
            mean, log_scale = means.gather(1, chosen), log_scales.gather(1, chosen)
            return self.grid.round(mean, temperature * log_scale.exp() * noise[:, -1:]).squeeze(1)

    @property
    def sampler_spec(self) -> SamplerSpec:
        first_log_scale = self.channels - self.components
        return SamplerSpec(
            choices=self.components,
            first_location=first_log_scale - self.components,
            first_log_scale=first_log_scale,
            log_scale_min=cast(float, self.log_scale_min),
            levels=self.levels,
        )

    def rsample(self, params: Tensor, u: Tensor, temperature: float, hard: bool = True) -> Tensor:
        """A draw that is differentiable in all parameters: params [B, P, T], u [B, U, T] -> [B, T].

        The choice of the component is relaxed at `temperature`, its value reparameterised. With `hard`, the value
        equals that of `sample`, and the gradient is that of the relaxed draw. That gradient ignores clamping and
        rounding; otherwise a sample at full scale would have no gradient that could bring it back.
        """
        with without_autocast(params.device):
            logits, means, log_scales = self._split(params)
            component_u, value_u = self._split_uniforms(u.to(means.dtype))
            weights = gumbel_softmax(logits, component_u, 1, temperature)  # [B, M, T]
            x = (weights * (means + log_scales.exp() * self.standard.quantile(value_u))).sum(1)
            return straight_through(self.sample(params, u), x) if hard else x

    def mean(self, params: Tensor) -> Tensor:
        """Mean of the mixture before discretization: params [B, P, T] -> [B, T]."""
        with without_autocast(params.device):
            logits, means, _ = self._split(params)
            return (logits.softmax(1) * means).sum(1)

    def cdf(self, params: Tensor, x: Tensor) -> Tensor:
        """P(X <= x): params [B, P, T], x [B, T] on the grid -> [B, T]; 1 at the highest level."""
        with without_autocast(params.device):
            logits, means, log_scales = self._split(params)
            x = x.to(means.dtype).unsqueeze(1)
            upper = (x - means + self.grid.half_bin) * (-log_scales).exp()
            cdf = (logits.softmax(1) * self.standard.log_cdf(upper).exp()).sum(1)
            return torch.where(self.grid.is_highest(x.squeeze(1)), 1.0, cdf)

    def affine(self, params: Tensor, shift: Tensor, log_scale: Tensor) -> Tensor:
        """Parameters of shift + exp(log_scale) y, where y has params [B, P, T]; shift and log_scale [B, T]."""
        *logits, means, log_scales = self._chunks(params)
        shift, log_scale = shift.unsqueeze(1), log_scale.unsqueeze(1)
        return torch.cat((*logits, torch.addcmul(shift, log_scale.exp(), means), log_scale + log_scales), 1)

    def affine_log_prob(self, params: Tensor, shift: Tensor, log_scale: Tensor, x: Tensor) -> Tensor:
        """`log_prob` of `affine` parameters."""
        return self.log_prob(self.affine(params, shift, log_scale), x)

    def marginal_params(self, x: Tensor) -> Tensor:
        """Parameters [P] of a mixture fitted to samples x [N]: means 0, fixed log-spaced scales, fitted weights.

        Speech pooled over time is a mixture of scales around 0. The weights are found by expectation maximisation,
        which is monotone and needs no step size.
        """
        x = x.to(torch.float64)
        magnitude = x.abs()
        ends = torch.tensor([0.5 / self.components, 1 - 0.5 / self.components**2], dtype=x.dtype, device=x.device)
        spread = magnitude.quantile(ends) / self.standard.median_abs
        if self.components == 1:
            spread = (magnitude.mean() / self.standard.mean_abs).expand(2)  # unlike the median, sensitive to outliers
        low, high = spread.clamp(min=self.grid.half_bin / self.standard.median_abs).log()
        log_scales = torch.linspace(float(low), float(high), self.components, dtype=x.dtype, device=x.device)
        log_scales = log_scales.clamp(min=self.log_scale_min)
        means = torch.zeros_like(log_scales)
        component = self._component_log_prob(means[:, None], log_scales[:, None], x[None])  # [M, N]
        log_weights = torch.full_like(log_scales, -math.log(self.components))
        for _ in range(100):
            responsibility = (log_weights[:, None] + component).softmax(0)
            log_weights = responsibility.mean(1).clamp(min=1e-3).log()  # no component starts with a weight near 0
        return self._join(log_weights, means, log_scales).float()

    def _chunks(self, params: Tensor) -> tuple[Tensor, ...]:
        """params [B, P, T] -> logits, means and log-scales [B, M, T], as the network emits them."""
        return at_least_float32(params).chunk(3, 1)

    def _split(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """params [B, P, T] -> logits, means and log-scales [B, M, T], with the floor applied to the log-scales."""
        logits, means, log_scales = self._chunks(params)
        return logits, means, log_scales.clamp(min=self.log_scale_min)

    def _join(self, logits: Tensor, means: Tensor, log_scales: Tensor) -> Tensor:
        """Inverse of `_chunks`, for arguments [M]."""
        return torch.cat((logits, means, log_scales))

    def _split_uniforms(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """u [B, U, T] -> the uniforms for the choice of the component [B, M, T] and for its value [B, 1, T]."""
        return u[:, : self.components], u[:, self.components :]

    def _component_log_prob(self, means: Tensor, log_scales: Tensor, x: Tensor) -> Tensor:
        """Log-probability of x [B, 1, T] under each component [B, M, T] (or other shapes that broadcast)."""
        half_bin = self.grid.half_bin
        inverse_scale = (-log_scales).exp()
        distance = x - means  # before adding h: the difference of close numbers is exact
        if self.is_density:
            return self.standard.log_density(distance * inverse_scale) - log_scales
        upper = (distance + half_bin) * inverse_scale
        lower = (distance - half_bin) * inverse_scale
        lowest, highest = self.grid.is_lowest(x), self.grid.is_highest(x)
        between = self.standard.log_mass(upper, lower, 2 * half_bin * inverse_scale)
        at_edge = self.standard.log_cdf(torch.where(lowest, upper, -lower))
        return torch.where(lowest | highest, at_edge, between)
