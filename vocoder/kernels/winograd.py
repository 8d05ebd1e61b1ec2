"""Dilated convolutions in fewer products: minimal filtering (Winograd 1980, chapter 5; Lavin and Gray 2016).

A kernel of three taps gives two samples a dilation apart, z0 and z1, from four inputs a dilation apart each, h0 ... h3.
Computed directly, these are six products of a weight with an input. Four suffice:

    m0 = (w0 + w1 + w2) / 2  (h1 + h2)         z0 = m0 + m1 + m2
    m1 = (w0 - w1 + w2) / 2  (h2 - h1)         z1 = m0 - m1 + m3
    m2 = w0 (h0 - h2)
    m3 = w2 (h3 - h1)

Here w are matrices and h vectors of channels: a third of all multiplications is saved, for some sums of vectors. The
form is bilinear in w and h, so that gradients take the same four products: those of h by convolving with the taps
reversed and transposed, those of w from the gradients of m, one outer product each. In float32 the results differ from
the direct ones by roundings, and an infinity becomes NaN; in bfloat16, sums of inputs and of weights are rounded where
inputs and weights would be.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from vocoder.kernels.jit import inlined


@dataclass(frozen=True)
class WinogradPlan:
    """How a convolution of K taps computes a group, `group_size` outputs a dilation apart, by P products.

    Product p multiplies weights, `weight_transform[p]` @ w, with the signed sum of two inputs. The first `shared`
    products belong to both outputs: they are added to both, but the second shared product is added to output 0 and
    subtracted from output 1. Every other product belongs to one output.
    """

    group_size: int
    weight_transform: np.ndarray  # [P, K]
    inputs: np.ndarray  # [P, 2], which inputs h
    signs: np.ndarray  # [P, 2], and their factors
    shared: int
    target: np.ndarray  # [P], output 0 or 1; for shared products, the accumulator of the product alone

    @property
    def outputs(self) -> np.ndarray:
        """[P, 2]: the factors of product p in outputs 0 and 1."""
        factors = np.eye(2, dtype=np.float32)[self.target]
        factors[: self.shared] = np.array([[1, 1], [1, -1]])[: self.shared]
        return factors

    def arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """(`plan_ints` [1 + P, 3], `plan_floats` [P, 4]), from which compiled loops take a `PlanArrays`.

        The first row of integers is (group_size, shared, 0), the others are inputs and target; the floats are signs and
        outputs.
        """
        ints = np.array([(self.group_size, self.shared, 0), *np.column_stack([self.inputs, self.target])])
        return ints, np.column_stack([self.signs, self.outputs]).astype(np.float32)


class PlanArrays(NamedTuple):
    """A `WinogradPlan` in compiled loops."""

    group_size: int
    shared: int
    inputs: np.ndarray  # [P, 2]
    target: np.ndarray  # [P]
    signs: np.ndarray  # [P, 2]
    outputs: np.ndarray  # [P, 2]


@inlined
def unpack_plan(plan_ints, plan_floats):
    """`WinogradPlan.arrays` as `PlanArrays`, which cannot be passed to threads."""
    return PlanArrays(
        plan_ints[0, 0], plan_ints[0, 1], plan_ints[1:, :2], plan_ints[1:, 2], plan_floats[:, :2], plan_floats[:, 2:]
    )


def winograd_plan(kernel_size: int) -> WinogradPlan:
    """The plan with the fewest products for two or three taps; for any other number, the plain one."""
    if kernel_size == 3:
        weights = [[0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [1, 0, 0], [0, 0, 1]]
        return _plan(2, weights, [(1, 2), (2, 1), (0, 2), (3, 1)], [1, -1, -1, -1], shared=2, target=[0, 1, 0, 1])
    if kernel_size == 2:
        return _plan(2, [[1, 1], [1, 0], [0, 1]], [(1, 1), (0, 1), (2, 1)], [0, -1, -1], shared=1, target=[0, 0, 1])
    return plain_plan(kernel_size)


def plain_plan(kernel_size: int) -> WinogradPlan:
    """One product for each tap, and no groups."""
    taps = range(kernel_size)
    return _plan(1, np.eye(kernel_size), [(k, k) for k in taps], [0 for _ in taps], shared=0, target=[0 for _ in taps])


def _plan(
    group_size: int, weights: Any, inputs: Any, second_signs: list[int], *, shared: int, target: list[int]
) -> WinogradPlan:
    """The first of a product's two inputs always has the sign +1."""
    return WinogradPlan(
        group_size=group_size,
        weight_transform=np.array(weights, np.float32),
        inputs=np.array(inputs),
        signs=np.array([(1, sign) for sign in second_signs], np.float32),
        shared=shared,
        target=np.array(target),
    )
