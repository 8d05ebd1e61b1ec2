"""Pitch errors of signals whose pitch is known, and of tracks that are compared by hand."""

import numpy as np
import pytest

from vocoder.errors import UserError
from vocoder.evaluation import packages
from vocoder.evaluation.pitch import PitchErrors, PitchTrack, pitch_errors, pitch_track

RATE = 16000


@pytest.fixture(autouse=True)
def _needs_pyworld(request: pytest.FixtureRequest) -> None:
    if "missing" not in request.node.name and not packages.is_usable("pyworld"):
        pytest.skip("pyworld is not installed")


def harmonics(f0: float, seconds: float = 1.0) -> np.ndarray:
    """Ten harmonics of constant pitch, [T]."""
    times = np.arange(round(seconds * RATE)) / RATE
    return sum(np.sin(2 * np.pi * k * f0 * times) / k for k in range(1, 11)) * 0.1


@pytest.mark.parametrize("f0", [100.0, 180.0, 310.0])
def test_the_pitch_of_a_harmonic_signal_is_found_every_5_ms(f0: float) -> None:
    track = pitch_track(harmonics(f0), RATE)
    assert len(track.f0) == 201
    inner = track.f0[10:-10]
    assert np.abs(1200 * np.log2(inner / f0)).max() < 3


def test_a_shift_of_50_cents_is_an_error_of_50_cents() -> None:
    tracks = [pitch_track(harmonics(f0), RATE).f0[10:-10] for f0 in (200.0 * 2 ** (50 / 1200), 200.0)]
    found = pitch_errors(*map(PitchTrack, tracks))  # without the edges, where a window has half a signal
    assert found.f0_rmse == pytest.approx(50, abs=1)
    assert found.gross_pitch_error == 0


def test_noise_in_a_third_of_a_tone_is_a_voicing_error_of_a_third() -> None:
    tone = harmonics(150.0, 3.0)
    broken = tone.copy()
    broken[RATE : 2 * RATE] = 0.05 * np.random.default_rng(0).standard_normal(RATE)
    found = pitch_errors(pitch_track(broken, RATE), pitch_track(tone, RATE))
    assert found.voicing_error == pytest.approx(100 / 3, abs=2)
    assert found.voicing_f1 == pytest.approx(2 * 2 / (2 + 3), abs=0.02)  # of 3 s, 2 are voiced


def test_errors_of_frames_worked_out_by_hand() -> None:
    # Voiced in both: 100 / 100, 110 / 100, 200 / 100 (an octave error); then a false alarm, a miss, and unvoiced twice.
    track = PitchTrack(np.array([100.0, 110.0, 200.0, 90.0, 0.0, 0.0, 0.0, 123.0]))
    found = pitch_errors(track, PitchTrack(np.array([100.0, 100.0, 100.0, 0.0, 90.0, 0.0, 0.0])))
    assert found.f0_rmse == pytest.approx(165.0 / 2**0.5, abs=0.01)  # 110 / 100 are 165.00 cents
    assert found.gross_pitch_error == pytest.approx(100 / 3)
    assert found.voicing_error == pytest.approx(200 / 7)
    assert found.voicing_f1 == pytest.approx(6 / 8)  # 3 hits, 1 false alarm, 1 miss


def test_equal_tracks_have_no_errors() -> None:
    track = PitchTrack(np.array([0.0, 100.0, 200.0]))
    assert pitch_errors(track, track) == PitchErrors(0.0, 0.0, 0.0, 1.0)


def test_what_has_no_frames_to_compare_is_none() -> None:
    silent, voiced = PitchTrack(np.zeros(4)), PitchTrack(np.full(4, 100.0))
    assert pitch_errors(silent, silent) == PitchErrors(None, None, 0.0, None)
    assert pitch_errors(silent, voiced) == PitchErrors(None, None, 100.0, 0.0)
    assert pitch_errors(PitchTrack(np.zeros(0)), voiced) == PitchErrors(None, None, None, None)


def test_silence_and_a_few_samples_are_unvoiced() -> None:
    for samples in (0, 10, 5000):
        assert not pitch_track(np.zeros(samples), RATE).f0.any()


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="pyworld is not installed; pip install"):
        pitch_track(np.zeros(1000), RATE)
