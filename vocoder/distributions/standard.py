"""Standard distributions of location-scale families: the interface between a mixture and its components.

For z = (x - mean) / scale, each implements

    quantile(u)                  inverse CDF: z with P(Z <= z) = u
    log_cdf(z)                   log P(Z <= z)
    log_mass(upper, lower, w)    log P(lower < Z <= upper), given the width w = upper - lower separately, because the
                                 difference of two rounded bounds is less accurate
    log_density(z)               log of the density at z

and is symmetric about 0: P(Z > z) = P(Z <= -z). All functions are elementwise.
"""

import math
from typing import Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from vocoder.distributions.sampling import standard_logistic, standard_normal


class StandardDistribution(Protocol):
    """A symmetric distribution with location 0 and scale 1."""

    median_abs: float  # median of |Z|
    mean_abs: float  # mean of |Z|

    def quantile(self, u: Tensor) -> Tensor: ...

    def log_cdf(self, z: Tensor) -> Tensor: ...

    def log_mass(self, upper: Tensor, lower: Tensor, width: Tensor) -> Tensor: ...

    def log_density(self, z: Tensor) -> Tensor: ...


class StandardLogistic:
    """F(z) = sigmoid(z)."""

    median_abs = math.log(3)
    mean_abs = math.log(4)

    def quantile(self, u: Tensor) -> Tensor:
        return standard_logistic(u)

    def log_cdf(self, z: Tensor) -> Tensor:
        return F.logsigmoid(z)

    def log_mass(self, upper: Tensor, lower: Tensor, width: Tensor) -> Tensor:
        """By the exact identity sigmoid(a) - sigmoid(b) = sigmoid(a) sigmoid(-b) (1 - exp(b - a))."""
        return F.logsigmoid(upper) + F.logsigmoid(-lower) + log1mexp(width)

    def log_density(self, z: Tensor) -> Tensor:
        return F.logsigmoid(z) + F.logsigmoid(-z)


class StandardNormal:
    """F(z) = Phi(z), the Gaussian of variance 1.

    Unlike the logistic, the Gaussian has no identity for the mass of a bin, and the difference of two Phi cancels where
    the bin is narrow or far out. With the bin's centre m >= 0 (by symmetry), half width d, and edges a = m + d,
    b = m - d, `log_mass` chooses between three formulas:

        narrow bin   density at m, times the integral of exp(-m t - t^2 / 2) over |t| <= d, by Gauss-Legendre quadrature
        tail         exp(-b^2 / 2) (erfcx(b / sqrt 2) - erfcx(a / sqrt 2) exp(-2 m d)) / 2
        around 0     Phi(a) - Phi(b)

    each used only where it is accurate to a few rounding errors, also in float32. (torch.special.log_ndtr has correct
    values but wrong gradients in the tail: at z = -1e5 in float32 it returns 0.4 instead of 1e5.)
    """

    median_abs = 0.6744897501960817  # Phi^-1(3/4)
    mean_abs = math.sqrt(2 / math.pi)

    MAX_HALF_WIDTH, MAX_SLOPE = 0.5, 1.0  # up to this d and this m d, five nodes are accurate to 1e-9
    NODES, WEIGHTS = (tuple(map(float, x)) for x in np.polynomial.legendre.leggauss(5))

    def quantile(self, u: Tensor) -> Tensor:
        return standard_normal(u)

    def log_cdf(self, z: Tensor) -> Tensor:
        negative = z < 0
        left, right = torch.where(negative, z, -1.0), torch.where(negative, 1.0, z)  # each branch finite everywhere
        return torch.where(negative, _log_upper_tail(-left), (-0.5 * torch.erfc(right * _SQRT_HALF)).log1p())

    def log_mass(self, upper: Tensor, lower: Tensor, width: Tensor) -> Tensor:
        m, d = (0.5 * (upper + lower)).abs(), 0.5 * width
        narrow = (d <= self.MAX_HALF_WIDTH) & (m * d <= self.MAX_SLOPE)
        tail = ~narrow & (m > d)
        central = ~narrow & ~tail
        one = torch.ones_like(m)  # placeholder arguments, on which the branches not taken are finite
        in_narrow = self._log_quadrature(torch.where(narrow, m, 0), torch.where(narrow, d, 0.1 * one))
        m_tail, d_tail = torch.where(tail, m, 2 * one), torch.where(tail, d, one)
        in_tail = _log_upper_tail(m_tail - d_tail, m_tail + d_tail, 2 * m_tail * d_tail)
        a, b = torch.where(central, m + d, one), torch.where(central, m - d, -one)
        in_centre = (torch.special.ndtr(a) - torch.special.ndtr(b)).log()
        return torch.where(narrow, in_narrow, torch.where(tail, in_tail, in_centre))

    def log_density(self, z: Tensor) -> Tensor:
        return -0.5 * (z.square() + math.log(2 * math.pi))

    def _log_quadrature(self, m: Tensor, d: Tensor) -> Tensor:
        """log P(m - d < Z <= m + d) by five-point Gauss-Legendre quadrature."""
        nodes = zip(self.NODES, self.WEIGHTS, strict=True)
        terms = [math.log(weight) - t * (m * d) - (0.5 * t * t) * d.square() for t, weight in nodes]
        return self.log_density(m) + d.log() + torch.stack(terms).logsumexp(0)


_SQRT_HALF = math.sqrt(0.5)


def _log_upper_tail(b: Tensor, a: Tensor | None = None, drop: Tensor | None = None) -> Tensor:
    """log P(Z > b) for b >= 0; or log P(b < Z <= a) if a is given, with drop = (a^2 - b^2) / 2.

    The density at a is exp(-drop) times that at b. The drop is an argument because far out it cannot be recovered from
    the rounded a and b.
    """
    tail = torch.special.erfcx(b * _SQRT_HALF)
    if a is not None and drop is not None:
        tail = tail - torch.special.erfcx(a * _SQRT_HALF) * (-drop).exp()
    return tail.log() - 0.5 * b.square() - math.log(2)


def log1mexp(z: Tensor) -> Tensor:
    """log(1 - exp(-z)) for z > 0, accurate for small and large z (Maechler 2012), with finite gradients.

    Each branch is evaluated only on inputs where it is finite: `torch.where` multiplies the gradient of the branch not
    taken by zero, and zero times infinity is NaN.
    """
    small = z <= math.log(2)
    for_small = (-(-z.clamp(max=math.log(2))).expm1()).log()
    for_large = (-(-z.clamp(min=math.log(2))).exp()).log1p()
    return torch.where(small, for_small, for_large)
