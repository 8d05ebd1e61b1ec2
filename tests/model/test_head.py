"""The compiled head agrees with the plain one, forwards and backwards, for all sizes and thread counts."""

import copy
from typing import Any

import pytest
import torch
from support.precisions import in_both
from torch import Tensor, nn

from vocoder.device import autocast
from vocoder.model import head_cpu
from vocoder.model.compiled import is_compiled_for
from vocoder.model.head import HeadLayers, head, head_ref

CPU = torch.device("cpu")
NAMES = ["params", "dhidden", "drecent", "drecent_bias", "dmix", "dmix_bias", "doutput", "doutput_bias"]
TOLERANCE = {torch.float32: 2e-6, torch.bfloat16: 1e-2}
SIZES: dict[str, dict[str, int]] = {
    "a tile": {"skip": 64},
    "less than a tile": {},
    "odd": {"skip": 13, "width": 5, "params": 7, "samples": 33},
    "several tiles": {"skip": 130, "width": 90, "params": 66},
    "several blocks of time": {"samples": 600},
    "one sample": {"samples": 1},
}


def head_inputs(
    skip: int = 10, width: int = 6, params: int = 9, samples: int = 36, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, HeadLayers]:
    """hidden, recent and layers; recent overlaps itself in memory as in the network.

    No sum is so close to 0 that rounding to bfloat16 would switch a rectifier.
    """
    torch.manual_seed(0)
    hidden = away_from_zero(torch.randn(2, samples, skip), 6.0).to(dtype)
    recent = torch.randn(2, samples + width - 1).unfold(1, width, 1)
    layers = HeadLayers(nn.Linear(width, skip), nn.Linear(skip, skip), nn.Linear(skip, params))
    with torch.no_grad():
        for linear in linears(layers)[:2]:
            linear.weight.copy_(torch.randn(linear.weight.shape) * 0.1 / linear.weight.shape[1] ** 0.5)
            linear.bias.copy_(away_from_zero(torch.randn(skip), 1.0))
    return hidden, recent, layers


def linears(layers: HeadLayers) -> list[nn.Linear]:
    return [linear for linear in (layers.recent, layers.mix, layers.output) if linear is not None]


def away_from_zero(x: Tensor, margin: float) -> Tensor:
    return x + margin * x.sign()


def outcome(function: Any, hidden: Tensor, recent: Tensor, layers: HeadLayers) -> dict[str, Tensor]:
    """Parameters and gradients, in float64."""
    hidden = hidden.clone().requires_grad_()
    with autocast(torch.bfloat16 if hidden.dtype == torch.bfloat16 else torch.float32, CPU):
        params = function(hidden, recent, layers)
    weights = torch.randn(params.shape, generator=torch.Generator().manual_seed(5))
    leaves = [hidden, *(part for linear in linears(layers) for part in (linear.weight, linear.bias))]
    gradients = torch.autograd.grad((params.double() * weights).sum(), leaves)
    return {name: part.detach().double() for name, part in zip(NAMES, (params, *gradients), strict=True)}


def in_float64(hidden: Tensor, recent: Tensor, layers: HeadLayers) -> dict[str, Tensor]:
    in_double = HeadLayers(*(copy.deepcopy(linear).double() for linear in linears(layers)))
    return outcome(head_ref, hidden.double(), recent.double(), in_double)


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
@in_both
def test_parameters_and_gradients_agree_with_the_plain_head_in_float64(
    sizes: dict[str, int], dtype: torch.dtype
) -> None:
    inputs = head_inputs(**sizes, dtype=dtype)
    assert is_compiled_for(inputs[0])  # so two implementations are compared
    exact = in_float64(*inputs)
    found = outcome(head, *inputs)
    for name, expected in exact.items():
        error = float((found[name] - expected).norm() / expected.norm())
        assert error < TOLERANCE[dtype], f"{name}: {error}"


@in_both
def test_results_do_not_depend_on_the_number_of_threads(dtype: torch.dtype) -> None:
    inputs, before = head_inputs(skip=130, samples=480, dtype=dtype), torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            results.append(outcome(head, *inputs))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for name, value in results[0].items():
            assert torch.equal(value, other[name]), name


def test_the_compiled_head_is_the_one_that_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    inputs = head_inputs()
    monkeypatch.setattr("vocoder.model.head.head_cpu", lambda *_: "compiled")
    assert head(*inputs) == "compiled"
    hidden, recent, layers = inputs
    on_meta = HeadLayers(*(linear.to("meta") for linear in linears(layers)))
    assert torch.is_tensor(head(hidden.to("meta"), recent.to("meta"), on_meta))


def test_shapes_that_do_not_fit_are_refused_before_the_loops_run() -> None:
    hidden, recent, layers = head_inputs()
    weights = [part for linear in linears(layers) for part in (linear.weight, linear.bias)]
    for wrong in ((hidden[:1], recent), (hidden, recent[:, 1:]), (hidden, recent[..., 1:]), (hidden[..., 1:], recent)):
        with pytest.raises(ValueError, match="cannot take"):
            head_cpu.head_cpu(*wrong, weights)
