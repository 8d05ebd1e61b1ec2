"""The first look at a recording: its peak and hash, and the pauses at which it is cut."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from vocoder.corpora import Recording
from vocoder.data.survey import PAUSE_HOPS, quiet_places, survey
from vocoder.errors import UserError

RATE = 8000


def talk(path: Path, pauses: list[float], seconds: float) -> Recording:
    """A recording of noise with silences of half a second around these times."""
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, int(seconds * RATE))
    for pause in pauses:
        samples[int((pause - 0.25) * RATE) : int((pause + 0.25) * RATE)] = 0
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    return Recording(path, path.stem)


def test_a_long_recording_is_cut_in_its_pauses(tmp_path: Path) -> None:
    pauses = [7.3, 15.1, 22.9]
    found = survey(talk(tmp_path / "a.wav", pauses, 29.0), max_seconds=10.0)
    first, *cuts, last = found.borders
    assert (first, last) == (0, None)
    assert len(cuts) == 3
    assert np.abs(np.array(cuts, float) / RATE - pauses).max() < 0.25 - PAUSE_HOPS / 200 + 0.02


def test_a_short_recording_and_one_that_is_to_stay_whole_are_not_cut(tmp_path: Path) -> None:
    recording = talk(tmp_path / "a.wav", [3.0], 9.0)
    assert survey(recording, 10.0).borders == (0, None)
    assert survey(recording, None).borders == (0, None)


def test_a_segment_is_looked_at_alone(tmp_path: Path) -> None:
    recording = talk(tmp_path / "a.wav", [9.3], 20.0)
    samples = soundfile.read(recording.path)[0]
    samples[: 2 * RATE] = 0.9
    soundfile.write(recording.path, samples, RATE, subtype="FLOAT")
    found = survey(replace(recording, begin=3.0, end=15.0), max_seconds=10.0)
    assert found.peak == np.abs(samples[3 * RATE : 15 * RATE]).max()
    first, cut, last = found.borders
    assert (first, last) == (3 * RATE, 15 * RATE)
    assert cut is not None
    assert abs(cut / RATE - 9.3) < 0.25


def test_peak_rate_and_hash_are_those_of_the_file(tmp_path: Path) -> None:
    recording = talk(tmp_path / "a.wav", [1.0], 3.0)
    found = survey(recording, 60.0)
    assert found.peak == np.abs(soundfile.read(recording.path)[0]).max()
    assert found.sample_rate == RATE
    assert found.sha256 == hashlib.sha256(recording.path.read_bytes()).hexdigest()


def test_a_file_without_samples_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", np.zeros(0), RATE)
    with pytest.raises(UserError, match="no samples"):
        survey(Recording(tmp_path / "a.wav", "a"), 60.0)


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


def test_a_file_whose_segments_alternate_with_anothers_is_hashed_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = (talk(tmp_path / name, [1.0], 3.0) for name in ("a.wav", "b.wav"))
    hashed: list[str] = []
    digest = hashlib.file_digest
    monkeypatch.setattr(hashlib, "file_digest", lambda file, kind: hashed.append(file.name) or digest(file, kind))
    for begin in (0.0, 1.0, 2.0):
        for recording in (a, b):
            survey(replace(recording, begin=begin, end=begin + 1), None)
    assert len(hashed) == 2
