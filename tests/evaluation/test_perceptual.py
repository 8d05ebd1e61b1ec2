"""Measures from other packages are called with the target first and at the right sample rate."""

import socket
import sys

import numpy as np
import pytest
import scipy.signal
import torch

from vocoder.data.store import Store
from vocoder.errors import UserError
from vocoder.evaluation import perceptual, pesq, stoi
from vocoder.evaluation.perceptual import mos
from vocoder.features.audio import int16_to_waveform, resample


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


def test_extended_stoi_decreases_with_noise_and_faster(speech_store: Store) -> None:
    wave = speech(speech_store)
    assert stoi(wave, wave, 16000, extended=True) == pytest.approx(1, abs=1e-4)
    assert stoi(noisy(wave, 0.1), wave, 16000, extended=True) < stoi(noisy(wave, 0.1), wave, 16000)


def test_narrow_band_pesq_does_not_hear_what_is_above_4_khz(speech_store: Store) -> None:
    pytest.importorskip("pesq", reason="the extra `metrics` is not installed")
    wave = speech(speech_store)
    hiss = scipy.signal.sosfilt(
        scipy.signal.butter(10, 5000, "highpass", fs=16000, output="sos"), noisy(0 * wave, 0.1)
    ).astype(np.float32)
    assert pesq(wave, wave, 16000, "nb") == pytest.approx(4.55, abs=0.01)  # P.862.1's ceiling
    assert pesq(wave + hiss, wave, 16000, "nb") > 4.4
    assert pesq(wave + hiss, wave, 16000, "wb") < 3


def test_speech_at_8_khz_has_no_wide_band_pesq(speech_store: Store) -> None:
    pytest.importorskip("pesq", reason="the extra `metrics` is not installed")
    wave = resample(speech(speech_store), 16000, 8000)
    assert pesq(wave, wave, 8000, "wb") is None
    assert pesq(wave, wave, 8000, "nb") == pytest.approx(4.55, abs=0.01)


def test_pesq_of_a_long_recording_with_many_phrases_is_that_of_its_pieces() -> None:
    pytest.importorskip("pesq", reason="the extra `metrics` is not installed")
    bursts = np.random.default_rng(0).standard_normal((75, 8000)) * (np.arange(8000) < 4000)
    target = (0.1 * bursts).reshape(-1).astype(np.float32)  # 75 phrases in 37.5 s: more than the package can hold
    found = pesq(noisy(target, 0.01), target, 16000)
    assert found is not None
    thirds = zip(np.split(noisy(target, 0.01), 3), np.split(target, 3), strict=True)
    assert found == pytest.approx(np.mean([pesq(waveform, part, 16000) for waveform, part in thirds]))


@pytest.mark.parametrize("samples", [0, 100, 3000, 16000])
def test_silence_has_no_score(samples: int) -> None:
    silence, noise = np.zeros(samples, np.float32), noisy(np.zeros(samples, np.float32), 0.1)
    assert stoi(noise, silence, 16000) is None
    for name in ("pesq", "distillmos"):
        pytest.importorskip(name, reason="the extra `metrics` is not installed")
    assert pesq(noise, silence, 16000) is None
    assert pesq(silence, noise, 16000) is None
    assert mos(silence, 16000) is None


def test_speech_of_less_than_the_shortest_duration_has_no_score(speech_store: Store) -> None:
    wave = speech(speech_store)
    assert stoi(wave[4000:9000], wave[4000:9000], 16000) is None
    mostly_silent = np.pad(wave[4000:9000], (0, 16000))  # frames without speech do not count
    assert stoi(mostly_silent, mostly_silent, 16000) is None
    pytest.importorskip("pesq", reason="the extra `metrics` is not installed")
    assert pesq(wave[4000:7000], wave[4000:7000], 16000) is None


def test_waveforms_of_unequal_length_are_compared_up_to_the_shorter_end(speech_store: Store) -> None:
    wave = speech(speech_store)
    assert stoi(wave[:-500], wave, 16000) == pytest.approx(1, abs=1e-4)
    assert stoi(np.pad(wave, (0, 500)), wave, 16000) == pytest.approx(1, abs=1e-4)


# DistillMOS


@pytest.fixture
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distillmos", reason="the extra `metrics` is not installed")

    def refuse(*_: object) -> None:
        raise AssertionError("this opens a connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    perceptual._mos_model.cache_clear()


@pytest.mark.usefixtures("_offline")
def test_distillmos_prefers_clean_speech_says_nothing_and_is_deterministic(
    speech_store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    wave = speech(speech_store)
    clean, *noises = (mos(w, 16000) for w in (wave, noisy(wave, 0.01), noisy(wave, 0.1)))
    assert clean is not None
    assert 5 > clean > noises[0] > noises[1] > 1
    assert mos(wave, 16000) == clean
    assert capsys.readouterr() == ("", "")


@pytest.mark.usefixtures("_offline")
def test_distillmos_of_a_long_waveform_is_that_of_the_package(speech_store: Store) -> None:
    wave = np.tile(speech(speech_store), 5)[: 16000 * 9 + 77]
    model = perceptual._mos_model()
    with torch.inference_mode():
        expected = model(torch.from_numpy(wave)[None]).item()  # all segments in one batch
    assert mos(wave, 16000) == pytest.approx(expected, abs=1e-4)


@pytest.mark.usefixtures("_offline")
def test_distillmos_resamples_speech_of_another_rate(speech_store: Store) -> None:
    wave = speech(speech_store)
    clean, noise = (mos(resample(w, 16000, 24000), 24000) for w in (wave, noisy(wave, 0.01)))
    assert clean == pytest.approx(mos(wave, 16000), abs=0.6)  # resampling twice removes the top of the band
    assert noise == pytest.approx(mos(noisy(wave, 0.01), 16000), abs=0.6)
    assert clean > noise


@pytest.mark.parametrize(("measure", "package"), [(stoi, "pystoi"), (pesq, "pesq")])
def test_a_missing_package_is_named(measure, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UserError, match=f"{package} is not installed; pip install"):
        measure(np.zeros(100), np.zeros(100), 16000)
