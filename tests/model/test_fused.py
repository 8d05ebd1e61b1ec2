"""The compiled steps between the products are the plain ones, forwards and backwards, whatever the threads."""

import os
import subprocess
import sys
from typing import Any

import numba
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from vocoder.model import fused, kernels
from vocoder.model.conditioning import LinearUpsample, Motion, NoConditioning, StagedUpsample

B, G, N, T = 2, 12, 10, 37
MOTIONS = {
    "linear": (LinearUpsample(8).motion, 3),
    "linear, from the first sample": (LinearUpsample(8, 0.0).motion, 3),
    "every sample": (StagedUpsample((2, 4)).motion, 8),
    "still": (NoConditioning(8).motion, 1),
}
every_motion = pytest.mark.parametrize(("motion", "knots"), MOTIONS.values(), ids=MOTIONS)


def signal(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """[B, C, 1, T] that lies as [B, T, C]."""
    batch, channels, samples = shape
    return torch.randn(batch, samples, channels).to(dtype).transpose(1, 2)[:, :, None].requires_grad_()


def gradients(outputs: list[Tensor], inputs: list[Tensor]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    weighted = sum((o.double() * torch.randn(o.shape, generator=generator)).sum() for o in outputs)
    return list(torch.autograd.grad(weighted, inputs))


def both(monkeypatch: pytest.MonkeyPatch, step: Any, inputs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Outputs and gradients of a step, compiled and plain."""
    found = []
    for compiled in (True, False):
        monkeypatch.setattr(fused, "_is_compiled_for", lambda signal, compiled=compiled: compiled)
        outputs = step(*inputs)
        outputs = list(outputs) if isinstance(outputs, tuple) else [outputs]
        found.append([*outputs, *gradients(outputs, inputs)])
    return found[0], found[1]


TOLERANCE = {torch.float32: {"rtol": 1e-5, "atol": 2e-5}, torch.bfloat16: {"rtol": 0.03, "atol": 0.1}}


@every_motion
@pytest.mark.parametrize("first", [0, 3, 8, 11])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_gated_product_is_the_plain_one(
    monkeypatch: pytest.MonkeyPatch, motion: Motion, knots: int, first: int, dtype: torch.dtype
) -> None:
    torch.manual_seed(0)
    frames = -(-(first + T) // 8)
    first = frames * 8 - T if first == 11 else first
    z, condition = signal(B, G, T, dtype=dtype), torch.randn(B, frames, knots, G, requires_grad=True)
    weight, bias = torch.randn(N, G // 2, requires_grad=True), torch.randn(N, requires_grad=True)

    def step(*inputs: Tensor) -> Tensor:
        return fused.gated_product(*inputs, motion, first)

    compiled, plain = both(monkeypatch, step, [z, condition, weight, bias])
    assert compiled[0].dtype == dtype
    assert compiled[0].std() > 0.1
    for one, other in zip(compiled, plain, strict=True):
        torch.testing.assert_close(one.float(), other.float(), **TOLERANCE[dtype])


def test_a_gated_product_is_what_the_paper_says_in_float64() -> None:
    torch.manual_seed(1)
    z, condition = signal(B, G, T), torch.randn(B, 1, T, G)
    weight, bias = torch.randn(N, G // 2), torch.randn(N)
    motion = Motion(torch.arange(T), torch.tensor([[1.0, 0.0]] * T))
    a, o = (z[:, :, 0].transpose(1, 2).double() + condition[:, 0].double()).chunk(2, 2)
    expected = F.linear(a.tanh() * o.sigmoid(), weight.double(), bias.double())
    found = fused.gated_product(z, condition, weight, bias, motion, 0)[:, :, 0].transpose(1, 2)
    torch.testing.assert_close(found.double(), expected, rtol=0, atol=3e-6)


@pytest.mark.parametrize("history", [0, 2, 16])
@pytest.mark.parametrize("kept", [T, 20])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_residual_step_is_the_plain_one(
    monkeypatch: pytest.MonkeyPatch, history: int, kept: int, dtype: torch.dtype
) -> None:
    torch.manual_seed(2)
    inputs = [signal(B, 6, history + T, dtype=dtype), signal(B, 10, T, dtype=dtype), signal(B, 4, kept)]
    compiled, plain = both(monkeypatch, fused.residual, inputs)
    assert [tensor.dtype for tensor in compiled[:2]] == [dtype, torch.float32]
    for one, other in zip(compiled, plain, strict=True):
        torch.testing.assert_close(one.float(), other.float(), **TOLERANCE[dtype])


def test_gradients_are_those_of_differences() -> None:
    """Of the compiled steps, in float32: along random directions."""
    torch.manual_seed(3)
    motion = LinearUpsample(8).motion
    inputs = [signal(B, G, T), torch.randn(B, 5, 3, G), torch.randn(N, G // 2), torch.randn(N)]
    inputs = [tensor.detach().requires_grad_() for tensor in inputs]

    def value(*arguments: Tensor) -> Tensor:
        out = fused.gated_product(*arguments, motion, 3)
        h = torch.ones(B, 6, 1, T + 4)
        following, sums = fused.residual(h, out, torch.zeros(B, 4, 1, 20))
        return (following.double() ** 2).sum() + (sums.double() ** 3).sum()

    found = torch.autograd.grad(value(*inputs), inputs)
    for i, gradient in enumerate(found):
        direction = torch.randn_like(inputs[i])
        step = 1e-2 / direction.norm().item()
        ends = [
            value(*(t + sign * step * direction if j == i else t for j, t in enumerate(inputs))) for sign in (1, -1)
        ]
        difference = (ends[0] - ends[1]).item() / (2 * step)
        assert (gradient.double() * direction).sum().item() == pytest.approx(difference, rel=0.02)


def test_nothing_depends_on_the_number_of_threads() -> None:
    rng, results = np.random.default_rng(4), []
    z, knots, dy = (
        rng.standard_normal(shape).astype(np.float32) for shape in ((3, 400, G), (3, 50, 3, G), (3, 400, 6))
    )
    left, weights = (tensor.numpy() for tensor in (LinearUpsample(8).motion.left, LinearUpsample(8).motion.weights))
    for threads in range(1, numba.config.NUMBA_NUM_THREADS + 1):  # type: ignore[attr-defined]
        numba.set_num_threads(threads)
        y, dz, dknots = np.empty_like(dy), np.empty_like(z), np.zeros_like(knots)
        kernels.gate(z, knots, left, weights, 0, y)
        kernels.gate_backward(z, knots, left, weights, 0, dy, dz, dknots)
        results.append((y, dz, dknots))
    assert len(results) > 1 or numba.config.NUMBA_NUM_THREADS == 1  # type: ignore[attr-defined]
    for other in results[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(results[0], other, strict=True))


def test_torch_keeps_its_number_of_threads() -> None:
    """numba shares its OpenMP runtime; two trainings of two threads on two cores take thirty times as long."""
    program = (
        "import torch\n"
        "from vocoder.model import fused\n"
        "h, out, skips = torch.zeros(1, 2, 1, 9), torch.zeros(1, 4, 1, 8), torch.zeros(1, 2, 1, 8)\n"
        "fused.residual(h, out, skips)\n"
        "print(torch.get_num_threads())\n"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"
