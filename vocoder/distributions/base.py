"""What every output distribution offers; the network, trainer and engines know no more than this.

B batch, P parameter channels, U uniforms, T samples.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor


class Levels(Protocol):
    """The values in [-1, 1] that a sample can take."""

    @property
    def levels(self) -> int:
        """How many there are."""
        ...

    def round(self, x: Tensor) -> Tensor:
        """The value that stands for x, elementwise."""
        ...


@dataclass(frozen=True)
class SamplerSpec:
    """How every distribution here draws, in numbers, for engines that do not call it for each sample.

    One of so many choices by Gumbel-max; then the choice's location plus its scale times noise, at the nearest of the
    grid's levels, or else a value that the choice stands for.
    """

    choices: int  # if more than one, the first so many parameters are their logits
    locations: int | None = None  # index of the first location among the parameters
    scales: int | None = None  # and of the first logarithm of a scale
    log_scale_min: float = 0.0
    levels: int = 0
    values: tuple[float, ...] = ()  # of each choice, where there are no locations


@runtime_checkable
class Distribution(Protocol):
    """A distribution of one audio sample on a grid of levels in [-1, 1], given P parameters."""

    @property
    def grid(self) -> "Levels":
        """The values a sample can take."""
        ...

    @property
    def channels(self) -> int:
        """P: how many parameters the network emits for a sample."""
        ...

    @property
    def uniforms(self) -> int:
        """U: how many independent uniforms in (0, 1) a draw takes."""
        ...

    @property
    def is_density(self) -> bool:
        """Whether `log_prob` is that of a density, which has no bound, and not of a probability."""
        ...

    def log_prob(self, params: Tensor, x: Tensor) -> Tensor:
        """Log-probability in nats: params [B, P, T], x [B, T] on the grid -> [B, T]."""
        ...

    def sample(self, params: Tensor, u: Tensor, temperature: float = 1.0) -> Tensor:
        """A draw on the grid: params [B, P, T], u [B, U, T] in (0, 1) -> [B, T]; `draw` with `standard_noise`."""
        ...

    def standard_noise(self, u: Tensor) -> Tensor:
        """u [B, U, T] -> Gumbel noise of the choices, and at last what the scale multiplies: [B, choices + 1, T]."""
        ...

    def draw(self, params: Tensor, noise: Tensor, temperature: float = 1.0) -> Tensor:
        """A draw on the grid: params [B, P, T], standard noise [B, choices + 1, T] -> [B, T]."""
        ...

    @property
    def sampler_spec(self) -> SamplerSpec:
        """What `draw` does, in numbers."""
        ...

    def rsample(self, params: Tensor, u: Tensor, temperature: float, hard: bool = True) -> Tensor:
        """As `sample` -> [B, T], differentiable in the parameters: choices are relaxed at `temperature`.

        With `hard` the value is a draw as `sample` makes it, and only the gradient is that of the relaxation.
        """
        ...

    def mean(self, params: Tensor) -> Tensor:
        """Mean: params [B, P, T] -> [B, T]."""
        ...

    def cdf(self, params: Tensor, x: Tensor) -> Tensor:
        """P(X <= x): params [B, P, T], x [B, T] on the grid -> [B, T]."""
        ...

    def marginal_params(self, x: Tensor) -> Tensor:
        """Parameters [P] that describe samples x [N] with no knowledge of their context.

        The network's output starts here, so that the first loss is that of the data's histogram.
        """
        ...


@runtime_checkable
class LocationScale(Distribution, Protocol):
    """A distribution that can be shifted and scaled, and so be relative to a prediction."""

    def affine(self, params: Tensor, shift: Tensor, log_scale: Tensor) -> Tensor:
        """Parameters of shift + exp(log_scale) y, where y has params [B, P, T]; shift and log_scale [B, T]."""
        ...
