"""The compiled residual layer is the plain one, forwards and backwards, whatever the sizes and the threads."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest
import torch
from torch import Tensor

from vocoder.device import in_precision
from vocoder.kernels import matmul, threads
from vocoder.kernels.winograd import filtering
from vocoder.model import residual_layer_cpu
from vocoder.model.conditioning import Interpolation, LinearUpsample, NoConditioning, StagedUpsample
from vocoder.model.residual_layer import is_compiled_for, plain_layer, residual_layer, spread
from vocoder.model.residual_layer_cpu import Weights

MOTIONS = {
    "linear": (LinearUpsample(8).interpolation, 3),
    "linear, from the first sample": (LinearUpsample(8, 0.0).interpolation, 3),
    "every sample": (StagedUpsample((2, 4)).interpolation, 8),
    "still": (NoConditioning(8).interpolation, 1),
}
NAMES = ["following", "sums", "dh", "dheard", "dskips", "dknots", "dtaps", "dout", "dbias"]
CPU = torch.device("cpu")
in_both = pytest.mark.parametrize(
    "dtype",
    [
        torch.float32,
        pytest.param(
            torch.bfloat16,
            marks=pytest.mark.skipif(not matmul.HAS_BF16, reason="this processor does not multiply bfloat16"),
        ),
    ],
)


def layer_inputs(
    residual: int = 12, skip: int = 10, gates: int = 14, taps: int = 3, dilation: int = 2, samples: int = 37,
    kept: int | None = None, dtype: torch.dtype = torch.float32, knots: int = 3, dropped: bool = False,
) -> list[Tensor]:  # fmt: skip
    """h, heard, skips, knots, and the weights of taps, of the product after the gate and of its bias."""
    torch.manual_seed(0)
    h = torch.randn(2, samples + (taps - 1) * dilation, residual).to(dtype)
    heard = torch.nn.functional.dropout(h, 0.3) if dropped else h
    skips = torch.randn(2, samples - 3 if kept is None else kept, skip)
    condition = torch.randn(2, -(-samples // 8) + 1, knots, gates)
    weights = [torch.randn(gates, taps * residual) / (taps * residual) ** 0.5]
    weights += [torch.randn(residual + skip, gates // 2) / gates**0.5, torch.randn(residual + skip)]
    return [h, heard, skips, condition, *weights]


def outcome(step, inputs: list[Tensor], motion: Interpolation, dilation: int) -> dict[str, Tensor]:  # type: ignore[no-untyped-def]
    """Outputs and gradients, in float64."""
    h, heard, skips, knots, *weights = (tensor.clone().requires_grad_() for tensor in inputs)
    heard = h if torch.equal(inputs[0], inputs[1]) else heard
    with in_precision(torch.bfloat16 if h.dtype == torch.bfloat16 else torch.float32, CPU):
        outputs = step(h, heard, skips.clone(), knots, Weights(*weights), motion, dilation)
    generator = torch.Generator().manual_seed(5)
    loss = sum((o.double() * torch.randn(o.shape, generator=generator)).sum() for o in outputs)
    of = [h, heard, skips, knots, *weights]
    gradients = torch.autograd.grad(loss, of, allow_unused=True)
    return {
        name: found.detach().double()
        for name, found in zip(NAMES, (*outputs, *gradients), strict=True)
        if found is not None
    }


def in_float64(inputs: list[Tensor], motion: Interpolation, dilation: int) -> dict[str, Tensor]:
    exact = Interpolation(motion.left, motion.weights.double())
    return outcome(plain_layer, [tensor.double() for tensor in inputs], exact, dilation)


def assert_close(found: dict[str, Tensor], exact: dict[str, Tensor], tolerance: float) -> None:
    assert set(found) == set(exact)
    for name, expected in exact.items():
        error = float((found[name] - expected).norm() / expected.norm())
        assert error < tolerance, f"{name}: {error}"


TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 8e-3}
SIZES = {
    "a tile of each": {"residual": 64, "skip": 64, "gates": 128},
    "less than a tile": {},
    "odd": {"residual": 13, "skip": 9, "gates": 22, "taps": 2, "dilation": 1, "samples": 50},
    "one tap": {"taps": 1, "dilation": 1},
    "two taps": {"taps": 2, "dilation": 4},
    "five taps": {"residual": 70, "skip": 30, "gates": 50, "taps": 5, "dilation": 3, "samples": 90},
    "dilated by more than there is": {"dilation": 64},
    "several stretches": {"samples": 700, "dilation": 8, "residual": 16},
    "skips of all samples": {"kept": 37},
    "one sample": {"samples": 1, "kept": 1},
}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@in_both
def test_a_layer_is_what_the_paper_says_in_float64(sizes: dict[str, int], dtype: torch.dtype) -> None:
    """Errors are of the size of the plain layer's, or of a few roundings of single precision."""
    inputs, motion, dilation = (
        layer_inputs(**sizes, dtype=dtype),
        LinearUpsample(8).interpolation,
        sizes.get("dilation", 2),
    )
    exact = in_float64(inputs, motion, dilation)
    found = outcome(residual_layer, inputs, motion, dilation)
    assert_close(found, exact, TOLERANCE[dtype])
    assert_close(outcome(plain_layer, inputs, motion, dilation), exact, TOLERANCE[dtype])
    assert is_compiled_for(inputs[0])  # there are two


