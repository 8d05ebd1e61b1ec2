"""The compiled residual layer agrees with the plain one, forwards and backwards, for all sizes and thread counts."""

import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numba
import pytest
import torch
from support.precisions import in_both
from torch import Tensor

from vocoder.device import autocast
from vocoder.kernels import parallel, processor
from vocoder.model import residual_layer_cpu
from vocoder.model.conditioning import NoConditioning
from vocoder.model.interpolation import Interpolation, LinearUpsample, PiecewiseLinear, StagedUpsample, interpolate
from vocoder.model.residual_layer import is_compiled_for, residual_layer, residual_layer_ref
from vocoder.model.residual_layer_cpu import LayerWeights

LINEAR = LinearUpsample(8).interpolation
INTERPOLATIONS = {
    "linear": (LINEAR, 3),
    "linear, from the first sample": (LinearUpsample(8, 0.0).interpolation, 3),
    "a knot at every sample": (StagedUpsample((2, 4)).interpolation, 8),
    "constant": (NoConditioning(8).interpolation, 1),
}
NAMES = ["next_h", "sums", "dh", "dconv_input", "dskips", "dknots", "dconv_weight", "dout_weight", "dout_bias"]
CPU = torch.device("cpu")
Layer = Callable[..., tuple[Tensor, Tensor]]


