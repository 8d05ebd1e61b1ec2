"""Dilated filters in fewer products: minimal filtering (Winograd 1980, chapter 5; Lavin and Gray 2016).

A filter of three taps gives two samples a dilation apart, z0 and z1, from four inputs a dilation apart each, h0 ... h3.
Written out, these are six products of a weight with an input. Four do:

    m0 = w0 (h0 - h2)                          z0 = m0 + m1 + m2
    m1 = (w0 + w1 + w2) / 2  (h1 + h2)         z1 = m1 - m2 + m3
    m2 = (w0 - w1 + w2) / 2  (h2 - h1)
    m3 = w2 (h3 - h1)

Here w are matrices and h vectors of channels: a third of all multiplications falls away, and sums of vectors take their
place. It is bilinear in w and h, so that gradients come from the same four products: those of h from filtering with
the taps reversed and transposed, those of w from m's own, one outer product each. In float32 the results differ from
the plain ones by roundings, and an infinity comes out as no number; in bfloat16 sums of inputs and of weights are
rounded where inputs and weights were.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Filtering:
    """How K taps are applied: `samples` outputs come out of P products.

    Product p multiplies the weights `taps[p]` @ w with a sum of two inputs. The first `shared` of them are in both
    outputs, the second of these with its sign changed in one; the others are each in its `target` alone.
    """

    samples: int
    taps: np.ndarray  # [P, K]
    inputs: np.ndarray  # [P, 2], which of them
    signs: np.ndarray  # [P, 2], and their factors
    shared: int
    target: np.ndarray  # [P], output 0 or 1; of a shared one, which of two places for it

    @property
    def outputs(self) -> np.ndarray:
        """[P, 2]: how often product p is in outputs 0 and 1."""
        alone = np.eye(2, dtype=np.float32)[self.target]
        alone[: self.shared] = np.array([[1, 1], [1, -1]])[: self.shared]
        return alone


def filtering(kernel_size: int) -> Filtering:
    """The fewest products for two or three taps; a product for each where there are more of them, or one."""
    if kernel_size == 3:
        taps = [[0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [1, 0, 0], [0, 0, 1]]
        return _filtering(2, taps, [(1, 2), (2, 1), (0, 2), (3, 1)], [1, -1, -1, -1], 2, [0, 1, 0, 1])
    if kernel_size == 2:
        return _filtering(2, [[1, 1], [1, 0], [0, 1]], [(1, 1), (0, 1), (2, 1)], [0, -1, -1], 1, [0, 0, 1])
    each = range(kernel_size)
    return _filtering(1, np.eye(kernel_size), [(k, k) for k in each], [0 for _ in each], 0, [0 for _ in each])


def _filtering(samples: int, taps: Any, inputs: Any, second: list[int], shared: int, target: list[int]) -> Filtering:
    signs = np.array([(1, sign) for sign in second], np.float32)
    return Filtering(samples, np.array(taps, np.float32), np.array(inputs), signs, shared, np.array(target))
