"""Pre-emphasis is undone exactly, also in pieces."""

import numpy as np
import pytest

from vocoder.errors import UserError
from vocoder.features.audio import grid_to_int16, int16_to_grid
from vocoder.features.pre_emphasis import PreEmphasis

RECIPE = PreEmphasis(0.85, 0.55)


def noise(samples: int = 5000) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, samples)


def test_it_subtracts_a_share_of_the_sample_before() -> None:
    x = noise()
    expected = [0.55 * (x[t] - 0.85 * (x[t - 1] if t else 0)) for t in range(len(x))]
    np.testing.assert_allclose(RECIPE.apply(x), expected, rtol=0, atol=1e-12)


def test_undoing_gives_the_waveform_to_the_rounding_of_what_was_drawn() -> None:
    x = noise()
    restored = RECIPE.undo(grid_to_int16(RECIPE.apply(x))) / 32768
    # Each of the 16-bit samples is half a level off at most, and the filter adds those of all before it up.
    assert np.abs(restored - x).max() < (0.5 / 32768) * (1 / 0.55) / (1 - 0.85) + 0.5 / 32768


def test_it_is_the_recursion_of_their_synthesis() -> None:
    samples = grid_to_int16(0.2 * noise(300))
    y, before, expected = int16_to_grid(samples).astype(np.float64), 0.0, []
    for value in y:
        before = value + 0.85 * before
        expected.append(np.clip(before / 0.55, -1, 1))
    assert np.abs(RECIPE.undo(samples) / 32768 - expected).max() <= 1 / 32768


def test_in_pieces_it_is_the_same_to_the_bit() -> None:
    samples = grid_to_int16(noise())
    undo = RECIPE.undoer()
    pieces = [undo(piece) for piece in np.split(samples, [1, 2, 60, 61, 4000])]
    assert np.array_equal(np.concatenate(pieces), RECIPE.undo(samples))


def test_loud_samples_are_clipped_and_silence_stays_silent() -> None:
    assert RECIPE.undo(np.full(100, 32767, np.int16)).max() == 32767
    silence = np.tile(np.array([0, -1], np.int16), 500)  # the levels on either side of zero, on the grid
    assert abs(RECIPE.undo(silence).mean()) < 0.6
    restored = RECIPE.undo(grid_to_int16(RECIPE.apply(int16_to_grid(np.zeros(1000, np.int16)))))
    assert np.abs(restored).max() <= np.ceil(0.5 / (0.55 * (1 - 0.85)))


def test_without_it_nothing_changes() -> None:
    samples = grid_to_int16(noise())
    assert not PreEmphasis()
    assert PreEmphasis().undo(samples) is samples
    assert RECIPE


@pytest.mark.parametrize(("coefficient", "gain"), [(1.0, 1.0), (-0.1, 1.0), (0.5, 0.0), (0.5, float("inf"))])
def test_what_cannot_be_undone_is_refused(coefficient: float, gain: float) -> None:
    with pytest.raises(UserError, match="pre_emphasis"):
        PreEmphasis(coefficient, gain)
