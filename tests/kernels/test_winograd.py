"""The Winograd plans, against a direct convolution."""

import numpy as np
import pytest

from vocoder.kernels.winograd import winograd_plan


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 7])
def test_a_plan_is_exact_for_integers_and_takes_few_products(kernel_size: int) -> None:
    plan, rng = winograd_plan(kernel_size), np.random.default_rng(kernel_size)
    w, h = rng.integers(-9, 9, kernel_size), rng.integers(-9, 9, plan.group_size + kernel_size - 1)
    products = [
        (transform @ w) * (a * h[i] + c * h[k])
        for transform, (i, k), (a, c) in zip(plan.weight_transform, plan.inputs, plan.signs, strict=True)
    ]
    expected = np.convolve(h, w[::-1], "valid")
    assert np.array_equal((plan.outputs.T @ products)[: plan.group_size], expected)
    assert len(products) == {2: 3, 3: 4}.get(kernel_size, kernel_size)
