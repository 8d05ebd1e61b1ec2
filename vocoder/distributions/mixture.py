"""Discretized mixtures of a location-scale law, exact at any number of levels.

With the law's CDF F, half a bin h, and

    a = (x + h - mean) / scale        b = (x - h - mean) / scale

a component gives the level x the mass between the edges of its bin; the outermost levels take the tails:

    lowest    F(x + h)               log P = log F(a)
    highest   1 - F(x - h)           log P = log F(-b), for a symmetric law
    between   F(x + h) - F(x - h)    log P = log mass(a, b)

M components, B batch, T samples; params [B, 3M, T] are logits, means and log-scales, in this order.
"""

import math
from typing import ClassVar, cast

import torch
from torch import Tensor

from vocoder.device import without_autocast
from vocoder.distributions.base import SamplerSpec
from vocoder.distributions.grid import Grid
from vocoder.distributions.sampling import gumbel, gumbel_argmax, relaxed_choice, straight_through
from vocoder.distributions.standard import Law
from vocoder.errors import UserError


class Mixture:
    """What mixtures of every law share; a subclass is a frozen dataclass that names its law and its options."""

    law: ClassVar[Law]
    components: int
    levels: int
    log_scale_min: float | None  # the one floor on log-scales, in the likelihood and in sampling alike

    def __post_init__(self) -> None:
        if self.components < 1:
            raise UserError(f"distribution.components={self.components}: a mixture needs at least 1")
        if self.levels < 3:
            raise UserError(f"distribution.levels={self.levels}: needs at least 3 (16-bit audio has 65536)")
        if self.log_scale_min is None:
            # A fifth of half a bin, where one level holds nearly all of a component: lower brings nothing.
            object.__setattr__(self, "log_scale_min", math.log(self.grid.half_bin / 5))

    @property
    def grid(self) -> Grid:
        return Grid(self.levels)

    @property
    def channels(self) -> int:
        return 3 * self.components

    @property
    def uniforms(self) -> int:
        return self.components + 1  # one for each Gumbel, one for the component

    @property
    def is_density(self) -> bool:
        """Whether `log_prob` is that of a density, which has no bound, and not of a probability."""
        return False

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Exact log-probability in nats: params [B, P, T], x [B, T] on the grid -> [B, T].

        Computed in float32 at least, also under autocast: at half precision 1 - 1e-5 is 1.
        """
        with without_autocast(params.device):
            logits, means, log_scales = self._split(params)
            component = self._component_log_prob(means, log_scales, x.to(means.dtype).unsqueeze(1))  # [B, M, T]
            return (logits.log_softmax(1) + component).logsumexp(1)

    def sample(self, params: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
        """A draw on the grid: params [B, P, T], u [B, U, T] -> [B, T].

        Rounding the clamped continuous draw to the nearest level is an exact draw from `log_prob`:
        the mass of a bin is F(x + h) - F(x - h), and clamping gives the tails to the outermost levels.
        `temperature` divides logits and multiplies scales.
        """
        return self.draw(params, self.standard_noise(u.to(in_full_precision(params).dtype)), temperature)

    def standard_noise(self, u: Tensor) -> Tensor:
        """Gumbel noise for the components, and the law's for the value: u [B, U, T] -> [B, M + 1, T]."""
        of_component, of_value = self._split_noise(u)
        return torch.cat((gumbel(of_component), self.law.quantile(of_value)), 1)

    def draw(self, params: Tensor, noise: Tensor, temperature: float = 1.0) -> Tensor:
        """As `sample`, from standard noise [B, M + 1, T]: Gumbel-max for the component, inversion for the value."""
        with without_autocast(params.device):
            logits, means, log_scales = self._split(params)
            chosen = gumbel_argmax(logits / temperature, noise[:, :-1], 1)  # [B, 1, T]
            mean, log_scale = means.gather(1, chosen), log_scales.gather(1, chosen)
            return self.grid.round(mean, temperature * log_scale.exp() * noise[:, -1:]).squeeze(1)

    @property
    def sampler_spec(self) -> SamplerSpec:
        scales = self.channels - self.components
        floor = cast(float, self.log_scale_min)
        return SamplerSpec(self.components, scales - self.components, scales, floor, self.levels)

    def rsample(self, params: Tensor, u: Tensor, temperature: float, hard: bool = True) -> Tensor:
        """A draw that is differentiable in all parameters: as `sample` -> [B, T].

        The choice of the component is relaxed at `temperature`, the component itself reparameterised. With `hard` the
        value is what `sample` draws, and the gradient that of the relaxed draw, which passes clamping and rounding as
        if they were not there: or a sample at full scale could never be called back.
        """
        with without_autocast(params.device):
            logits, means, log_scales = self._split(params)
            of_component, of_value = self._split_noise(u.to(means.dtype))
            weights = relaxed_choice(logits, of_component, 1, temperature)  # [B, M, T]
            x = (weights * (means + log_scales.exp() * self.law.quantile(of_value))).sum(1)
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
            below = (logits.softmax(1) * self.law.log_cdf(upper).exp()).sum(1)
            return torch.where(self.grid.is_highest(x.squeeze(1)), 1.0, below)

    def affine(self, params: Tensor, shift: Tensor, log_scale: Tensor) -> Tensor:
        """Parameters of shift + exp(log_scale) y, where y has params [B, P, T]; shift and log_scale [B, T]."""
        *logits, means, log_scales = self._parts(params)
        shift, log_scale = shift.unsqueeze(1), log_scale.unsqueeze(1)
        return torch.cat((*logits, torch.addcmul(shift, log_scale.exp(), means), log_scale + log_scales), 1)

    def marginal_params(self, x: Tensor) -> Tensor:
        """The mixture [P] of components around 0 of fixed, log-spaced scales that fits x [N] best.

        Speech pooled over time is a mixture of scales around 0. The weights come from expectation
        maximisation, which is monotone and needs no step size.
        """
        x = x.to(torch.float64)
        size = x.abs()
        ends = torch.tensor([0.5 / self.components, 1 - 0.5 / self.components**2], dtype=x.dtype, device=x.device)
        spread = size.quantile(ends) / self.law.median_magnitude
        if self.components == 1:
            spread = (size.mean() / self.law.mean_magnitude).expand(2)  # heeds outliers, as the median does not
        low, high = spread.clamp(min=self.grid.half_bin / self.law.median_magnitude).log()
        log_scales = torch.linspace(float(low), float(high), self.components, dtype=x.dtype, device=x.device)
        log_scales = log_scales.clamp(min=self.log_scale_min)
        means = torch.zeros_like(log_scales)
        component = self._component_log_prob(means[:, None], log_scales[:, None], x[None])  # [M, N]
        log_weights = torch.full_like(log_scales, -math.log(self.components))
        for _ in range(100):
            responsibility = (log_weights[:, None] + component).softmax(0)
            log_weights = responsibility.mean(1).clamp(min=1e-3).log()  # none starts out dead
        return self._join(log_weights, means, log_scales).float()

    def _parts(self, params: Tensor) -> tuple[Tensor, ...]:
        """What params [B, P, T] hold, one after another: logits, means and log-scales [B, M, T]."""
        return in_full_precision(params).chunk(3, 1)

    def _split(self, params: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits, means and log-scales [B, M, T], these above the floor."""
        logits, means, log_scales = self._parts(params)
        return logits, means, log_scales.clamp(min=self.log_scale_min)

    def _join(self, logits: Tensor, means: Tensor, log_scales: Tensor) -> Tensor:
        """The inverse of `_parts`, for parameters [M] each."""
        return torch.cat((logits, means, log_scales))

    def _split_noise(self, u: Tensor) -> tuple[Tensor, Tensor]:
        """Of uniforms [B, U, T] those for the choice of the component [B, M, T] and for its value [B, 1, T]."""
        return u[:, : self.components], u[:, self.components :]

    def _component_log_prob(self, means: Tensor, log_scales: Tensor, x: Tensor) -> Tensor:
        half_bin = self.grid.half_bin
        inverse_scale = (-log_scales).exp()
        distance = x - means  # first, so that close numbers subtract without loss
        if self.is_density:
            return self.law.log_density(distance * inverse_scale) - log_scales
        upper = (distance + half_bin) * inverse_scale
        lower = (distance - half_bin) * inverse_scale
        lowest, highest = self.grid.is_lowest(x), self.grid.is_highest(x)
        between = self.law.log_mass(upper, lower, 2 * half_bin * inverse_scale)
        at_edge = self.law.log_cdf(torch.where(lowest, upper, -lower))
        return torch.where(lowest | highest, at_edge, between)


def in_full_precision(params: Tensor) -> Tensor:
    """Parameters in float32 at least."""
    return params.float() if params.dtype in (torch.float16, torch.bfloat16) else params