@pytest.mark.parametrize(("motion", "knots"), MOTIONS.values(), ids=MOTIONS)
@pytest.mark.parametrize("samples", [32, 33, 37, 40])
def test_conditioning_moves_as_in_the_plain_layer(motion: Interpolation, knots: int, samples: int) -> None:
    inputs = layer_inputs(samples=samples, knots=knots)
    assert_close(outcome(residual_layer, inputs, motion, 2), in_float64(inputs, motion, 2), 2e-6)


@in_both
def test_what_dropout_left_is_heard_and_the_rest_goes_on(dtype: torch.dtype) -> None:
    inputs, motion = layer_inputs(dropped=True, dtype=dtype), LinearUpsample(8).interpolation
    found, exact = outcome(residual_layer, inputs, motion, 2), in_float64(inputs, motion, 2)
    assert_close(found, exact, TOLERANCE[dtype])
    assert found["dheard"].abs().max() > 0


def test_inputs_may_lie_in_memory_as_they_like() -> None:
    inputs, motion = layer_inputs(samples=50), LinearUpsample(8).interpolation
    turned = [tensor.transpose(0, 1).contiguous().transpose(0, 1) for tensor in inputs[:4]] + inputs[4:]
    assert not any(tensor.is_contiguous() for tensor in turned[:4])

    def step(h: Tensor, heard: Tensor, skips: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
        anew = skips.transpose(0, 1).contiguous().transpose(0, 1)  # a clone of a leaf would not lie as it does
        return residual_layer(h, heard, anew, *others)

    found, expected = outcome(step, turned, motion, 2), outcome(residual_layer, inputs, motion, 2)
    assert all(torch.equal(found[name], expected[name]) for name in NAMES if name in expected)


def changed(inputs: list[Tensor], at: int, tensor: Tensor) -> list[Tensor]:
    return [tensor if i == at else other for i, other in enumerate(inputs)]


@pytest.mark.parametrize(
    ("at", "change"),
    [
        (1, lambda heard: heard[:, 1:]),
        (2, lambda skips: skips[:1]),
        (2, lambda skips: skips[:, :0]),
        (2, lambda skips: torch.cat([skips, skips], 1)),
        (2, lambda skips: skips.bfloat16()),
        (3, lambda knots: knots[:1]),
        (3, lambda knots: knots[:, :3]),
        (3, lambda knots: knots[:, :, :1]),
        (4, lambda taps: taps[:-2]),
        (5, lambda out: out[:, :-1]),
        (6, lambda bias: bias[1:]),
    ],
)
def test_what_does_not_fit_is_refused_and_not_read(at: int, change: Any) -> None:
    inputs = layer_inputs()
    h, heard, skips, knots, *weights = changed(inputs, at, change(inputs[at]))
    with pytest.raises(ValueError, match="cannot take h"):
        residual_layer(h, heard, skips, knots, Weights(*weights), LinearUpsample(8).interpolation, 2)


@pytest.mark.parametrize("wanted", range(7))
@pytest.mark.parametrize("used", [0, 1])
def test_single_outputs_and_single_gradients(wanted: int, used: int) -> None:
    """The last layer's `following` is used by nobody, and fine-tuning may freeze anything."""
    inputs, found = layer_inputs(dropped=True), []
    for step in (residual_layer, plain_layer):
        tensors = changed(inputs, wanted, inputs[wanted].clone().requires_grad_())
        h, heard, skips, knots, *weights = tensors
        outputs = step(h, heard, skips * 1, knots, Weights(*weights), LinearUpsample(8).interpolation, 2)
        found.append(torch.autograd.grad(outputs[used].sum() + 0 * outputs[1 - used].sum(), tensors[wanted])[0])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("at", range(7))
def test_what_is_no_number_comes_through(at: int) -> None:
    inputs = layer_inputs(dropped=True)
    broken = inputs[at].clone()
    broken.view(-1)[3 * len(broken.view(-1)) // 4] = torch.nan
    h, heard, skips, knots, *weights = changed(inputs, at, broken)
    found, plain = (
        step(h, heard, skips.clone(), knots, Weights(*weights), LinearUpsample(8).interpolation, 2)
        for step in (residual_layer, plain_layer)
    )
    assert any(output.isnan().any() for output in found)
    assert all((output.isnan() >= other.isnan()).all() for output, other in zip(found, plain, strict=True))


def test_several_threads_and_inference() -> None:
    inputs, motion = layer_inputs(samples=300), LinearUpsample(8).interpolation

    def computed(_: int) -> Tensor:
        h, heard, skips, knots, *weights = inputs
        with torch.inference_mode():
            return residual_layer(h, heard, skips.clone(), knots, Weights(*weights), motion, 2)[1]

    with ThreadPoolExecutor(4) as pool:
        sums = list(pool.map(computed, range(12)))
    assert all(torch.equal(sums[0], other) for other in sums)


@in_both
def test_recomputing_changes_no_bit(dtype: torch.dtype) -> None:
    def recomputed(*arguments: object) -> tuple[Tensor, Tensor]:
        return residual_layer(*arguments, recompute=True)  # type: ignore[arg-type]

    inputs, motion = layer_inputs(samples=200, dtype=dtype), LinearUpsample(8).interpolation
    kept, anew = outcome(residual_layer, inputs, motion, 2), outcome(recomputed, inputs, motion, 2)
    assert all(torch.equal(kept[name], anew[name]) for name in NAMES if name in kept)


@in_both
def test_nothing_depends_on_the_number_of_threads(dtype: torch.dtype) -> None:
    results, before, motion = [], torch.get_num_threads(), LinearUpsample(8).interpolation
    most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    inputs = layer_inputs(samples=900, residual=20, dtype=dtype)
    try:
        for threads in range(1, most + 1):
            torch.set_num_threads(threads)
            results.append(outcome(residual_layer, inputs, motion, 2))
    finally:
        torch.set_num_threads(before)
    assert len(results) == most
    if most == 1:
        pytest.skip("there is one thread")
    assert all(torch.equal(results[0][name], other[name]) for other in results for name in results[0])


def test_gradients_of_weights_do_not_depend_on_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many processors would share them out, and more than there are rows."""
    inputs, motion = layer_inputs(samples=300), LinearUpsample(8).interpolation
    expected = outcome(residual_layer, inputs, motion, 2)
    threads = torch.get_num_threads()
    for pretended in (3, 7, 64, 500):
        monkeypatch.setattr(residual_layer_cpu, "_threads", lambda pretended=pretended: pretended)
        found = outcome(residual_layer, inputs, motion, 2)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert torch.get_num_threads() == threads


def test_gradients_are_those_of_differences() -> None:
    """Of the compiled layer, in float32: along random directions."""
    inputs, motion = layer_inputs(), LinearUpsample(8).interpolation
    inputs.pop(1)

    def value(*arguments: Tensor) -> Tensor:
        h, skips, knots, *weights = arguments
        following, sums = residual_layer(h, h, skips.clone(), knots, Weights(*weights), motion, 2)
        return (following.double() ** 2).sum() + (sums.double() ** 3).sum()

    leaves = [tensor.requires_grad_() for tensor in inputs]
    for i, gradient in enumerate(torch.autograd.grad(value(*leaves), leaves)):
        direction = torch.randn_like(leaves[i])
        step = 1e-2 / direction.norm().item()
        ends = [
            value(*(t + sign * step * direction if j == i else t for j, t in enumerate(leaves))) for sign in (1, -1)
        ]
        difference = (ends[0] - ends[1]).item() / (2 * step)
        assert (gradient.double() * direction).sum().item() == pytest.approx(difference, rel=0.02)


def test_elsewhere_torch_recomputes() -> None:
    inputs, motion = layer_inputs(), LinearUpsample(8).interpolation

    def step(recompute: bool):  # type: ignore[no-untyped-def]
        def of(*arguments: object) -> tuple[Tensor, Tensor]:
            return residual_layer(*arguments, recompute=recompute)  # type: ignore[arg-type]

        return of

    doubles, exact = [tensor.double() for tensor in inputs], Interpolation(motion.left, motion.weights.double())
    kept, anew = (outcome(step(recompute), doubles, exact, 2) for recompute in (False, True))
    assert all(torch.equal(kept[name], anew[name]) for name in kept)
    assert not is_compiled_for(doubles[0])


@pytest.mark.parametrize("kernel_size", [1, 2, 3, 4, 7])
def test_filters_take_few_products_and_are_exact_in_whole_numbers(kernel_size: int) -> None:
    way, rng = filtering(kernel_size), np.random.default_rng(kernel_size)
    w, h = rng.integers(-9, 9, kernel_size), rng.integers(-9, 9, way.samples + kernel_size - 1)
    products = [
        (taps @ w) * (a * h[i] + c * h[k]) for taps, (i, k), (a, c) in zip(way.taps, way.inputs, way.signs, strict=True)
    ]
    expected = np.convolve(h, w[::-1], "valid")
    assert np.array_equal((way.outputs.T @ products)[: way.samples], expected)
    assert len(products) == {2: 3, 3: 4}.get(kernel_size, kernel_size)


def test_conditioning_is_spread_between_its_knots() -> None:
    knots = torch.tensor([[[[0.0], [8.0], [0.0]]]])  # one frame, its neighbours silent
    heard = spread(knots, LinearUpsample(8).interpolation, 8)[0, :, 0]
    assert heard.tolist() == [4.5, 5.5, 6.5, 7.5, 7.5, 6.5, 5.5, 4.5]


TINY = """
import torch
from vocoder.model.conditioning import LinearUpsample
from vocoder.model.residual_layer_cpu import Weights
from vocoder.model.residual_layer import residual_layer
h, skips, knots = torch.ones(1, 10, 2), torch.zeros(1, 8, 2), torch.zeros(1, 1, 3, 4)
weights = Weights(torch.ones(4, 6), torch.ones(4, 2), torch.zeros(4))
following, sums = residual_layer(h, h, skips, knots, weights, LinearUpsample(8).interpolation, 1)
"""


def test_torch_keeps_its_number_of_threads() -> None:
    """numba shares its OpenMP runtime; two trainings of two threads on two cores take thirty times as long."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    program = TINY + "print(torch.get_num_threads())"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


LESSER = """
import sys
from pathlib import Path
sys.path.insert(0, {folder!r})
import torch
from test_residual_layer import LinearUpsample, assert_close, in_float64, is_compiled_for, layer_inputs
from test_residual_layer import outcome, residual_layer
from vocoder.kernels.matmul import WIDTH
inputs, motion = layer_inputs(samples=120), LinearUpsample(8).interpolation
assert_close(outcome(residual_layer, inputs, motion, 2), in_float64(inputs, motion, 2), 2e-6)
print(WIDTH, is_compiled_for(torch.zeros(1)), is_compiled_for(torch.zeros(1).bfloat16()))
"""


@pytest.mark.slow
@pytest.mark.skipif("avx512f" not in matmul.features(), reason="this processor has nothing to be held back")
def test_the_same_source_runs_on_lesser_processors() -> None:
    """What is compiled is kept beside the sources, as for this processor: numba tells processors apart."""
    environment = {
        **os.environ,
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx2,+fma,+avx,+sse4.2,+bmi,+bmi2,+f16c,+popcnt",
    }
    program = LESSER.format(folder=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["8", "True", "False"]


def test_a_first_compilation_is_announced_and_kept(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    said, kept = [], []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", TINY], env=environment, capture_output=True, text=True, check=True)
        said.append(done.stderr)
        kept.append({path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")})
    assert said[0] == threads.COMPILING + "\n"
    assert kept[0]
    assert kept[1] == kept[0]
