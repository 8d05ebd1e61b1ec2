"""Sampling primitives: functions from uniform noise to draws, so that the noise decides everything.

Uniforms lie in the open interval (0, 1). `bound` keeps their logarithms finite; its default is the
smallest value that the noise source emits, so that it cuts nothing off.
"""

import torch
from torch import Tensor

SMALLEST_UNIFORM = 2.0**-24


def gumbel(u: Tensor, bound: float = SMALLEST_UNIFORM) -> Tensor:
    """Standard Gumbel noise -log(-log u) by inversion, elementwise."""
    return -(-u.clamp(bound, 1 - bound).log()).log()


def gumbel_argmax(logits: Tensor, noise: Tensor, dim: int) -> Tensor:
    """An exact draw from softmax(logits) along `dim`, given Gumbel noise, without normalising (the Gumbel-max trick).

    The index keeps `dim` with size 1, ready for `gather`.
    """
    return (logits + noise).argmax(dim, keepdim=True)


def relaxed_choice(logits: Tensor, u: Tensor, dim: int, temperature: float) -> Tensor:
    """A draw from the Concrete distribution (Maddison et al. 2017; Jang et al. 2017), differentiable in the logits.

    What torch.distributions.RelaxedOneHotCategorical draws, as a function of its noise: weights along `dim` that add up
    to 1, the largest of them that which `gumbel_argmax` draws from the noise of the same `u`.
    """
    return ((logits + gumbel(u)) / temperature).softmax(dim)


def straight_through(value: Tensor, gradient: Tensor) -> Tensor:
    """`value` forward, `gradient`'s gradient backward (Bengio et al. 2013)."""
    return value.detach() + (gradient - gradient.detach())


def standard_logistic(u: Tensor, bound: float = SMALLEST_UNIFORM) -> Tensor:
    """Standard logistic noise log u - log(1 - u) by inversion, elementwise."""
    u = u.clamp(bound, 1 - bound)
    return u.log() - (-u).log1p()


def standard_normal(u: Tensor, bound: float = SMALLEST_UNIFORM) -> Tensor:
    """Standard Gaussian noise by inversion, elementwise."""
    return torch.special.ndtri(u.clamp(bound, 1 - bound))
