"""The high-pass filter: what it removes, what it leaves, and when."""

import numpy as np
import pytest

from vocoder.features.highpass import high_passed

RATE = 22050
TIME = np.arange(2 * RATE) / RATE
MIDDLE = slice(RATE // 2, -RATE // 2)


def tone(frequency: float) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency * TIME)


def test_a_constant_offset_is_removed_and_speech_frequencies_stay_as_they_are_and_when_they_are() -> None:
    filtered = high_passed((tone(200) + 0.2).astype(np.float32), RATE, 20.0)
    assert filtered.dtype == np.float32
    assert np.abs(filtered - tone(200))[MIDDLE].max() < 1e-3  # zero phase: the very samples
    assert np.abs(filtered - tone(200)).max() < 0.05  # also at the ends, no step of 0.2


# |H|² of a Butterworth high-pass of order 4, once for each direction: 1 / (1 + (cutoff / f)^8)
@pytest.mark.parametrize(("frequency", "gain"), [(30, 1 / 257), (60, 0.5), (120, 256 / 257)])
def test_the_slope_is_48_db_an_octave_with_6_db_at_the_cutoff(frequency: float, gain: float) -> None:
    filtered = high_passed(tone(frequency), RATE, 60.0)
    assert filtered[MIDDLE] == pytest.approx(gain * tone(frequency)[MIDDLE], abs=2e-3)


@pytest.mark.parametrize("samples", [1, 2, 50])
def test_a_wave_shorter_than_a_period_is_filtered_too(samples: int) -> None:
    assert np.isfinite(high_passed(np.ones(samples), 1000, 20.0)).all()
