"""Elementary functions of the compiled loops against float64."""

import numpy as np
from numba import vectorize

from vocoder.kernels import math

RNG = np.random.default_rng(0)


def elementwise(function):  # type: ignore[no-untyped-def]
    """A compiled function of a scalar, over arrays."""
    return vectorize(["float32(float32)"])(lambda x: function(x))


def test_exp_agrees_with_float64() -> None:
    x = np.concatenate([np.linspace(-87, 87, 2_000_001), RNG.standard_normal(100_000)]).astype(np.float32)
    exact = np.exp(x.astype(float))
    assert np.abs(elementwise(math.exp)(x) / exact - 1).max() < 2e-7


def test_exp_stays_finite_and_positive_out_of_range() -> None:
    ends = elementwise(math.exp)(np.array([-np.inf, -1e30, -88, 88, 1e30, np.inf], np.float32))
    assert np.isfinite(ends).all()
    assert (ends > 0).all()
    assert ends[2] < 2e-38
    assert ends[3] > 5e37


def test_tanh_agrees_with_float64() -> None:
    x = np.linspace(-30, 30, 2_000_001).astype(np.float32)
    assert np.abs(elementwise(math.tanh)(x) - np.tanh(x.astype(float))).max() < 2e-7


def test_the_gate_agrees_with_float64() -> None:
    gated = vectorize(["float32(float32, float32)"])(lambda a, b: math.gated_activation(a, b))
    a, b = (RNG.standard_normal(2_000_000) * scale for scale in (3, 6))
    a, b = a.astype(np.float32), b.astype(np.float32)
    exact = np.tanh(a.astype(float)) / (1 + np.exp(-b.astype(float)))
    assert np.abs(gated(a, b) - exact).max() < 3e-7
    huge = np.array([-1e30, -100, 100, 1e30], np.float32)
    ends = gated(huge[:, None], huge[None])
    np.testing.assert_allclose(ends, np.array([-1, -1, 1, 1])[:, None] * np.array([0, 0, 1, 1]), rtol=0, atol=1e-6)


def test_log_agrees_with_float64() -> None:
    x = np.concatenate([np.exp2(np.linspace(-125, 125, 2_000_001)), np.linspace(0.4, 2.5, 1_000_001)])
    x = x.astype(np.float32)
    exact = np.log(x.astype(float))
    assert (np.abs(elementwise(math.log)(x) - exact) < np.maximum(2e-7 * np.abs(exact), 6e-8)).all()
    assert elementwise(math.log)(np.ones(1, np.float32)) == 0


def test_the_mean_of_exp_minus_agrees_with_float64() -> None:
    w = np.concatenate([np.linspace(1e-6, np.log(2), 1_000_001), np.logspace(-30, -6, 1000)]).astype(np.float32)
    exact = -np.expm1(-w.astype(float)) / w.astype(float)
    assert np.abs(elementwise(math.mean_of_exp_minus)(w) / exact - 1).max() < 2e-7
    assert elementwise(math.mean_of_exp_minus)(np.zeros(1, np.float32)) == 1
