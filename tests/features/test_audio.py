"""Audio files, the two float formats, resampling and trimming."""

import math
import os
import struct
import wave
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from vocoder.errors import UserError
from vocoder.features.audio import (
    grid_to_int16,
    int16_to_grid,
    int16_to_waveform,
    read_audio,
    resample,
    trim_silence,
    waveform_to_int16,
    write_wav,
)

EVERY_SAMPLE = np.arange(-32768, 32768).astype(np.int16)
SPEECHLIKE = (0.3 * np.sin(2 * np.pi * 220 * np.arange(16000) / 16000)).astype(np.float32)


def decibels(ratio: float) -> float:
    return 20 * np.log10(max(ratio, 1e-12))


def pcm16_bytes(samples: np.ndarray) -> bytes:
    """A 16-bit WAV file made by hand, as an oracle independent of libsndfile."""
    data = samples.astype("<i2").tobytes()
    header = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 1, 1, 16000, 32000, 2, 16)
    return header + struct.pack("<4sI", b"data", len(data)) + data


# --- the int16 grid and the waveform ---


def test_the_grid_follows_the_formula_in_the_docstring() -> None:
    formula = [2 * (s + 32768) / 65535 - 1 for s in range(-32768, 32768)]
    grid = int16_to_grid(EVERY_SAMPLE)
    assert grid.dtype == np.float32
    np.testing.assert_array_equal(grid, np.array(formula, np.float32))


def test_int16_to_grid_and_back_is_exact() -> None:
    back = grid_to_int16(int16_to_grid(EVERY_SAMPLE))
    assert back.dtype == np.int16
    np.testing.assert_array_equal(back, EVERY_SAMPLE)


def test_grid_to_int16_and_back_is_exact_and_levels_are_distinct() -> None:
    grid = int16_to_grid(EVERY_SAMPLE)
    np.testing.assert_array_equal(int16_to_grid(grid_to_int16(grid)), grid)
    assert (np.diff(grid) > 0).all()
    assert (grid[0], grid[-1]) == (-1, 1)


def test_int16_to_waveform_and_back_is_exact() -> None:
    waveform = int16_to_waveform(EVERY_SAMPLE)
    assert waveform.dtype == np.float32
    assert waveform[32768] == 0  # silence is exactly 0
    np.testing.assert_array_equal(waveform_to_int16(waveform), EVERY_SAMPLE)


def test_waveform_to_int16_clips_instead_of_wrapping() -> None:
    waveform = np.array([-13.5, -1.0, 1.0, 13.5], np.float32)
    np.testing.assert_array_equal(waveform_to_int16(waveform), [-32768, -32768, 32767, 32767])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_waveform_to_int16_refuses_values_that_are_not_finite(value: float) -> None:
    with pytest.raises(ValueError, match="NaN or infinite"):
        waveform_to_int16(np.array([0.0, value], np.float32))


# --- reading ---


def test_16_bit_wav_is_read_exactly(tmp_path: Path) -> None:
    path = tmp_path / "every.wav"
    path.write_bytes(pcm16_bytes(EVERY_SAMPLE))
    waveform, sample_rate = read_audio(path)
    assert (waveform.dtype, waveform.shape, sample_rate) == (np.float32, (65536,), 16000)
    np.testing.assert_array_equal(waveform_to_int16(waveform), EVERY_SAMPLE)


@pytest.mark.parametrize(
    ("suffix", "subtype", "error"),
    [
        ("wav", "PCM_U8", 2**-7),
        ("wav", "PCM_24", 2**-23),
        ("wav", "PCM_32", 2**-24),
        ("wav", "FLOAT", 0),
        ("wav", "DOUBLE", 0),
        ("flac", "PCM_16", 2**-15),
        ("flac", "PCM_24", 2**-23),
    ],
)
def test_lossless_formats_are_read_to_their_own_precision(
    tmp_path: Path, suffix: str, subtype: str, error: float
) -> None:
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, SPEECHLIKE, 16000, subtype=subtype)
    waveform, sample_rate = read_audio(path)
    assert sample_rate == 16000
    assert np.abs(waveform - SPEECHLIKE).max() <= error


