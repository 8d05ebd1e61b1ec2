"""Log-mels against an independent implementation in numpy; MelSpec; the check of foreign mels."""

import dataclasses
import math
from typing import Any

import librosa
import numpy as np
import pytest
import scipy.signal
import torch

from vocoder.errors import UserError
from vocoder.features.mel import PRESETS, MelSpec, check_mel, frame_count, log_mel, preset_name

SPEC = PRESETS["hifigan_22k"]
OTHER_FIELDS: dict[str, Any] = {  # for every field, a value that differs from SPEC's
    "sample_rate": 24000,
    "n_fft": 2048,
    "hop_length": 200,
    "win_length": 800,
    "n_mels": 100,
    "fmin": 20.0,
    "fmax": 7600.0,
    "mel_scale": "htk",
    "filter_norm": "none",
    "padding": "centre",
    "magnitude_epsilon": 0.0,
    "log_floor": 1e-7,
    "log_base": "10",
    "pad_mode": "zero",
    "window": "symmetric",
    "power": 2,
    "log_guard": "add",
    "log_gain": 0.5,
    "log_offset": 1.5,
    "log_ceiling": 0.1,
    "preemphasis": 0.97,
    "highpass": 70.0,
}
VARIANTS = PRESETS | {
    f"{name}={value}": dataclasses.replace(SPEC, **{name: value}) for name, value in OTHER_FIELDS.items()
}
VARIANTS["an odd difference of n_fft and hop"] = dataclasses.replace(SPEC, hop_length=275)


