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
the plain ones by roundings; in bfloat16 sums of inputs and of weights are rounded where inputs and weights were.
"""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Filtering:
    """How K taps are applied: `samples` outputs come out of P products.

    Product p multiplies the weights `taps[p]` @ w with a sum of two inputs; output j is `outputs[:, j]` @ m.
    """

    samples: int
    taps: np.ndarray  # [P, K]
    inputs: np.ndarray  # [P, 2], which of them
    signs: np.ndarray  # [P, 2], and their factors
    outputs: np.ndarray  # [P, 2]; only so many columns count as there are samples


def filtering(kernel_size: int) -> Filtering:
    """The fewest products for two or three taps; a product for each where there are more of them, or one."""
    if kernel_size == 3:
        half = [[0.5, 0.5, 0.5], [0.5, -0.5, 0.5]]
        return _of(2, [[1, 0, 0], *half, [0, 0, 1]], [(0, 2), (1, 2), (2, 1), (3, 1)], "-+--", "10 11 1- 01")
    if kernel_size == 2:
        return _of(2, [[1, 0], [1, 1], [0, 1]], [(0, 1), (1, 1), (2, 1)], "-0-", "10 11 01")
    return _of(1, np.eye(kernel_size), [(k, k) for k in range(kernel_size)], "0" * kernel_size, "10 " * kernel_size)


def _of(samples: int, taps: object, inputs: object, second: str, outputs: str) -> Filtering:
    factor = {"0": 0, "+": 1, "1": 1, "-": -1}
    return Filtering(
        samples,
        np.array(taps, np.float32),
        np.array(inputs),
        np.array([(1, factor[sign]) for sign in second], np.float32),
        np.array([[factor[sign] for sign in signs] for signs in outputs.split()], np.float32),
    )
