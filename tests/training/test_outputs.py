"""What is watched of the outputs is what they are."""

import math

import pytest
import torch

from vocoder.distributions import Categorical, Gaussian, MixtureOfLogistics
from vocoder.training.outputs import described

LSB = 2 / 65535


def mixture(weights: list[float], scales: list[float]) -> torch.Tensor:
    """Params [1, 9, 5] of three logistics."""
    logits, logs = torch.tensor(weights).log(), (torch.tensor(scales) * LSB).log()
    return torch.cat((logits, torch.zeros(3), logs))[None, :, None].expand(1, 9, 5)


def test_one_component_that_does_it_all_is_one() -> None:
    found = described(MixtureOfLogistics(3), mixture([1.0, 1e-30, 1e-30], [7.0, 1000.0, 1000.0]))
    assert found["output/components"] == pytest.approx(1, abs=1e-6)
    assert found["output/scale_lsb"] == pytest.approx(7, rel=1e-5)
    assert found["output/weight_00"] == pytest.approx(1)


def test_weights_and_scales_of_several() -> None:
    found = described(MixtureOfLogistics(3), mixture([0.5, 0.5, 1e-30], [4.0, 64.0, 1e6]))
    assert found["output/components"] == pytest.approx(2, abs=1e-6)
    assert found["output/scale_lsb"] == pytest.approx(math.sqrt(4 * 64), rel=1e-5)
    assert [found[f"output/weight_{i:02d}"] for i in range(3)] == pytest.approx([0.5, 0.5, 0], abs=1e-6)


def test_a_scale_below_its_floor_counts_as_the_floor() -> None:
    floored = MixtureOfLogistics(3, log_scale_min=math.log(3 * LSB))
    assert described(floored, mixture([1.0, 1e-30, 1e-30], [0.001, 1, 1]))["output/scale_lsb"] == pytest.approx(3)


def test_others_have_what_there_is_of_them() -> None:
    log_scale = torch.tensor([0.0, math.log(9 * LSB)])[None, :, None].expand(1, 2, 5)
    assert described(Gaussian(), log_scale) == {"output/scale_lsb": pytest.approx(9, rel=1e-5)}
    assert described(Categorical(16), torch.zeros(1, 16, 5)) == {"output/components": pytest.approx(16)}
