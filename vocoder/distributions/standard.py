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

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vocoder.distributions.sampling import standard_logistic, standard_normal


class Law(Protocol):
    """A symmetric law of location 0 and scale 1."""

    median_magnitude: float  # of |Z|
    mean_magnitude: float

    def quantile(self, u: Tensor) -> Tensor: ...

    def log_cdf(self, z: Tensor) -> Tensor: ...

    def log_mass(self, upper: Tensor, lower: Tensor, width: Tensor) -> Tensor: ...

    def log_density(self, z: Tensor) -> Tensor: ...


class Logistic:
    """F(z) = sigmoid(z)."""

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
    """F(z) = Phi(z), the Gaussian of variance 1.

    The mass of a bin has no identity like the logistic's, and a difference of two Phi loses its digits where the bin
    is narrow or far out. With the bin's middle m >= 0 (by symmetry), half its width d, and edges a = m + d, b = m - d:

        narrow     density at m, times the integral of exp(-m t - t^2 / 2) over |t| <= d, by Gauss and Legendre
        far out    exp(-b^2 / 2) (erfcx(b / sqrt 2) - erfcx(a / sqrt 2) exp(-2 m d)) / 2
        around 0   Phi(a) - Phi(b)

    each used where it has all its digits, also in float32. (torch's log_ndtr is right, but not its gradient: at
    z = -1e5 in float32 it is 0.4 in place of 1e5.)
    """

    median_magnitude = 0.6744897501960817  # Phi^-1(3/4)
    mean_magnitude = math.sqrt(2 / math.pi)

    NARROW, SLOPE = 0.5, 1.0  # up to this d, and this m d, five nodes integrate to 1e-9
    NODES, WEIGHTS = (tuple(map(float, x)) for x in np.polynomial.legendre.leggauss(5))

    def quantile(self, u: Tensor) -> Tensor:
        return standard_normal(u)

    def log_cdf(self, z: Tensor) -> Tensor:
        below = z < 0
        left, right = torch.where(below, z, -1.0), torch.where(below, 1.0, z)  # where each is finite
        return torch.where(below, _log_tail(-left), (-0.5 * torch.erfc(right * _SQRT_HALF)).log1p())

    def log_mass(self, upper: Tensor, lower: Tensor, width: Tensor) -> Tensor:
        m, d = (0.5 * (upper + lower)).abs(), 0.5 * width
        narrow = (d <= self.NARROW) & (m * d <= self.SLOPE)
        far_out = ~narrow & (m > d)
        one = torch.ones_like(m)
        by_nodes = self._integrated(torch.where(narrow, m, 0), torch.where(narrow, d, 0.1 * one))
        m_far, d_far = torch.where(far_out, m, 2 * one), torch.where(far_out, d, one)
        in_tail = _log_tail(m_far - d_far, m_far + d_far, 2 * m_far * d_far)
        around = ~narrow & ~far_out
        a, b = torch.where(around, m + d, one), torch.where(around, m - d, -one)
        central = (torch.special.ndtr(a) - torch.special.ndtr(b)).log()
        return torch.where(narrow, by_nodes, torch.where(far_out, in_tail, central))

    def log_density(self, z: Tensor) -> Tensor:
        return -0.5 * (z.square() + math.log(2 * math.pi))

    def _integrated(self, m: Tensor, d: Tensor) -> Tensor:
        nodes = zip(self.NODES, self.WEIGHTS, strict=True)
        terms = [math.log(weight) - t * (m * d) - (0.5 * t * t) * d.square() for t, weight in nodes]
        return self.log_density(m) + d.log() + torch.stack(terms).logsumexp(0)


_SQRT_HALF = math.sqrt(0.5)


def _log_tail(b: Tensor, a: Tensor | None = None, drop: Tensor | None = None) -> Tensor:
    """log P(Z > b) for b >= 0; or log P(b < Z <= a), where the density falls by a factor of exp(-drop) from b to a.

    The drop is (a^2 - b^2) / 2, which far out the difference of two rounded edges no longer tells.
    """
    tail = torch.special.erfcx(b * _SQRT_HALF)
    if a is not None and drop is not None:
        tail = tail - torch.special.erfcx(a * _SQRT_HALF) * (-drop).exp()
    return tail.log() - 0.5 * b.square() - math.log(2)


def log1mexp(z: Tensor) -> Tensor:
    """log(1 - exp(-z)) for z > 0, accurate at both ends (Maechler 2012), with finite gradients.

    Each branch is fed numbers on which it is finite, because `where` multiplies the gradient of the
    branch not taken by zero, and zero times infinity is NaN.
    """
    small = z <= math.log(2)
    for_small = (-(-z.clamp(max=math.log(2))).expm1()).log()
    for_large = (-(-z.clamp(min=math.log(2))).exp()).log1p()
    return torch.where(small, for_small, for_large)
