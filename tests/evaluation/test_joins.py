"""The measure of joins detects bad ones."""

import numpy as np
import pytest

from vocoder.evaluation.joins import changes_at_joins


@pytest.mark.parametrize("rate", [16000, 22050, 44100])
def test_the_measure_detects_bad_joins_and_accepts_a_wave_without(rate: int) -> None:
    rng = np.random.default_rng(0)
    wave = rng.standard_normal(12 * rate) * 0.1 * (1.2 + np.sin(np.arange(12 * rate) / 3000))
    joins = [rate, 5 * rate, 11 * rate]
    unspoilt = changes_at_joins(wave, wave, joins, rate)
    assert np.array_equal(unspoilt.spectral_flux, unspoilt.spectral_flux_unfolded)
    assert max(unspoilt.spectral_flux.max(), unspoilt.level_jump.max()) < 1.2
    click, step = wave.copy(), wave.copy()
    for join in joins:
        click[join] += 5.0
        step[join : join + 400] *= 4
    clicks = changes_at_joins(click, wave, joins, rate)
    assert np.maximum(clicks.spectral_flux, clicks.level_jump).min() > 1
    assert changes_at_joins(step, wave, joins, rate).level_jump.min() > 1
