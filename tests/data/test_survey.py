"""The first look at a recording: its peak and hash, and the pauses at which it is cut."""

import hashlib
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from vocoder.data.survey import PAUSE_HOPS, quiet_places, survey
from vocoder.errors import UserError

RATE = 8000


def talk(path: Path, pauses: list[float], seconds: float) -> Path:
    """Noise with silences of half a second around these times."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, int(seconds * RATE))
    for pause in pauses:
        samples[int((pause - 0.25) * RATE) : int((pause + 0.25) * RATE)] = 0
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    return path


def test_a_long_recording_is_cut_in_its_pauses(tmp_path: Path) -> None:
    pauses = [7.3, 15.1, 22.9]
    found = survey(talk(tmp_path / "a.wav", pauses, 29.0), max_seconds=10.0)
    assert len(found.cuts) == 3
    assert np.abs(np.array(found.cuts) / RATE - pauses).max() < 0.25 - PAUSE_HOPS / 200 + 0.02


def test_a_short_recording_and_one_that_is_to_stay_whole_are_not_cut(tmp_path: Path) -> None:
    path = talk(tmp_path / "a.wav", [3.0], 9.0)
    assert survey(path, 10.0).cuts == ()
    assert survey(path, None).cuts == ()


def test_peak_rate_and_hash_are_those_of_the_file(tmp_path: Path) -> None:
    path = talk(tmp_path / "a.wav", [1.0], 3.0)
    found = survey(path, 60.0)
    assert found.peak == np.abs(soundfile.read(path)[0]).max()
    assert found.sample_rate == RATE
    assert found.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_file_without_samples_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(0), RATE)
    with pytest.raises(UserError, match="no samples"):
        survey(tmp_path / "a.wav", 60.0)


@given(st.integers(1, 5000), st.integers(100, 1000), st.integers(0, 2**32))
def test_pieces_are_neither_longer_than_allowed_nor_shorter_than_a_quarter(n: int, longest: int, seed: int) -> None:
    energy = np.random.default_rng(seed).uniform(0, 1, n)
    borders = np.array([0, *quiet_places(energy, longest), n])
    lengths = np.diff(borders)
    assert lengths.max() <= longest
    assert lengths.min() >= min(n, longest // 4)


@given(st.integers(1500, 3000), st.integers(0, 2**32))
def test_the_first_cut_is_at_the_quietest_place_of_the_first_piece_s_last_half(n: int, seed: int) -> None:
    """Against every place, one by one."""
    energy, longest = np.random.default_rng(seed).uniform(0, 1, n), 1000
    last = min(longest, n - longest // 4)
    sums = {at: energy[at : at + PAUSE_HOPS].sum() for at in range(longest // 2, last - PAUSE_HOPS + 1)}
    first = quiet_places(energy, longest)[0] - PAUSE_HOPS // 2
    assert sums[first] == pytest.approx(min(sums.values()))
