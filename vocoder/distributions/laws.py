"""Standard location-scale laws: all that a mixture has to know of its components.

Each gives, for z = (x - mean) / scale,

    quantile(u)                  inversion: z with P(Z <= z) = u
    log_cdf(z)                   log P(Z <= z)
    log_mass(upper, lower, w)    log P(lower < Z <= upper), where w = upper - lower is known more exactly than
                                 the difference of two rounded numbers
    log_density(z)

and is symmetric about 0, so that P(Z > z) = P(Z <= -z).
"""

import math
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from vocoder.distributions.sampling import standard_logistic, standard_normal


class Law(Protocol):
    """A symmetric law of location 0 and scale 1."""

    name: str
    median_magnitude: float  # of |Z|
    mean_magnitude: float

    def quantile(self, u: Tensor) -> Tensor: ...

    def log_cdf(self, z: Tensor) -> Tensor: ...

    def log_mass(self, upper: Tensor, lower: Tensor, width: Tensor) -> Tensor: ...

    def log_density(self, z: Tensor) -> Tensor: ...


class Logistic:
    """F(z) = sigmoid(z)."""

    name = "logistic"
    median_magnitude = math.log(3)
    mean_magnitude = math.log(4)

    def quantile(self, u: Tensor) -> Tensor:
        return standard_logistic(u)

    def log_cdf(self, z: Tensor) -> Tensor:
        return F.logsigmoid(z)

    def log_mass(self, upper: Tensor, lower: Tensor, width: Tensor) -> Tensor:
        """An identity, not an approximation: sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a))."""
        return F.logsigmoid(upper) + F.logsigmoid(-lower) + log1mexp(width)

    def log_density(self, z: Tensor) -> Tensor:
        return F.logsigmoid(z) + F.logsigmoid(-z)


class Normal:
    """F(z) = Phi(z), the Gaussian of variance 1."""

    name = "normal"
    median_magnitude = 0.6744897501960817  # Phi^-1(3/4)
    mean_magnitude = math.sqrt(2 / math.pi)

    def quantile(self, u: Tensor) -> Tensor:
        return standard_normal(u)

    def log_cdf(self, z: Tensor) -> Tensor:
        return torch.special.log_ndtr(z)

    def log_mass(self, upper: Tensor, lower: Tensor, width: Tensor) -> Tensor:
        """log Phi(a) + log(1 - exp(log Phi(b) - log Phi(a))), mirrored where both are positive.

        In the lower tail log Phi keeps its digits; near 0 and above it has none to spare. Phi has no identity like the
        logistic's, so the difference of logarithms cancels: in float64, where 65 536 levels leave nine digits.
        """
        mirrored = lower > 0
        high = torch.where(mirrored, -lower, upper).double()
        low = high - width.double()
        log_high = torch.special.log_ndtr(high)
        return (log_high + log1mexp(log_high - torch.special.log_ndtr(low))).to(upper.dtype)

    def log_density(self, z: Tensor) -> Tensor:
        return -0.5 * (z.square() + math.log(2 * math.pi))


def log1mexp(z: Tensor) -> Tensor:
    """log(1 - exp(-z)) for z > 0, accurate at both ends (Maechler 2012), with finite gradients.

    Each branch is fed numbers on which it is finite, because `where` multiplies the gradient of the
    branch not taken by zero, and zero times infinity is NaN.
    """
    small = z <= math.log(2)
    for_small = (-(-z.clamp(max=math.log(2))).expm1()).log()
    for_large = (-(-z.clamp(min=math.log(2))).exp()).log1p()
    return torch.where(small, for_small, for_large)
