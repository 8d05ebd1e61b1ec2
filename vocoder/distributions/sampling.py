"""Sampling primitives: pure functions of uniform noise, so that equal noise gives equal draws.

Uniforms lie in the open interval (0, 1). They are clamped to [bound, 1 - bound] so that their logarithms stay finite;
the default bound is the smallest value that the noise source emits, so it truncates nothing.
"""

import torch
from torch import Tensor

SMALLEST_UNIFORM = 2.0**-24


def at_least_float32(params: Tensor) -> Tensor:
    """Convert float16 and bfloat16 to float32; leave float32 and float64 as they are."""
    return params.float() if params.dtype in (torch.float16, torch.bfloat16) else params


def standard_gumbel(u: Tensor, bound: float = SMALLEST_UNIFORM) -> Tensor:
    """Standard Gumbel noise -log(-log u) by inversion, elementwise."""
    return -(-u.clamp(bound, 1 - bound).log()).log()


def standard_logistic(u: Tensor, bound: float = SMALLEST_UNIFORM) -> Tensor:
    """Standard logistic noise log u - log(1 - u) by inversion, elementwise."""
    u = u.clamp(bound, 1 - bound)
    return u.log() - (-u).log1p()


def standard_normal(u: Tensor, bound: float = SMALLEST_UNIFORM) -> Tensor:
    """Standard normal noise by inversion, elementwise."""
    return torch.special.ndtri(u.clamp(bound, 1 - bound))


def gumbel_argmax(logits: Tensor, noise: Tensor, dim: int) -> Tensor:
    """An exact draw from softmax(logits) along `dim`, given Gumbel noise: the Gumbel-max trick, without normalising.

    The index keeps `dim` with size 1, ready for `gather`.
    """
    return (logits + noise).argmax(dim, keepdim=True)


def gumbel_softmax(logits: Tensor, u: Tensor, dim: int, temperature: float) -> Tensor:
    """A draw from the Concrete distribution (Maddison et al. 2017; Jang et al. 2017), differentiable in the logits.

    Same distribution as torch.distributions.RelaxedOneHotCategorical, but a function of the uniforms u. The weights sum
    to 1 along `dim`, and the largest is at the index that `gumbel_argmax` picks for the same u.
    """
    return ((logits + standard_gumbel(u)) / temperature).softmax(dim)


def straight_through(hard: Tensor, soft: Tensor) -> Tensor:
    """The value of `hard` with the gradient of `soft` (straight-through estimator, Bengio et al. 2013)."""
    return hard.detach() + (soft - soft.detach())
