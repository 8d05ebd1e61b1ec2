"""The uniform grid against the int16 samples of vocoder.features.audio."""

import numpy as np
import pytest
import torch

from vocoder.distributions import UniformGrid
from vocoder.features.audio import grid_to_int16, int16_to_grid

SAMPLES = np.arange(-32768, 32768).astype(np.int16)
LEVELS = torch.from_numpy(int16_to_grid(SAMPLES))


def test_every_16_bit_level_equals_the_float_of_int16_to_grid() -> None:
    assert torch.equal(UniformGrid(65536).round(LEVELS), LEVELS)


@pytest.mark.parametrize("offset", [-0.49, 0.49])
def test_values_within_half_a_bin_of_a_level_round_to_it(offset: float) -> None:
    grid = UniformGrid(65536)
    moved = LEVELS.double() + offset * 2 * grid.half_bin
    assert np.array_equal(grid_to_int16(grid.round(moved).numpy()), SAMPLES)


def test_rounding_clamps_to_the_outermost_levels() -> None:
    x = torch.tensor([-1e9, -1.1, 1.1, 1e9, float("inf")])
    assert UniformGrid(65536).round(x).tolist() == [-1, -1, 1, 1, 1]


def test_an_offset_of_zero_has_no_effect() -> None:
    assert torch.equal(UniformGrid(256).round(LEVELS, torch.zeros(())), UniformGrid(256).round(LEVELS))


def test_only_the_outermost_levels_are_lowest_and_highest() -> None:
    grid = UniformGrid(65536)
    assert grid.is_lowest(LEVELS).nonzero().tolist() == [[0]]
    assert grid.is_highest(LEVELS).nonzero().tolist() == [[65535]]


@pytest.mark.parametrize("levels", [3, 256, 1000])
def test_levels_are_equally_spaced_from_minus_one_to_one(levels: int) -> None:
    expected = torch.from_numpy(np.linspace(-1, 1, levels))
    assert UniformGrid(levels).round(expected).allclose(expected, rtol=0, atol=1e-15)
    assert len(UniformGrid(levels).round(torch.linspace(-1, 1, 100 * levels, dtype=torch.float64)).unique()) == levels
    assert expected[1] - expected[0] == pytest.approx(2 * UniformGrid(levels).half_bin, rel=1e-12)