def layer_inputs(
    residual: int = 12, skip: int = 10, gates: int = 14, kernel_size: int = 3, dilation: int = 2, samples: int = 37,
    kept: int | None = None, dtype: torch.dtype = torch.float32, knots: int = 3, dropped: bool = False,
) -> list[Tensor]:  # fmt: skip
    """h, conv_input, skips, knots, conv_weight, out_weight and out_bias."""
    torch.manual_seed(0)
    h = torch.randn(2, samples + (kernel_size - 1) * dilation, residual).to(dtype)
    conv_input = torch.nn.functional.dropout(h, 0.3) if dropped else h
    skips = torch.randn(2, samples - 3 if kept is None else kept, skip)
    condition = torch.randn(2, -(-samples // 8) + 1, knots, gates)
    weights = [torch.randn(gates, kernel_size * residual) / (kernel_size * residual) ** 0.5]
    weights += [torch.randn(residual + skip, gates // 2) / gates**0.5, torch.randn(residual + skip)]
    return [h, conv_input, skips, condition, *weights]


def run(
    layer: Layer, inputs: list[Tensor], interpolation: Interpolation = LINEAR, dilation: int = 2
) -> tuple[Tensor, Tensor]:
    """The layer's outputs, for inputs as `layer_inputs` gives them; skips may be overwritten."""
    h, conv_input, skips, knots, *weights = inputs
    return layer(h, conv_input, skips, PiecewiseLinear(knots, interpolation), LayerWeights(*weights, dilation))


def outcome(
    layer: Layer, inputs: list[Tensor], interpolation: Interpolation = LINEAR, dilation: int = 2
) -> dict[str, Tensor]:
    """Outputs and gradients, in float64."""
    leaves = [tensor.clone().requires_grad_() for tensor in inputs]
    h, conv_input, skips, *others = leaves
    conv_input = h if torch.equal(inputs[0], inputs[1]) else conv_input
    with autocast(torch.bfloat16 if h.dtype == torch.bfloat16 else torch.float32, CPU):
        outputs = run(layer, [h, conv_input, skips.clone(), *others], interpolation, dilation)
    generator = torch.Generator().manual_seed(5)
    loss = sum((o.double() * torch.randn(o.shape, generator=generator)).sum() for o in outputs)
    gradients = torch.autograd.grad(loss, [h, conv_input, skips, *others], allow_unused=True)
    return {
        name: found.detach().double()
        for name, found in zip(NAMES, (*outputs, *gradients), strict=True)
        if found is not None
    }


def in_double(interpolation: Interpolation) -> Interpolation:
    return Interpolation(interpolation.left, interpolation.weights.double())


def in_float64(inputs: list[Tensor], interpolation: Interpolation = LINEAR, dilation: int = 2) -> dict[str, Tensor]:
    return outcome(residual_layer_ref, [tensor.double() for tensor in inputs], in_double(interpolation), dilation)


def assert_close(found: dict[str, Tensor], exact: dict[str, Tensor], tolerance: float) -> None:
    assert set(found) == set(exact)
    for name, expected in exact.items():
        error = float((found[name] - expected).norm() / expected.norm())
        assert error < tolerance, f"{name}: {error}"


TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 8e-3}
SIZES = {
    "a tile of each": {"residual": 64, "skip": 64, "gates": 128},
    "less than a tile": {},
    "odd": {"residual": 13, "skip": 9, "gates": 22, "kernel_size": 2, "dilation": 1, "samples": 50},
    "one tap": {"kernel_size": 1, "dilation": 1},
    "two taps": {"kernel_size": 2, "dilation": 4},
    "five taps": {"residual": 70, "skip": 30, "gates": 50, "kernel_size": 5, "dilation": 3, "samples": 90},
    "a dilation longer than the signal": {"dilation": 64},
    "several blocks of time": {"samples": 700, "dilation": 8, "residual": 16},
    "skips of all samples": {"kept": 37},
    "one sample": {"samples": 1, "kept": 1},
}


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@in_both
def test_outputs_and_gradients_agree_with_the_plain_layer_in_float64(sizes: dict[str, int], dtype: torch.dtype) -> None:
    """Errors are of the size of the plain layer's, or of a few roundings of single precision."""
    inputs, dilation = layer_inputs(**sizes, dtype=dtype), sizes.get("dilation", 2)
    exact = in_float64(inputs, LINEAR, dilation)
    found = outcome(residual_layer, inputs, LINEAR, dilation)
    assert_close(found, exact, TOLERANCE[dtype])
    assert_close(outcome(residual_layer_ref, inputs, LINEAR, dilation), exact, TOLERANCE[dtype])
    assert is_compiled_for(inputs[0])  # so two implementations were compared


@pytest.mark.parametrize(("interpolation", "knots"), INTERPOLATIONS.values(), ids=INTERPOLATIONS)
@pytest.mark.parametrize("samples", [32, 33, 37, 40])
def test_conditioning_is_interpolated_as_in_the_plain_layer(
    interpolation: Interpolation, knots: int, samples: int
) -> None:
    inputs = layer_inputs(samples=samples, knots=knots)
    assert_close(outcome(residual_layer, inputs, interpolation), in_float64(inputs, interpolation), 2e-6)


@in_both
def test_dropout_applies_to_the_convolution_and_not_to_the_residual_path(dtype: torch.dtype) -> None:
    inputs = layer_inputs(dropped=True, dtype=dtype)
    found, exact = outcome(residual_layer, inputs), in_float64(inputs)
    assert_close(found, exact, TOLERANCE[dtype])
    assert found["dconv_input"].abs().max() > 0


def test_inputs_may_have_any_strides() -> None:
    inputs = layer_inputs(samples=50)
    strided = [tensor.transpose(0, 1).contiguous().transpose(0, 1) for tensor in inputs[:4]] + inputs[4:]
    assert not any(tensor.is_contiguous() for tensor in strided[:4])

    def with_strided_skips(h: Tensor, conv_input: Tensor, skips: Tensor, *others: Any) -> tuple[Tensor, Tensor]:
        copy = skips.transpose(0, 1).contiguous().transpose(0, 1)  # a clone of a leaf would be contiguous
        return residual_layer(h, conv_input, copy, *others)

    found, expected = outcome(with_strided_skips, strided), outcome(residual_layer, inputs)
    assert all(torch.equal(found[name], expected[name]) for name in NAMES if name in expected)


def changed(inputs: list[Tensor], at: int, tensor: Tensor) -> list[Tensor]:
    return [tensor if i == at else other for i, other in enumerate(inputs)]


@pytest.mark.parametrize(
    ("at", "change"),
    [
        (1, lambda conv_input: conv_input[:, 1:]),
        (2, lambda skips: skips[:1]),
        (2, lambda skips: skips[:, :0]),
        (2, lambda skips: torch.cat([skips, skips], 1)),
        (2, lambda skips: skips.bfloat16()),
        (3, lambda knots: knots[:1]),
        (3, lambda knots: knots[:, :3]),
        (3, lambda knots: knots[:, :, :1]),
        (4, lambda conv_weight: conv_weight[:-2]),
        (5, lambda out_weight: out_weight[:, :-1]),
        (6, lambda out_bias: out_bias[1:]),
    ],
)
def test_shapes_and_dtypes_that_do_not_fit_are_refused(at: int, change: Any) -> None:
    inputs = layer_inputs()
    with pytest.raises(ValueError, match="cannot take h"):
        run(residual_layer, changed(inputs, at, change(inputs[at])))


@pytest.mark.parametrize("wanted", range(7))
@pytest.mark.parametrize("used", [0, 1])
def test_single_outputs_and_single_gradients(wanted: int, used: int) -> None:
    """Nothing uses the last layer's next_h, and fine-tuning may freeze any weights."""
    inputs, found = layer_inputs(dropped=True), []
    for layer in (residual_layer, residual_layer_ref):
        leaf = inputs[wanted].clone().requires_grad_()
        h, conv_input, skips, *others = changed(inputs, wanted, leaf)
        outputs = run(layer, [h, conv_input, skips * 1, *others])
        found.append(torch.autograd.grad(outputs[used].sum() + 0 * outputs[1 - used].sum(), leaf)[0])
    torch.testing.assert_close(*found, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("at", range(7))
def test_nan_propagates(at: int) -> None:
    inputs = layer_inputs(dropped=True)
    broken = inputs[at].clone()
    broken.view(-1)[3 * len(broken.view(-1)) // 4] = torch.nan
    h, conv_input, skips, *others = changed(inputs, at, broken)
    found, plain = (
        run(layer, [h, conv_input, skips.clone(), *others]) for layer in (residual_layer, residual_layer_ref)
    )
    assert any(output.isnan().any() for output in found)
    assert all((output.isnan() >= other.isnan()).all() for output, other in zip(found, plain, strict=True))


@pytest.mark.parametrize("at", [0, 1])
@pytest.mark.parametrize("value", [torch.nan, torch.inf])
@in_both
def test_gradients_that_are_not_finite_propagate(at: int, value: float, dtype: torch.dtype) -> None:
    """To the gradients of all inputs before the gate that depend on them."""
    leaves = [tensor.clone().requires_grad_() for tensor in layer_inputs(dtype=dtype)]
    h, _, skips, *others = leaves
    outputs = run(residual_layer, [h, h, skips * 1, *others])
    broken = [torch.zeros_like(output) for output in outputs]
    broken[at][0, -1, 0] = value
    gradients = torch.autograd.grad(outputs, [h, *others], broken)
    assert not any(gradient.isfinite().all() for gradient in gradients)


def test_several_threads_and_inference() -> None:
    h, conv_input, skips, *others = layer_inputs(samples=300)

    def computed(_: int) -> Tensor:
        with torch.inference_mode():
            return run(residual_layer, [h, conv_input, skips.clone(), *others])[1]

    with ThreadPoolExecutor(4) as pool:
        sums = list(pool.map(computed, range(12)))
    assert all(torch.equal(sums[0], other) for other in sums)


def recomputed(*arguments: Any) -> tuple[Tensor, Tensor]:
    return residual_layer(*arguments, recompute=True)


@in_both
def test_recomputing_changes_no_bit(dtype: torch.dtype) -> None:
    inputs = layer_inputs(samples=200, dtype=dtype)
    saved, again = outcome(residual_layer, inputs), outcome(recomputed, inputs)
    assert all(torch.equal(saved[name], again[name]) for name in NAMES if name in saved)


@in_both
def test_nothing_depends_on_the_number_of_threads(dtype: torch.dtype) -> None:
    results, before = [], torch.get_num_threads()
    most: int = numba.config.NUMBA_NUM_THREADS  # type: ignore[attr-defined]
    inputs = layer_inputs(samples=900, residual=20, dtype=dtype)
    try:
        for count in range(1, most + 1):
            torch.set_num_threads(count)
            results.append(outcome(residual_layer, inputs))
    finally:
        torch.set_num_threads(before)
    assert len(results) == most
    if most == 1:
        pytest.skip("there is one thread")
    assert all(torch.equal(results[0][name], other[name]) for other in results for name in results[0])


@in_both
def test_gradients_of_weights_do_not_depend_on_the_number_of_blocks(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Blocks for more processors than there are, and for more than there are rows."""
    inputs = layer_inputs(samples=1100, dtype=dtype)
    expected = outcome(residual_layer, inputs)
    count = torch.get_num_threads()
    for pretended in (3, 7, 64, 500):
        monkeypatch.setattr(residual_layer_cpu, "_thread_count", lambda pretended=pretended: pretended)
        found = outcome(residual_layer, inputs)
        assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert torch.get_num_threads() == count


@pytest.mark.parametrize("direct", [False, True])
@pytest.mark.parametrize("sizes", [{}, {"samples": 700, "dilation": 8}, {"dilation": 64}], ids=str)
@in_both
def test_the_direct_and_the_winograd_convolution_agree_with_the_plain_layer_on_any_processor(
    dtype: torch.dtype, sizes: dict[str, int], direct: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Matrix units take the direct one, vectors the other; each must be right on both."""
    monkeypatch.setattr(residual_layer_cpu, "on_matrix_units", lambda dtype: direct)
    residual_layer_cpu._dilated_conv.cache_clear()
    try:
        inputs, dilation = layer_inputs(**sizes, dtype=dtype), sizes.get("dilation", 2)
        exact = in_float64(inputs, LINEAR, dilation)
        assert_close(outcome(residual_layer, inputs, LINEAR, dilation), exact, TOLERANCE[dtype])
        assert (residual_layer_cpu._dilated_conv(3, dtype).plan.group_size == 1) is direct
    finally:
        residual_layer_cpu._dilated_conv.cache_clear()


def test_gradients_agree_with_finite_differences() -> None:
    """Of the compiled layer, in float32: along random directions."""
    inputs = layer_inputs()
    inputs.pop(1)

    def value(h: Tensor, skips: Tensor, *others: Tensor) -> Tensor:
        next_h, sums = run(residual_layer, [h, h, skips.clone(), *others])
        return (next_h.double() ** 2).sum() + (sums.double() ** 3).sum()

    leaves = [tensor.requires_grad_() for tensor in inputs]
    for i, gradient in enumerate(torch.autograd.grad(value(*leaves), leaves)):
        direction = torch.randn_like(leaves[i])
        step = 1e-2 / direction.norm().item()
        ends = [
            value(*(t + sign * step * direction if j == i else t for j, t in enumerate(leaves))) for sign in (1, -1)
        ]
        difference = (ends[0] - ends[1]).item() / (2 * step)
        assert (gradient.double() * direction).sum().item() == pytest.approx(difference, rel=0.02)


def test_the_plain_layer_recomputes_too() -> None:
    doubles, exact = [tensor.double() for tensor in layer_inputs()], in_double(LINEAR)
    saved, again = outcome(residual_layer, doubles, exact), outcome(recomputed, doubles, exact)
    assert all(torch.equal(saved[name], again[name]) for name in saved)
    assert not is_compiled_for(doubles[0])


def test_conditioning_is_interpolated_between_knots() -> None:
    knots = torch.tensor([[[[0.0], [8.0], [0.0]]]])  # one frame, with zeros in its neighbours
    samples = interpolate(knots, LINEAR)[0, :, 0]
    assert samples.tolist() == [4.5, 5.5, 6.5, 7.5, 7.5, 6.5, 5.5, 4.5]


TINY_PROGRAM = """
import torch
from vocoder.model.interpolation import LinearUpsample, PiecewiseLinear
from vocoder.model.residual_layer import residual_layer
from vocoder.model.residual_layer_cpu import LayerWeights
h, skips, knots = torch.ones(1, 10, 2), torch.zeros(1, 8, 2), torch.zeros(1, 1, 3, 4)
weights = LayerWeights(torch.ones(4, 6), torch.ones(4, 2), torch.zeros(4), 1)
next_h, sums = residual_layer(h, h, skips, PiecewiseLinear(knots, LinearUpsample(8).interpolation), weights)
"""


def test_torch_keeps_its_number_of_threads() -> None:
    """numba shares its OpenMP runtime; two trainings of two threads on two cores take thirty times as long."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    program = TINY_PROGRAM + "print(torch.get_num_threads())"
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "1\n"


AVX2_PROGRAM = """
import sys
sys.path.insert(0, {folder!r})
import torch
from test_residual_layer import assert_close, in_float64, is_compiled_for, layer_inputs, outcome, residual_layer
from vocoder.kernels.micro_kernels import WIDTH
inputs = layer_inputs(samples=120)
assert_close(outcome(residual_layer, inputs), in_float64(inputs), 2e-6)
print(WIDTH, is_compiled_for(torch.zeros(1)), is_compiled_for(torch.zeros(1).bfloat16()))
"""


@pytest.mark.slow
@pytest.mark.skipif("avx512f" not in processor.cpu_features(), reason="this processor has no AVX-512 to disable")
def test_the_layer_runs_on_processors_without_avx512() -> None:
    """Its compiled code is cached beside the sources, as for this processor: the cache is keyed by processor."""
    environment = {
        **os.environ,
        "NUMBA_CPU_NAME": "haswell",
        "NUMBA_CPU_FEATURES": "+avx2,+fma,+avx,+sse4.2,+bmi,+bmi2,+f16c,+popcnt",
        "PYTHONPATH": str(Path(__file__).parent.parent),
    }
    program = AVX2_PROGRAM.format(folder=str(Path(__file__).parent))
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["8", "True", "False"]


def test_a_first_compilation_is_announced_and_cached(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    announced, cached = [], []
    for _ in range(2):
        done = subprocess.run(
            [sys.executable, "-c", TINY_PROGRAM], env=environment, capture_output=True, text=True, check=True
        )
        announced.append(done.stderr)
        cached.append({path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nbc")})
    assert announced[0] == parallel.COMPILING + "\n"
    assert cached[0]
    assert cached[1] == cached[0]
