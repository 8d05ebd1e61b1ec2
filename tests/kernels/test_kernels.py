"""The building blocks of the compiled loops: products, elementary functions, rounding to bfloat16."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import njit, vectorize

from vocoder.kernels import math, matmul
from vocoder.kernels.generate import write_channels as write_channels_jit
from vocoder.kernels.matmul import add_product as add_product_jit

RNG = np.random.default_rng(0)
needs_bf16 = pytest.mark.skipif(not matmul.HAS_BF16, reason="this processor does not multiply bfloat16")


@njit
def add_product(lanes, y, weights, w_index, x, x_index):  # type: ignore[no-untyped-def]
    add_product_jit(lanes, y, weights, w_index, x, x_index)


@njit
def write_channels(lanes, target, slot, source):  # type: ignore[no-untyped-def]
    write_channels_jit(lanes, target, slot, source)


def elementwise(function):  # type: ignore[no-untyped-def]
    """A compiled function of a scalar, over arrays."""
    return vectorize(["float32(float32)"])(lambda x: function(x))


@pytest.mark.parametrize("channels", [1, 2, 3, 64, 70, 384])
@pytest.mark.parametrize("rows", [1, 30, 64, 100, 256])
def test_products_agree_with_float64(rows: int, channels: int) -> None:
    weights, x = RNG.standard_normal((2, rows, channels)), RNG.standard_normal((3, 7, channels)).astype(np.float32)
    height = -(-rows // matmul.TILE) * matmul.TILE
    packed = matmul.pack_weights(weights, height, channels)
    y = np.zeros((7, height), np.float32)
    add_product(7, y, packed, 1, x, 2)
    expected = x[2].astype(float) @ weights[1].astype(np.float32).astype(float).T
    bound = np.abs(x[2]) @ np.abs(weights[1]).T * channels * 2.0**-24
    assert np.abs(y[:, :rows] - expected).max() <= bound.max() + 1e-30
    assert not y[:, rows:].any()


@pytest.mark.parametrize("bf16", [False, pytest.param(True, marks=needs_bf16)])
def test_a_lane_is_the_same_to_the_bit_whatever_the_other_lanes_and_their_number(bf16: bool) -> None:
    lanes, channels, rows = 23, 128, 2 * matmul.TILE
    weights = RNG.standard_normal((1, rows, channels)).astype(np.float32)
    x = RNG.standard_normal((1, lanes, channels)).astype(np.float32)
    packed = matmul.pack_weights_bf16(weights, rows, channels) if bf16 else matmul.pack_weights(weights, rows, channels)
    inputs = np.zeros((1, lanes, channels // 2), np.uint32) if bf16 else np.zeros_like(x)
    write_channels(lanes, inputs, 0, x[0])
    initial = RNG.standard_normal((lanes, rows)).astype(np.float32)
    alone = []
    for lane in range(lanes):
        y = initial[lane : lane + 1].copy()
        add_product(1, y, packed, 0, inputs[:, lane : lane + 1].copy(), 0)
        alone.append(y[0])
    for first in range(3):
        for count in range(1, lanes - first + 1):
            y = initial[first : first + count].copy()
            add_product(count, y, packed, 0, inputs[:, first : first + count].copy(), 0)
            assert np.array_equal(y, alone[first : first + count])


@needs_bf16
def test_bfloat16_products_agree_with_float64_products_of_rounded_inputs() -> None:
    import torch

    rows, channels, lanes = matmul.TILE, 96, 5
    weights = RNG.standard_normal((1, rows, channels)).astype(np.float32)
    x = RNG.standard_normal((lanes, channels)).astype(np.float32)
    inputs, y = np.zeros((1, lanes, channels // 2), np.uint32), np.zeros((lanes, rows), np.float32)
    write_channels(lanes, inputs, 0, x)
    add_product(lanes, y, matmul.pack_weights_bf16(weights, rows, channels), 0, inputs, 0)
    w, v = (torch.from_numpy(array).bfloat16().double() for array in (weights[0], x))
    np.testing.assert_allclose(y, (v @ w.T).numpy(), rtol=0, atol=2e-5)


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
    gated = vectorize(["float32(float32, float32)"])(lambda a, b: math.gated(a, b))
    a, b = (RNG.standard_normal(2_000_000) * scale for scale in (3, 6))
    a, b = a.astype(np.float32), b.astype(np.float32)
    exact = np.tanh(a.astype(float)) / (1 + np.exp(-b.astype(float)))
    assert np.abs(gated(a, b) - exact).max() < 3e-7
    huge = np.array([-1e30, -100, 100, 1e30], np.float32)
    ends = gated(huge[:, None], huge[None])
    np.testing.assert_allclose(ends, np.array([-1, -1, 1, 1])[:, None] * np.array([0, 0, 1, 1]), rtol=0, atol=1e-6)


def test_rounding_to_bfloat16_agrees_with_torch() -> None:
    import torch

    x = np.concatenate([RNG.standard_normal(10_000), [0, -0.0, 1, 1.00390625, 1.01171875, 3e38, 1e-40]])
    x = np.concatenate([x, x[: len(x) % 2 and 1]]).astype(np.float32)
    pairs = np.zeros((1, 1, len(x) // 2), np.uint32)
    write_channels(1, pairs, 0, x[None])
    bits = np.concatenate([pairs[0, 0] << 16, pairs[0, 0] & 0xFFFF0000]).view(np.float32)
    assert np.array_equal(bits, torch.from_numpy(x).bfloat16().float().numpy())


@pytest.mark.slow
@pytest.mark.skipif("avx512f" not in matmul.cpu_features(), reason="this processor has no AVX-512 to disable")
@pytest.mark.parametrize(
    ("cpu", "features", "width"),
    [
        ("haswell", "+avx2,+fma,+avx,+sse4.2,+bmi,+bmi2,+f16c,+popcnt", 8),
        ("x86-64", "+sse2,+fma", 4),
    ],
)
def test_the_engine_runs_on_processors_without_avx512(cpu: str, features: str, width: int) -> None:
    """In another process, because numba's target processor is fixed at import.

    Its compiled code is cached beside the sources, as for this processor: the cache is keyed by processor.
    """
    environment = {
        **os.environ,
        "NUMBA_CPU_NAME": cpu,
        "NUMBA_CPU_FEATURES": features,
        "PYTHONPATH": str(Path(__file__).parent.parent),
    }
    done = subprocess.run([sys.executable, "-c", ENGINE_PROGRAM], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(width), "close", "refused"]


ENGINE_PROGRAM = """
import torch
from support.models import FRAMES, HOP, random_mel, random_model, forward_params, engine_params
from vocoder.engines import pick_engine
from vocoder.kernels.matmul import WIDTH
from vocoder.errors import UserError
from vocoder.model import LinearPredictionConfig

model = random_model(prediction=LinearPredictionConfig("mel", order=7), residual_channels=70, kernel_size=3)
waves = model.distribution.grid.round((0.5 * torch.randn(9, FRAMES * HOP)).clamp(-0.9, 0.9))
mel = random_mel(batch=9)
predicted = engine_params(pick_engine(model, "cpu"), waves, mel, None)
close = (predicted - forward_params(model, waves, mel, None)).abs().max() < 1e-4
try:
    pick_engine(model, "cpu", "bfloat16")
    refused = "accepted"
except UserError:
    refused = "refused"
print(WIDTH, "close" if close else "far", refused)
"""
