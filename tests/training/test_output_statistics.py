"""Statistics of the predicted distributions."""

import math

import pytest
import torch

from vocoder.distributions import Categorical, Gaussian, MixtureOfLogistics
from vocoder.training.output_statistics import output_statistics

LSB = 2 / 65535


def mixture(weights: list[float], scales: list[float]) -> torch.Tensor:
    """Params [1, 9, 5] of three logistics."""
    logits, logs = torch.tensor(weights).log(), (torch.tensor(scales) * LSB).log()
    return torch.cat((logits, torch.zeros(3), logs))[None, :, None].expand(1, 9, 5)


def test_one_dominant_component_counts_as_one() -> None:
    found = output_statistics(MixtureOfLogistics(3), mixture([1.0, 1e-30, 1e-30], [7.0, 1000.0, 1000.0]))
    assert found["output/components"] == pytest.approx(1, abs=1e-6)
    assert found["output/scale_lsb"] == pytest.approx(7, rel=1e-5)
    assert found["output/weight_00"] == pytest.approx(1)


def test_weights_and_scales_of_several_components() -> None:
    found = output_statistics(MixtureOfLogistics(3), mixture([0.5, 0.5, 1e-30], [4.0, 64.0, 1e6]))
    assert found["output/components"] == pytest.approx(2, abs=1e-6)
    assert found["output/scale_lsb"] == pytest.approx(math.sqrt(4 * 64), rel=1e-5)
    assert [found[f"output/weight_{i:02d}"] for i in range(3)] == pytest.approx([0.5, 0.5, 0], abs=1e-6)


def test_a_scale_below_the_minimum_counts_as_the_minimum() -> None:
    floored = MixtureOfLogistics(3, log_scale_min=math.log(3 * LSB))
    assert output_statistics(floored, mixture([1.0, 1e-30, 1e-30], [0.001, 1, 1]))["output/scale_lsb"] == pytest.approx(
        3
    )


def test_a_gaussian_has_a_scale_and_a_categorical_distribution_a_number_of_classes() -> None:
    log_scale = torch.tensor([0.0, math.log(9 * LSB)])[None, :, None].expand(1, 2, 5)
    assert output_statistics(Gaussian(), log_scale) == {"output/scale_lsb": pytest.approx(9, rel=1e-5)}
    assert output_statistics(Categorical(16), torch.zeros(1, 16, 5)) == {"output/components": pytest.approx(16)}
