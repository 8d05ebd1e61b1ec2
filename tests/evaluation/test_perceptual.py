"""Measures from other packages are called with the target first and at the right sample rate."""

import sys

import numpy as np
import pytest

from vocoder.data.store import Store
from vocoder.errors import UserError
from vocoder.evaluation import pesq, stoi
from vocoder.features.audio import int16_to_waveform


def speech(store: Store) -> np.ndarray:
    return int16_to_waveform(store.read(max(store.entries, key=lambda entry: entry.frames)).wave)


def noisy(wave: np.ndarray, level: float) -> np.ndarray:
    return wave + level * np.random.default_rng(0).standard_normal(wave.size).astype(np.float32)


def test_stoi_is_one_for_equal_waveforms_and_decreases_with_noise(speech_store: Store) -> None:
    wave = speech(speech_store)
    assert stoi(wave, wave, 16000) == pytest.approx(1, abs=1e-4)
    assert 0.9 > stoi(noisy(wave, 0.1), wave, 16000) > stoi(noisy(wave, 0.5), wave, 16000)


def test_pesq_is_highest_for_equal_waveforms_and_low_in_noise(speech_store: Store) -> None:
    pytest.importorskip("pesq", reason="the extra `metrics` is not installed")
    wave = speech(speech_store)
    assert pesq(wave, wave, 16000) == pytest.approx(4.64, abs=0.01)  # P.862.2's ceiling
    assert pesq(noisy(wave, 0.1), wave, 16000) < 2


@pytest.mark.parametrize(("measure", "package"), [(stoi, "pystoi"), (pesq, "pesq")])
def test_a_missing_package_is_named(measure, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f"{package} is not installed; pip install"):
        measure(np.zeros(100), np.zeros(100), 16000)
