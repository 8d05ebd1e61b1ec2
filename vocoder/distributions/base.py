"""The interface of every output distribution; the network, the trainer and the engines depend on nothing else.

B batch, P parameter channels, U uniforms per sample, C choices (mixture components or classes), T samples.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor


class Grid(Protocol):
    """The values in [-1, 1] that a sample can take."""

    @property
    def levels(self) -> int:
        """Number of values."""
        ...

    def round(self, x: Tensor) -> Tensor:
        """Quantise x to the grid, elementwise."""
        ...


@dataclass(frozen=True)
class SamplerSpec:
    """The sampling algorithm as plain numbers, for engines that sample inside a compiled loop.

    Gumbel-max picks one of `choices`. If `first_location` is set, the sample is the location of that choice plus its
    scale times standard noise, rounded to the nearest of `levels`; otherwise it is the entry of `values` for that
    choice.
    """

    choices: int  # C; if above 1, the first C parameters are their logits
    first_location: int | None = None  # index among the P parameters of the first of C locations
    first_log_scale: int | None = None  # index of the first of C log-scales
    log_scale_min: float = 0.0
    levels: int = 0
    values: tuple[float, ...] = ()  # [C], only without locations


@runtime_checkable
class Distribution(Protocol):
    """The distribution of one audio sample on a grid in [-1, 1], given P parameters."""

    @property
    def grid(self) -> Grid:
        """The values that a sample can take."""
        ...

    @property
    def channels(self) -> int:
        """P: number of parameters that the network emits per sample."""
        ...

    @property
    def uniforms(self) -> int:
        """U: number of independent uniforms in (0, 1) that one draw consumes."""
        ...

    @property
    def is_density(self) -> bool:
        """True if `log_prob` is the log of a density, which has no upper bound, rather than of a probability."""
        ...

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Log-probability in nats: params [B, P, T], x [B, T] on the grid -> [B, T]."""
        ...

    def sample(self, params: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
        """A draw on the grid: params [B, P, T], u [B, U, T] in (0, 1) -> [B, T].

        Equals `sample_from_noise` of `standard_noise(u)`.
        """
        ...

    def standard_noise(self, u: Tensor) -> Tensor:
        """u [B, U, T] -> [B, C + 1, T]: Gumbel noise of the C choices, then the noise that the scale multiplies."""
        ...

    def sample_from_noise(self, params: Tensor, noise: Tensor, temperature: float = 1.0) -> Tensor:
        """A draw on the grid: params [B, P, T], standard noise [B, C + 1, T] -> [B, T]."""
        ...

    @property
    def sampler_spec(self) -> SamplerSpec:
        """The algorithm of `sample_from_noise` as plain numbers."""
        ...

    def rsample(self, params: Tensor, u: Tensor, temperature: float, hard: bool = True) -> Tensor:
        """A draw that is differentiable in the parameters: params [B, P, T], u [B, U, T] -> [B, T].

        The choice is relaxed at `temperature` (Gumbel-softmax). With `hard`, the value equals that of `sample`, and
        only the gradient is that of the relaxation (straight-through).
        """
        ...

    def mean(self, params: Tensor) -> Tensor:
        """Mean: params [B, P, T] -> [B, T]."""
        ...

    def cdf(self, params: Tensor, x: Tensor) -> Tensor:
        """P(X <= x): params [B, P, T], x [B, T] on the grid -> [B, T]."""
        ...

    def marginal_params(self, x: Tensor) -> Tensor:
        """Parameters [P] fitted to samples x [N] without any context.

        They initialise the bias of the output layer, so that training starts at the loss of the data's histogram.
        """
        ...


@runtime_checkable
class LocationScale(Distribution, Protocol):
    """A distribution that can be shifted and scaled, as linear prediction requires."""

    def affine(self, params: Tensor, shift: Tensor, log_scale: Tensor) -> Tensor:
        """Parameters of shift + exp(log_scale) y, where y has params [B, P, T]; shift and log_scale [B, T]."""
        ...

    def affine_log_prob(self, params: Tensor, shift: Tensor, log_scale: Tensor, x: Tensor) -> Tensor:
        """`log_prob` of `affine` parameters, in one pass where there is a way: x [B, T] -> [B, T].

        Shift and scale are given, not learned: there may be no gradient with respect to them, nor to x.
        """
        ...
