"""All measures of a waveform by their names."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from vocoder.errors import UserError
from vocoder.evaluation import measure as module
from vocoder.evaluation.measure import FUNCTIONS, PACKAGES, Target, available_measures, measure
from vocoder.evaluation.measures import MEASURES
from vocoder.features.audio import read_audio
from vocoder.features.mel import PRESETS, log_mel

SPEC = PRESETS["speech_16k"]
RECORDING = Path(__file__).parents[1] / "speech/june/please-try-again.flac"
ELSEWHERE = {"bits", "flac_bits", "clicks", "clipping", "collapse", "level_drift", "dc"}


def available() -> set[str]:
    return available_measures() - ELSEWHERE


@pytest.fixture(scope="module")
def target() -> Target:
    waveform, _ = read_audio(RECORDING)
    return Target(waveform, log_mel(torch.from_numpy(waveform), SPEC), SPEC)


def test_every_measure_is_made_here_or_elsewhere() -> None:
    names = [m.name for m in MEASURES]
    assert FUNCTIONS.keys() | ELSEWHERE == set(names)
    assert PACKAGES.keys() <= FUNCTIONS.keys()


def test_a_recording_against_itself_is_perfect(target: Target) -> None:
    perfect = {"voicing_f1": 1, "stoi": 1, "estoi": 1, "pesq_wb": 4.64, "pesq_nb": 4.55}
    found = measure(target.waveform, target, available())
    assert found.keys() == available()
    for name in found.keys() - {"mos", "noise_floor"}:
        assert found[name] == pytest.approx(perfect.get(name, 0), abs=0.01), name


def test_noise_makes_every_measure_worse(target: Target) -> None:
    noise = 0.02 * np.random.default_rng(0).standard_normal(len(target.waveform))
    good = measure(target.waveform, target, available())
    bad = measure(target.waveform + noise, target, available())
    for m in MEASURES:
        if m.name in good.keys() - {"gross_pitch_error"}:  # there may be no gross errors
            assert m.is_better(good[m.name], bad[m.name]), m.name


def test_noise_in_the_pauses_is_reported_against_the_targets(target: Target) -> None:
    noise = 0.01 * np.random.default_rng(0).standard_normal(len(target.waveform))
    found = measure(target.waveform + noise, target, {"noise_floor", "noise_excess"})
    assert found["noise_floor"] == pytest.approx(-40, abs=0.5)
    own = measure(target.waveform, target, {"noise_floor"})["noise_floor"]
    assert found["noise_excess"] == pytest.approx(found["noise_floor"] - own)


def test_only_what_is_asked_for_is_measured(target: Target) -> None:
    assert measure(target.waveform, target, {"stft", "bits", "clicks"}).keys() == {"stft"}
    assert measure(target.waveform, target, ()) == {}


@pytest.mark.parametrize("samples", [0, 100, 1500, 16000])
@pytest.mark.parametrize("level", [0.0, 0.1])
def test_what_does_not_apply_is_left_out(target: Target, samples: int, level: float) -> None:
    wave = (level * np.random.default_rng(0).standard_normal(samples)).astype(np.float32)
    mel = log_mel(torch.from_numpy(wave), SPEC) if samples == 16000 else torch.zeros(80, 1)
    for other in (target, Target(wave, mel, SPEC)):
        found = measure(wave, other, available())
        assert all(isinstance(value, float) and math.isfinite(value) for value in found.values())
        if level == 0 or samples < 1000:
            assert not found.keys() & {"f0_rmse", "gross_pitch_error", "pesq_wb"}


def test_the_target_is_analysed_once(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    if "mcd" not in available():
        pytest.skip("pyworld is not installed")
    calls = []
    track = module.pitch_track
    monkeypatch.setattr(module, "pitch_track", lambda *arguments: calls.append(1) or track(*arguments))
    fresh = Target(target.waveform, target.mel, SPEC)
    for _ in range(3):
        measure(target.waveform / 2, fresh, {"mcd", "f0_rmse", "voicing_error"})
    assert len(calls) == 1 + 3


def test_measures_of_missing_packages_are_not_available(target: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)  # of pyworld
    monkeypatch.setitem(sys.modules, "pesq", None)
    assert not available_measures() & {"mcd", "f0_rmse", "voicing_error", "pesq_wb", "pesq_nb"}
    assert available_measures() >= {"bits", "flac_bits", "clicks", "log_mel", "stft", "convergence"}
    with pytest.raises(UserError, match="pesq is not installed"):
        measure(target.waveform, target, {"pesq_wb"})
