"""One gain for a corpus: what is at another scale is named, and changes nothing for the rest."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocoder.data.level import CorpusLevel, corpus_level

ORDINARY = list(np.random.default_rng(0).uniform(0.2, 0.9, 36))


def level(peaks: list[float], peak: float | None = 0.7) -> CorpusLevel:
    return corpus_level(peaks, peak, 0.001)


def test_the_95th_percentile_of_the_peaks_reaches_the_given_one() -> None:
    gain = level(ORDINARY).gain
    assert np.quantile(gain * np.array(ORDINARY), 0.95) == pytest.approx(0.7)
    assert level(ORDINARY, peak=None).gain == 1
    assert all(level(ORDINARY).problem(peak) is None for peak in ORDINARY)


@pytest.mark.parametrize("scale", [32768.0, 2.0**31, 100.0])
@pytest.mark.parametrize("count", [1, 4, 12, 35])
def test_recordings_at_another_scale_are_named_and_the_rest_is_as_without_them(scale: float, count: int) -> None:
    outliers = [scale * peak for peak in ORDINARY[:count]]
    found = level(ORDINARY + outliers)
    assert found.gain == level(ORDINARY).gain
    assert all(found.problem(peak) is None for peak in ORDINARY)
    for peak in outliers:
        problem = found.problem(peak)
        assert problem is not None
        assert "another scale" in problem
        assert f"{peak:.5g}" in problem


def test_a_corpus_that_is_at_another_scale_altogether_is_scaled() -> None:
    found = level([32768 * peak for peak in ORDINARY])
    assert found.gain == pytest.approx(level(ORDINARY).gain / 32768)
    assert all(found.problem(32768 * peak) is None for peak in ORDINARY)


def test_what_the_gain_would_silence_is_named() -> None:
    most = [32768 * peak for peak in ORDINARY]
    found = level(most + ORDINARY[:4])
    for peak in ORDINARY[:4]:
        assert "another scale" in (found.problem(peak) or "")
    assert all(found.problem(peak) is None for peak in most)


def test_what_would_be_clipped_beyond_use_is_named() -> None:
    found = level([0.02] * 98 + [0.9])
    assert found.problem(0.02) is None
    assert "30 dB above full scale" in (found.problem(0.9) or "")  # 20 log10(0.9 · 0.7 / 0.02)
    assert "too loud" in (level([32768.0] * 9, peak=None).problem(32768.0) or "")


def test_silence_is_named_and_does_not_count() -> None:
    found = level([*ORDINARY, *[0.0001] * 50])
    assert found.gain == level(ORDINARY).gain
    assert found.problem(0.0001) == "silence (peak 0.00010 is below 0.001)"
    assert level([0.0, 0.0]).gain == 1


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=50))
def test_nothing_is_kept_that_the_gain_silences_or_clips_beyond_20_db(peaks: list[float]) -> None:
    found = level(peaks)
    assert np.isfinite(found.gain)
    for peak in peaks:
        assert found.problem(peak) is not None or 0.001 <= peak * found.gain <= 10
