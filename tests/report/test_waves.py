"""Renditions on one time axis."""

from pathlib import Path

import numpy as np
import pytest

from vocoder.errors import UserError
from vocoder.evaluation.results import Rendition, Utterance
from vocoder.features.audio import write_wav
from vocoder.report.waves import load_waves


def utterance_of(folder: Path, **lengths: tuple[int, int]) -> Utterance:
    for name, (samples, sample_rate) in lengths.items():
        write_wav(folder / f"{name}.wav", np.full(samples, 1000, np.int16), sample_rate)
    return Utterance("u", 1.0, None, {name: Rendition(f"{name}.wav", {}) for name in lengths})


def test_waves_are_padded_with_zeros_to_the_longest(tmp_path: Path) -> None:
    found = load_waves(tmp_path, utterance_of(tmp_path, a=(8000, 16000), b=(6000, 16000)), ["b", "a", "missing"])
    assert list(found.waves) == ["b", "a"]
    assert {len(wave) for wave in found.waves.values()} == {8000}
    assert found.waves["b"][5999] == np.float32(1000 / 32768)
    assert not found.waves["b"][6000:].any()
    assert found.seconds == 0.5
    assert found.mels["a"].shape == found.mels["b"].shape == (80, 40)


def test_waves_of_another_rate_are_resampled_to_the_first(tmp_path: Path) -> None:
    found = load_waves(tmp_path, utterance_of(tmp_path, a=(16000, 16000), b=(22050, 22050)), ["a", "b"])
    assert found.spec.sample_rate == 16000
    assert {len(wave) for wave in found.waves.values()} == {16000}


def test_a_wave_shorter_than_a_window_is_shown_all_the_same(tmp_path: Path) -> None:
    found = load_waves(tmp_path, utterance_of(tmp_path, a=(10, 16000)), ["a"])
    assert np.isfinite(found.mels["a"]).all()


def test_mels_are_in_decibels(tmp_path: Path) -> None:
    samples = (np.sin(np.arange(16000) * 0.3) * 3000).astype(np.int16)
    for name, wave in (("a", samples), ("b", samples * 10)):
        write_wav(tmp_path / f"{name}.wav", wave, 16000)
    found = load_waves(tmp_path, Utterance("u", 1.0, None, {n: Rendition(f"{n}.wav", {}) for n in "ab"}), ["a", "b"])
    loudest = found.mels["a"] > 0
    assert (found.mels["b"] - found.mels["a"])[loudest] == pytest.approx(20.0, abs=0.01)


def test_a_lost_wav_is_named(tmp_path: Path) -> None:
    utterance = utterance_of(tmp_path, a=(8000, 16000))
    (tmp_path / "a.wav").unlink()
    with pytest.raises(UserError, match=r"a\.wav: cannot be opened"):
        load_waves(tmp_path, utterance, ["a"])