def reference_log_mel(waveform: np.ndarray, spec: MelSpec) -> np.ndarray:
    """[n_mels, F] in float64, computed frame by frame with numpy's FFT and librosa's filters."""
    frames = len(waveform) // spec.hop_length
    waveform = waveform[: frames * spec.hop_length].astype(np.float64)
    if spec.highpass:
        taps = scipy.signal.firwin(255, spec.highpass, pass_zero=False, fs=spec.sample_rate)
        waveform = np.convolve(waveform, taps)[127:-127]
    waveform = scipy.signal.lfilter([1, -spec.preemphasis], [1], waveform)
    first = {"centre": -(spec.n_fft // 2), "frame": -((spec.n_fft - spec.hop_length) // 2)}[spec.padding]
    period = 2 * (len(waveform) - 1)
    window = np.zeros(spec.n_fft)
    offset = (spec.n_fft - spec.win_length) // 2
    phase = 2 * np.pi * np.arange(spec.win_length) / (spec.win_length - int(spec.window == "symmetric"))
    hann = 0.5 - 0.5 * np.cos(phase)
    if spec.window == "lws":
        hann = np.sqrt(np.hanning(spec.win_length) / 2)
    window[offset : offset + spec.win_length] = hann
    filters = librosa.filters.mel(
        sr=spec.sample_rate,
        n_fft=spec.n_fft,
        n_mels=spec.n_mels,
        fmin=spec.fmin,
        fmax=spec.fmax,
        htk=spec.mel_scale == "htk",
        norm={"slaney": "slaney", "none": None}[spec.filter_norm],
    ).astype(np.float64)
    columns = []
    for frame in range(frames):
        time = first + frame * spec.hop_length + np.arange(spec.n_fft)
        index = np.abs(time) % period
        index = np.minimum(index, period - index)  # reflected at both ends
        heard = waveform[index] * (1 if spec.pad_mode == "reflect" else (time >= 0) & (time < len(waveform)))
        magnitude = np.sqrt(np.abs(np.fft.rfft(window * heard)) ** 2 + spec.magnitude_epsilon)
        energy = filters @ magnitude**spec.power
        columns.append(energy + spec.log_floor if spec.log_guard == "add" else np.maximum(energy, spec.log_floor))
    logarithm = {"e": np.log, "10": np.log10}[spec.log_base]
    energies = np.minimum(np.stack(columns, axis=1), spec.log_ceiling or np.inf)
    return spec.log_gain * logarithm(energies) + spec.log_offset


def signals(rate: int) -> dict[str, np.ndarray]:
    """Test signals of half a second, with pauses.

    As in recordings, there is a noise floor below the tones. Without it some bands would be 100 dB below others, where
    float32 has mostly rounding errors, which the logarithm would magnify.
    """
    time = np.arange(rate // 2 + 77) / rate
    rng = np.random.default_rng(0)
    floor = 1e-2 * rng.standard_normal(len(time))
    harmonics = sum(np.sin(2 * np.pi * 130 * k * time + k) / k for k in range(1, 25))
    loudness = np.clip(np.sin(2 * np.pi * 5 * time), 0, 1)  # voiced, silent, voiced, ...
    return {
        "noise": rng.uniform(-0.5, 0.5, len(time)),
        "chirp": 0.8 * np.sin(2 * np.pi * (50 + rate / 2 * time) * time) + floor,
        "speech": (0.2 * loudness * harmonics + floor) * (time < 0.32),
        "silence": np.zeros(len(time)),
    }


def speech_mel(spec: MelSpec = SPEC) -> torch.Tensor:
    return log_mel(torch.from_numpy(signals(spec.sample_rate)["speech"]).float(), spec)


@pytest.mark.parametrize("name", VARIANTS)
def test_log_mel_equals_an_independent_implementation(name: str) -> None:
    spec = VARIANTS[name]
    for kind, signal in signals(spec.sample_rate).items():
        waveform = signal.astype(np.float32)
        mel = log_mel(torch.from_numpy(waveform), spec)
        expected = reference_log_mel(waveform, spec)
        assert mel.dtype == torch.float32
        assert mel.shape == expected.shape == (spec.n_mels, len(waveform) // spec.hop_length)
        # float32 rounds relative to the loudest bin of a frame: of bands 40 dB below it little is left
        heard = spec.nepers(expected) > spec.nepers(expected).max(0) - np.log(100)
        tolerance = 1e-3 if spec.preemphasis else 1e-4  # the difference of neighbouring samples has fewer digits
        assert np.abs(mel.numpy() - expected)[heard].max() <= tolerance, kind
        in_float64 = log_mel(torch.from_numpy(waveform).double(), spec)
        assert in_float64.dtype == torch.float64
        assert np.abs(in_float64.numpy() - expected).max() <= 1e-4, kind


@pytest.mark.parametrize("extra", [0, 1, 199, 200, 201])
def test_samples_after_the_last_whole_frame_are_dropped(extra: int) -> None:
    spec = PRESETS["speech_16k"]
    waveform = torch.rand(8000 + extra, generator=torch.Generator().manual_seed(0)) - 0.5
    mel = log_mel(waveform, spec)
    assert mel.shape[1] == frame_count(len(waveform), spec) == (8000 + extra) // 200
    whole = waveform[: mel.shape[1] * 200]
    torch.testing.assert_close(log_mel(whole, spec), mel, rtol=0, atol=0)


@pytest.mark.parametrize("name", PRESETS)
def test_a_batch_equals_its_utterances_one_by_one(name: str) -> None:
    batch = 2 * torch.rand(2, 3, 12000, generator=torch.Generator().manual_seed(0)) - 1
    mels = log_mel(batch, PRESETS[name])
    assert mels.shape[:2] == (2, 3)
    for i in range(2):
        for j in range(3):
            torch.testing.assert_close(log_mel(batch[i, j], PRESETS[name]), mels[i, j], rtol=0, atol=1e-5)


def test_gradients_work_if_the_first_call_was_in_inference_mode() -> None:
    spec = dataclasses.replace(SPEC, fmax=7990.0)  # not cached yet
    with torch.inference_mode():
        log_mel(torch.rand(8192), spec)
    waveform = torch.rand(8192, requires_grad=True)
    log_mel(waveform, spec).sum().backward()
    assert waveform.grad is not None
    assert waveform.grad.isfinite().all()


@pytest.mark.parametrize("name", PRESETS)
def test_a_waveform_that_is_too_short_is_refused(name: str) -> None:
    with pytest.raises(UserError, match="too short"):
        log_mel(torch.zeros(300), PRESETS[name])
    with pytest.raises(UserError, match="too short"):
        log_mel(torch.zeros(0), PRESETS[name])


@pytest.mark.parametrize("name", PRESETS)
def test_the_shortest_accepted_waveform_has_a_finite_mel(name: str) -> None:
    spec = PRESETS[name]
    for length in range(spec.hop_length, spec.n_fft + 1):
        try:
            mel = log_mel(torch.ones(length), spec)
        except UserError:
            continue
        assert mel.isfinite().all()
        return
    pytest.fail("a waveform as long as the window is refused")


# --- MelSpec ---


def test_the_hash_changes_with_every_field() -> None:
    assert set(OTHER_FIELDS) == {field.name for field in dataclasses.fields(MelSpec)}
    hashes = {dataclasses.replace(SPEC, **{name: value}).hash() for name, value in OTHER_FIELDS.items()}
    assert len(hashes | {SPEC.hash()}) == len(OTHER_FIELDS) + 1


def test_hashes_in_existing_stores_and_models_stay_valid() -> None:
    assert SPEC.hash() == "1de9a88646959160"
    assert PRESETS["speech_16k"].hash() == "520c4a4bd5ee02a7"


def test_equal_specs_have_equal_hashes_for_int_and_float_fields() -> None:
    written = dataclasses.replace(SPEC, fmin=0, fmax=8000)
    assert written == SPEC
    assert written.hash() == SPEC.hash()


def test_presets_are_found_by_value_and_differences_have_both_values() -> None:
    for name, spec in PRESETS.items():
        assert PRESETS[preset_name(dataclasses.replace(spec))] == spec
        assert preset_name(dataclasses.replace(spec)) == name or name == "speecht5"  # which equals pwg_16k
    other = dataclasses.replace(SPEC, hop_length=200, fmax=7600.0)
    assert preset_name(other) == "custom"
    assert SPEC.differences(other) == "hop_length 256 / 200, fmax 8000.0 / 7600.0"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        *((name, 0) for name in ("sample_rate", "n_fft", "hop_length", "win_length", "n_mels")),
        ("win_length", 2048),
        ("hop_length", 1025),
        ("fmin", -1.0),
        ("fmin", 8000.0),
        ("fmin", math.nan),
        ("fmax", 11026.0),
        ("log_floor", 0.0),
        ("log_floor", math.nan),
        ("magnitude_epsilon", -1e-9),
        ("mel_scale", "mel"),
        ("filter_norm", None),
        ("padding", "center"),
        ("log_base", 10),
        ("pad_mode", "wrap"),
        ("window", "hann"),
        ("power", 3),
        ("log_guard", "clip"),
        ("log_gain", 0.0),
        ("log_offset", math.inf),
        ("log_ceiling", 1e-5),
        ("preemphasis", 1.0),
        ("highpass", 11025.0),
    ],
)
def test_an_invalid_spec_is_refused_by_field(field: str, value: Any) -> None:
    with pytest.raises(UserError, match=field):
        dataclasses.replace(SPEC, **{field: value})


# --- check_mel ---


@pytest.mark.parametrize("name", VARIANTS)
def test_mels_of_waveforms_in_range_stay_within_the_bounds(name: str) -> None:
    spec = VARIANTS[name]
    time = torch.arange(spec.sample_rate // 4) / spec.sample_rate
    noise = 2 * torch.rand(len(time), generator=torch.Generator().manual_seed(0)) - 1
    sines = [torch.sin(2 * math.pi * f * time) for f in (20, 50, 100, 440, 3000, spec.sample_rate / 2.001)]
    extreme = [noise.sign(), torch.zeros_like(time), torch.ones_like(time), noise, *sines, *(s.sign() for s in sines)]
    mels = [log_mel(waveform, spec) for waveform in extreme]
    for mel in mels:
        assert spec.log_minimum - 1e-5 <= mel.min()
        assert mel.max() <= spec.log_maximum
    for mel in mels[1:]:  # not the first: random signs at full scale are louder on average than check_mel allows
        check_mel(mel, spec)


def test_the_lower_bound_is_reached() -> None:
    spec = PRESETS["tacotron2_22k"]
    assert float(log_mel(torch.zeros(8192), spec).min()) == pytest.approx(spec.log_minimum, abs=1e-5)


@pytest.mark.parametrize("name", PRESETS)
def test_mels_of_speech_are_accepted_also_with_errors_of_an_acoustic_model(name: str) -> None:
    mel = speech_mel(PRESETS[name])
    check_mel(mel, PRESETS[name])
    overshoot = torch.rand(mel.shape, generator=torch.Generator().manual_seed(0)) - 0.5
    check_mel(mel + overshoot, PRESETS[name])
    check_mel(mel + 0.5, PRESETS[name])
    check_mel(mel - 0.5, PRESETS[name])


def in_decibels(mel: torch.Tensor) -> torch.Tensor:
    return 20 * mel / math.log(10)


def with_mean_zero_and_variance_one(mel: torch.Tensor) -> torch.Tensor:
    mel = (mel / math.log(10)).clamp(min=-10)
    return (mel - mel.mean(1, keepdim=True)) / mel.std(1, keepdim=True)


REFUSED = {
    "other bands": (lambda mel: mel[:64], "64 bands.* 80 .*hifigan_22k"),
    "transposed": (lambda mel: mel.T, "transpose"),
    "NaN": (lambda mel: torch.where(mel > 0, torch.nan, mel), "NaN or infinite"),
    "infinite": (lambda mel: torch.where(mel > 0, -torch.inf, mel), "NaN or infinite"),
    "no frames": (lambda mel: mel[:, :0], "no frames"),
    "one axis": (lambda mel: mel[:, 0], "two axes"),
    "a batch": (lambda mel: mel[None], "two axes"),
    "decibels": (in_decibels, "another log, scale or normalisation"),
    "decibels above the floor": (lambda mel: in_decibels(mel) + 100, "another log, scale or normalisation"),
    "one value too high": (lambda mel: mel.where(mel < mel.max(), 6.0), "another log, scale or normalisation"),
    "no logarithm": (torch.exp, "another log, scale or normalisation"),
    "log10, mean 0 and variance 1": (with_mean_zero_and_variance_one, "another log, scale or normalisation"),
    "scaled to [0, 1]": (
        lambda mel: (mel - mel.min()) / (mel.max() - mel.min()),
        "another log, scale or normalisation",
    ),
}


@pytest.mark.parametrize("fault", REFUSED)
def test_a_mel_of_another_convention_is_refused_in_one_line(fault: str) -> None:
    spoil, message = REFUSED[fault]
    with pytest.raises(UserError, match=message) as caught:
        check_mel(spoil(speech_mel()), SPEC)
    assert "\n" not in str(caught.value)


def test_a_mel_with_natural_log_is_refused_for_a_spec_with_log10() -> None:
    with pytest.raises(UserError, match="log base 10"):
        check_mel(speech_mel(), dataclasses.replace(SPEC, log_base="10"))