@pytest.mark.parametrize("suffix", ["ogg", "mp3"])
def test_lossy_formats_are_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"tone.{suffix}"
    soundfile.write(path, SPEECHLIKE, 16000)
    waveform, sample_rate = read_audio(path)
    assert sample_rate == 16000
    assert len(SPEECHLIKE) <= len(waveform) <= len(SPEECHLIKE) + 2304  # MP3 adds the encoder's delay
    spectrum = np.abs(np.fft.rfft(waveform[2000:14000]))
    assert np.argmax(spectrum) == 220 * 12000 // 16000


def test_stereo_is_averaged(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.stack([SPEECHLIKE, -0.5 * SPEECHLIKE], axis=1), 16000, subtype="FLOAT")
    waveform, _ = read_audio(path)
    np.testing.assert_allclose(waveform, 0.25 * SPEECHLIKE, atol=1e-7)


def test_a_flac_with_another_suffix_and_unusual_characters_in_its_name_is_read(tmp_path: Path) -> None:
    path = tmp_path / "it's “音声” 1.wav"
    soundfile.write(path, SPEECHLIKE, 16000, format="FLAC")
    assert len(read_audio(path)[0]) == 16000


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF, 0x7FFFFFFF])
def test_placeholder_sizes_of_streaming_writers_are_accepted(tmp_path: Path, size: int) -> None:
    path = tmp_path / "streamed.wav"
    whole = pcm16_bytes(EVERY_SAMPLE)
    path.write_bytes(whole[:4] + struct.pack("<I", size) + whole[8:40] + struct.pack("<I", 0xFFFFFFFF) + whole[44:])
    np.testing.assert_array_equal(waveform_to_int16(read_audio(path)[0]), EVERY_SAMPLE)


