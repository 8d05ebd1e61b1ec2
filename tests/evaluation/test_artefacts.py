"""Artefacts put into real speech are found in their places, and nothing is found where there are none."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from vocoder.evaluation import griffin_lim
from vocoder.evaluation.artefacts import find_artefacts
from vocoder.features.audio import int16_to_waveform, read_audio, waveform_to_int16
from vocoder.features.mel import PRESETS, log_mel

SPEECH = Path(__file__).parent.parent / "speech"
RECORDINGS = sorted(SPEECH.rglob("*.flac"))
LONGEST = SPEECH / "june" / "call-forward-on-busy.flac"
RATE = 16000
Carrier = Callable[[np.ndarray], np.ndarray]
SPEC = PRESETS["speech_16k"]


def rendered_by_griffin_lim(recording: np.ndarray) -> np.ndarray:
    mel = log_mel(torch.from_numpy(recording), SPEC).numpy()
    return int16_to_waveform(waveform_to_int16(griffin_lim(mel, SPEC, 16)))


def noisy(recording: np.ndarray, decibels: float = 30) -> np.ndarray:
    rms = np.sqrt(np.mean(recording**2))
    noise = np.random.default_rng(0).standard_normal(len(recording)).astype(np.float32)
    return recording + noise * rms * 10 ** (-decibels / 20)


def loudest(recording: np.ndarray, samples: int) -> int:
    """Start of the stretch of that many samples with the highest power."""
    energy = np.cumsum(np.append(0, recording.astype(np.float64) ** 2))
    return int(np.argmax(energy[samples:] - energy[:-samples]))


@pytest.fixture
def speech() -> np.ndarray:
    return read_audio(LONGEST)[0]


@pytest.mark.parametrize("path", RECORDINGS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_nothing_is_found_in_a_recording_or_in_honest_renditions_of_it(path: Path) -> None:
    recording, rate = read_audio(path)
    assert rate == RATE
    renditions = {
        "itself": recording,
        "noisy": noisy(recording),
        "griffin_lim": rendered_by_griffin_lim(recording),
        "louder": recording * 1.41,
        "quieter": recording * 0.71,
    }
    for name, waveform in renditions.items():
        values, artefacts = find_artefacts(waveform, recording, rate)
        assert artefacts == [], name
        assert [values[kind] for kind in ("clicks", "clipping", "collapse")] == [0, 0, 0], name


@pytest.mark.parametrize(
    "carrier", [lambda x: x, noisy, rendered_by_griffin_lim], ids=["clean", "noisy", "griffin_lim"]
)
@pytest.mark.parametrize("amplitude", [0.3, 0.5, 1.0])
def test_clicks_are_found_to_the_sample(carrier: Carrier, amplitude: float, speech: np.ndarray) -> None:
    places = np.arange(3000, len(speech) - 3000, 5000)
    waveform = carrier(speech).copy()
    waveform[places] += amplitude * (-1.0) ** np.arange(len(places))
    values, artefacts = find_artefacts(waveform, speech, RATE)
    assert [artefact.kind for artefact in artefacts] == ["click"] * len(places)
    np.testing.assert_allclose([a.start for a in artefacts], places / RATE, atol=1.5 / RATE)
    seconds = len(waveform) / RATE  # Griffin-Lim ends with the last whole hop
    assert values["clicks"] == pytest.approx(60 * len(places) / seconds)


@pytest.mark.parametrize("value", [-1.0, 1.0])
@pytest.mark.parametrize("samples", [1, 2, 3])
def test_a_spike_at_full_scale_is_found_where_speech_is_loudest(value: float, samples: int, speech: np.ndarray) -> None:
    place = loudest(speech, 800) + 400
    waveform = speech.copy()
    waveform[place : place + samples] = value
    clicks = [a for a in find_artefacts(waveform, speech, RATE)[1] if a.kind == "click"]
    assert len(clicks) == 1
    assert place - 1 <= clicks[0].start * RATE <= place + samples


def test_a_click_that_the_recording_has_is_no_artefact(speech: np.ndarray) -> None:
    recording = speech.copy()
    recording[20000] = 1
    moved = speech.copy()
    moved[20080] = 1  # 5 ms later: a plosive is not rendered to the sample
    assert find_artefacts(recording, recording, RATE)[1] == []
    assert find_artefacts(moved, recording, RATE)[1] == []


def test_clipped_samples_are_counted() -> None:
    """A sine wave of period 100 cut off at half its amplitude is flat wherever |sin| >= 1/2."""
    recording = 0.8 * np.sin(2 * np.pi * (np.arange(2 * RATE) + 0.5) / 100).astype(np.float32)
    waveform = recording.clip(-0.4, 0.4)
    flat = np.count_nonzero(np.abs(recording) >= 0.4)
    values, artefacts = find_artefacts(waveform, recording, RATE)
    clips = [a for a in artefacts if a.kind == "clipping"]
    assert len(clips) == 2 * 2 * RATE / 100  # two in each period
    assert values["clipping"] == pytest.approx(1000 * flat / RATE / (2 / 60))
    assert clips[0].start * RATE == pytest.approx(np.flatnonzero(np.abs(recording) >= 0.4)[0])


def test_clipping_that_the_recording_has_is_no_artefact(speech: np.ndarray) -> None:
    clipped = speech.clip(-0.5 * speech.max(), 0.5 * speech.max())
    assert find_artefacts(clipped, speech, RATE)[0]["clipping"] > 0
    assert find_artefacts(clipped, clipped, RATE)[0]["clipping"] == 0
    assert find_artefacts(0.9 * clipped, clipped, RATE)[0]["clipping"] == 0


@pytest.mark.parametrize("amplitude", [0.02, 0.1, 0.5])
def test_the_flat_top_of_a_quiet_low_tone_is_not_clipped(amplitude: float) -> None:
    tone = amplitude * np.sin(2 * np.pi * 90 * (np.arange(2 * RATE) + 0.3) / RATE).astype(np.float32)
    rounded = int16_to_waveform(waveform_to_int16(tone))
    silence = np.zeros_like(tone)
    assert find_artefacts(rounded, silence, RATE)[0]["clipping"] == 0


def test_clipping_under_dither_in_the_recording_is_no_artefact_of_a_quieter_copy(speech: np.ndarray) -> None:
    dither = np.random.default_rng(0).integers(-1, 2, len(speech)) / 32768
    recording = (speech.clip(-0.5 * speech.max(), 0.5 * speech.max()) + dither).astype(np.float32)
    quieter = int16_to_waveform(waveform_to_int16(0.3 * recording))
    assert find_artefacts(quieter, recording, RATE)[0]["clipping"] == 0


@pytest.mark.parametrize("kind", ["noise", "loud noise", "saturated noise", "silence", "constant"])
@pytest.mark.parametrize("seconds", [0.25, 0.5])
def test_a_collapse_is_found_within_60_ms_of_its_ends(kind: str, seconds: float, speech: np.ndarray) -> None:
    samples = int(seconds * RATE)
    start = loudest(speech, samples)
    noise = np.random.default_rng(0).standard_normal(samples)
    replacement = {
        "noise": 0.1 * noise,
        "loud noise": 0.3 * noise,
        "saturated noise": np.sign(noise),
        "silence": 0 * noise,
        "constant": 0 * noise + 0.5,
    }[kind]
    waveform = speech.copy()
    waveform[start : start + samples] = replacement.clip(-1, 1)
    values, artefacts = find_artefacts(waveform, speech, RATE)
    collapses = [a for a in artefacts if a.kind == "collapse"]
    assert len(collapses) == 1
    assert collapses[0].start == pytest.approx(start / RATE, abs=0.06)
    assert collapses[0].stop == pytest.approx(start / RATE + seconds, abs=0.06)
    assert values["collapse"] == pytest.approx(seconds * 60 / (len(speech) / RATE), rel=0.4)
    assert values["clicks"] == 0


def test_an_output_that_is_noise_or_silence_throughout_has_collapsed_throughout(speech: np.ndarray) -> None:
    noise = 0.2 * np.random.default_rng(0).standard_normal(len(speech)).astype(np.float32)
    assert find_artefacts(noise, speech, RATE)[0]["collapse"] > 54  # seconds in a minute
    silent = find_artefacts(np.zeros_like(speech), speech, RATE)[1]
    assert sum(a.stop - a.start for a in silent) > 0.5 * len(speech) / RATE  # a pause may be silent


@pytest.mark.parametrize("decibels", [-6.0, -2.0, -0.5, 0.5, 2.0, 6.0])
def test_a_ramp_of_the_level_is_measured(decibels: float, speech: np.ndarray) -> None:
    gain = 10 ** (np.linspace(0, decibels, len(speech)) / 20)
    assert find_artefacts(speech * gain, speech, RATE)[0]["level_drift"] == pytest.approx(decibels, rel=0.05, abs=0.05)
    shifted = find_artefacts(0.5 * noisy(speech * gain, 40), speech, RATE)[0]
    assert shifted["level_drift"] == pytest.approx(decibels, rel=0.1, abs=0.1)


@pytest.mark.parametrize("percent", [-2.0, 0.1, 1.0])
def test_an_offset_is_measured_in_percent_of_full_scale(percent: float, speech: np.ndarray) -> None:
    assert find_artefacts(speech + percent / 100, speech, RATE)[0]["dc"] == pytest.approx(percent, abs=1e-4)


@pytest.mark.parametrize("length", [0, 1, 2, 100, 511, 512, 1000, 1280, 4000])
def test_short_and_silent_waves_have_finite_values(length: int, speech: np.ndarray) -> None:
    silence = np.zeros(length, np.float32)
    for waveform in (silence, speech[20000 : 20000 + length]):
        for target in (silence, speech[20000 : 20000 + length]):
            values, artefacts = find_artefacts(waveform, target, RATE)
            assert all(math.isfinite(value) for value in values.values())
            assert {"clicks", "clipping", "collapse", "dc"} <= set(values)
            if waveform is target:
                assert artefacts == []


def test_of_unequal_lengths_the_common_part_counts(speech: np.ndarray) -> None:
    longer = np.concatenate([speech, np.ones(5000, np.float32)])
    same = find_artefacts(speech, speech, RATE)
    assert find_artefacts(longer, speech, RATE) == same
    assert find_artefacts(speech, longer, RATE) == same


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
def test_a_click_is_found_at_any_sample_rate(rate: int) -> None:
    """Low-pass noise with a slow swell, in place of speech."""
    noise = np.random.default_rng(0).standard_normal(2 * rate)
    smooth = np.convolve(noise, np.hanning(rate // 1000), "same")
    recording = (0.2 * smooth / np.abs(smooth).max()).astype(np.float32)
    waveform = recording.copy()
    waveform[rate] += 0.5
    assert find_artefacts(recording, recording, rate)[1] == []
    (click,) = find_artefacts(waveform, recording, rate)[1]
    assert click.kind == "click"
    assert click.start == pytest.approx(1, abs=1e-4)