def broken_files() -> dict[str, bytes]:
    whole = pcm16_bytes(EVERY_SAMPLE)
    floats = np.zeros(1000, "<f4")
    header = struct.pack("<4sI4s4sIHHIIHH", b"RIFF", 4036, b"WAVE", b"fmt ", 16, 3, 1, 16000, 64000, 4, 32)
    float_header = header + struct.pack("<4sI", b"data", 4000)
    nan, inf = floats.copy(), floats.copy()
    nan[500], inf[500] = np.nan, np.inf
    return {
        "truncated": whole[: len(whole) // 2],
        "truncated by two bytes": whole[:-2],
        "empty": b"",
        "HTML": b"<!DOCTYPE html>\n<html>\n<body>404 Not Found</body>\n</html>\n",
        "header only": pcm16_bytes(EVERY_SAMPLE[:0]),
        "half a header": whole[:10],
        "NaN": float_header + nan.tobytes(),
        "infinite": float_header + inf.tobytes(),
        "no channels": whole[:22] + b"\0\0" + whole[24:],
    }


@pytest.mark.parametrize("fault", broken_files())
def test_broken_audio_is_refused_by_name_in_one_line(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "broken.wav"
    path.write_bytes(broken_files()[fault])
    with pytest.raises(UserError) as caught:
        read_audio(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_truncated_flac_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "truncated.flac"
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 50000)
    soundfile.write(path, noise, 16000)
    path.write_bytes(path.read_bytes()[:40000])
    with pytest.raises(UserError, match=r"truncated\.flac"):
        read_audio(path)


@pytest.mark.parametrize("name", ["missing.wav", "."])
def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match="cannot be opened"):
        read_audio(tmp_path / name)


# --- writing ---


def test_written_wav_is_16_bit_mono_and_exact(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out.wav"
    write_wav(path, EVERY_SAMPLE, 22050)
    with wave.open(str(path)) as file:  # by the standard library, independent of the one that wrote it
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, 22050)
        np.testing.assert_array_equal(np.frombuffer(file.readframes(70000), "<i2"), EVERY_SAMPLE)
    assert os.listdir(path.parent) == ["out.wav"]


def test_a_failed_write_keeps_the_old_file_and_leaves_no_partial_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "out.wav"
    path.write_bytes(b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="no space"):
        write_wav(path, EVERY_SAMPLE, 16000)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out.wav"]


# --- resampling ---


ORDINARY_RATES = [(24000, 16000), (44100, 22050), (44100, 16000), (48000, 16000), (16000, 22050), (16000, 24000)]
RATES = [
    *ORDINARY_RATES,
    (44056, 22050),
    (44144, 22050),
    (16001, 16000),
    (15999, 22050),
    (22051, 16000),
    (47999, 24000),
]


def tone(frequency: float, rate: int) -> np.ndarray:
    return np.sin(2 * np.pi * frequency * np.arange(rate) / rate).astype(np.float32)


@pytest.mark.parametrize(("source", "target"), RATES)
@pytest.mark.parametrize("fraction", [0.05, 0.5, 0.88])
def test_resampling_preserves_duration_frequency_amplitude_and_phase(source: int, target: int, fraction: float) -> None:
    frequency = fraction * min(source, target) / 2
    resampled = resample(tone(frequency, source), source, target)
    assert resampled.dtype == np.float32
    assert resampled.shape == (target,)  # one second
    inner = slice(target // 8, -target // 8)
    error = (resampled - tone(frequency, target))[inner]
    # The tone is preserved, and images are below -80 dB; soxr is flat to 0.01 dB, which is a difference of -59 dB.
    assert decibels(np.abs(error).max()) < (-80 if (source, target) in ORDINARY_RATES or fraction < 0.8 else -58)


@pytest.mark.parametrize(("source", "target"), [pair for pair in RATES if pair[0] > 1.2 * pair[1]])
@pytest.mark.parametrize("fraction", [1.01, 1.02, 1.2])
def test_tones_above_the_new_nyquist_frequency_do_not_alias(source: int, target: int, fraction: float) -> None:
    resampled = resample(tone(fraction * target / 2, source), source, target)
    assert decibels(np.abs(resampled[target // 8 : -target // 8]).max()) < -80


@given(st.integers(1000, 200_000), st.sampled_from([16000, 22050, 24000, 44100]), st.integers(1, 3000))
@settings(max_examples=60, deadline=2000)  # ms; by torchaudio alone some take a minute, and gigabytes
def test_any_rate_is_resampled_at_once_and_to_the_right_length(source: int, target: int, length: int) -> None:
    resampled = resample(np.ones(length, np.float32), source, target)
    assert resampled.dtype == np.float32
    assert len(resampled) == (length if source == target else math.ceil(Fraction(length * target, source)))
    assert np.isfinite(resampled).all()


def test_resampling_to_the_same_rate_changes_nothing() -> None:
    np.testing.assert_array_equal(resample(SPEECHLIKE, 16000, 16000), SPEECHLIKE)


# --- trimming ---


def test_trimming_removes_silence_and_keeps_speech() -> None:
    noise = 1e-4 * np.random.default_rng(0).standard_normal(16000).astype(np.float32)
    padded = np.concatenate([noise, SPEECHLIKE, noise])
    trimmed = trim_silence(padded, below_peak_db=40)
    first = np.flatnonzero(padded == trimmed[0])[0]
    np.testing.assert_array_equal(padded[first : first + len(trimmed)], trimmed)  # a contiguous part, unchanged
    assert 16000 - 1024 <= first <= 16000  # starts before the speech, by less than a window
    assert 32000 <= first + len(trimmed) <= 32000 + 1024


def test_trimming_keeps_inner_pauses_and_quiet_speech_above_the_threshold() -> None:
    utterance = np.concatenate([0.02 * SPEECHLIKE, np.zeros(8000, np.float32), SPEECHLIKE])  # -34 dB, pause, 0 dB
    assert len(trim_silence(utterance, below_peak_db=40)) >= len(utterance) - 512
    assert len(trim_silence(utterance, below_peak_db=20)) <= 16000 + 1024
