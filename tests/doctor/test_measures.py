"""What is measured in a recording is what was put into it: known levels, offsets, silence, bands and damage."""

from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import soxr
from scipy import signal
from support.trees import CLIPS

from vocoder.doctor.measures import (
    FLOOR_DB,
    bandwidth,
    clipped_seconds,
    impulses,
    noise_floor,
    silence_at_ends,
)

RATE = 16000


def speech(path: Path) -> np.ndarray:
    return soundfile.read(path, dtype="float32")[0]


def speech_over_noise(level: float, seed: int = 0) -> np.ndarray:
    """Four seconds of white noise of a level in dBFS, with a loud tone over the middle two."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0, 10 ** (level / 20), 4 * RATE)
    noise[RATE : 3 * RATE] += 0.5 * np.sin(2 * np.pi * 200 * np.arange(2 * RATE) / RATE)
    return noise.astype(np.float32)


@pytest.mark.parametrize("level", [-80.0, -60.0, -40.0])
@pytest.mark.parametrize("offset", [0.0, 0.1])
def test_the_noise_floor_is_the_level_of_the_pauses_without_the_offset(level: float, offset: float) -> None:
    found = noise_floor(speech_over_noise(level) + np.float32(offset), RATE)
    assert level - 2 < found <= level  # the quietest frames of noise are somewhat quieter than its mean


@pytest.mark.parametrize("length", [1, 100, 5000])
def test_digital_silence_has_the_lowest_floor(length: int) -> None:
    assert noise_floor(np.zeros(length, np.float32), RATE) == FLOOR_DB


@pytest.mark.parametrize("path", CLIPS, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_real_speech_is_neither_clipped_nor_damaged(path: Path) -> None:
    wave = speech(path)
    assert clipped_seconds(wave, RATE) == 0
    assert impulses(wave, RATE) == 0


@pytest.mark.parametrize("gain", [1.0, 0.3])
def test_clipping_is_found_at_any_level_and_measured(gain: float) -> None:
    wave = speech(CLIPS[0])
    limit = 0.4 * np.abs(wave).max()
    flat = np.abs(wave) >= limit
    found = clipped_seconds(gain * wave.clip(-limit, limit), RATE)
    assert 0.8 * flat.sum() / RATE < found <= flat.sum() / RATE + 1e-9  # tops of a sample or two are none


@pytest.mark.parametrize(("bit", "share"), [(14, 0.9), (13, 0.75)])
def test_most_flipped_bits_are_found(bit: int, share: float) -> None:
    found = tried = 0
    for path in CLIPS:
        samples = soundfile.read(path, dtype="int16")[0]
        for place in np.random.default_rng(0).integers(100, len(samples) - 100, 15):
            damaged = samples.copy()
            damaged[place] ^= 1 << bit
            found += impulses(damaged.astype(np.float32) / 32768, RATE) == 1
            tried += 1
    assert found > share * tried


def test_speech_that_is_cut_off_is_not_damaged_at_the_cut() -> None:
    wave = speech(CLIPS[0])
    assert all(impulses(wave[start : start + 4000], RATE) == 0 for start in range(0, len(wave) - 4000, 37))


def test_two_wrong_samples_far_apart_are_two() -> None:
    wave = speech(CLIPS[0])
    wave[[3000, 9000]] += 0.6
    assert impulses(wave, RATE) == 2
    assert impulses(wave[:2], RATE) == 0


@pytest.mark.parametrize(("before", "after"), [(0.0, 0.0), (0.5, 0.0), (0.25, 1.5)])
def test_silence_at_the_ends_is_measured(before: float, after: float) -> None:
    tone = 0.5 * np.sin(2 * np.pi * 300 * np.arange(RATE) / RATE)
    wave = np.pad(tone, (round(before * RATE), round(after * RATE))).astype(np.float32)
    leading, trailing = (share * len(wave) / RATE for share in silence_at_ends(wave, 40.0))
    frame = 1024 / RATE
    assert before - frame <= leading <= before
    assert after - frame <= trailing <= after


def resampled(wave: np.ndarray, source: int, target: int, by: str) -> np.ndarray:
    if by == "scipy":
        return signal.resample_poly(wave, target, source)
    if by == "soxr":
        return soxr.resample(wave, source, target)
    return librosa.resample(wave, orig_sr=source, target_sr=target, res_type="polyphase")


@pytest.mark.parametrize("by", ["scipy", "soxr", "polyphase"])
@pytest.mark.parametrize("path", [CLIPS[0], CLIPS[3], CLIPS[-1]], ids=lambda path: path.stem)
def test_the_band_of_a_telephone_is_found_after_resampling(path: Path, by: str) -> None:
    narrow = resampled(speech(path), RATE, 8000, by)
    wide = resampled(narrow, 8000, 22050, by)
    stored = np.rint(wide * 32768).astype(np.float32) / 32768
    assert 3300 < bandwidth(stored, 22050) < 4700
    assert bandwidth(speech(path), RATE) > 7000


@pytest.mark.parametrize("edge", [2000, 5000, 9000])
def test_the_bandwidth_of_gated_noise_is_that_of_its_filter(edge: int) -> None:
    rng, rate = np.random.default_rng(1), 24000
    noise = rng.normal(0, 0.1, 3 * rate) * (np.arange(3 * rate) // (rate // 2) % 2)
    filtered = signal.sosfilt(signal.ellip(12, 0.1, 90, edge, fs=rate, output="sos"), noise)
    hiss = rng.normal(0, 1e-4, len(noise))  # constant, and so not speech
    assert bandwidth((filtered + hiss).astype(np.float32), rate) == pytest.approx(edge, abs=500)


@pytest.mark.parametrize("length", [1, 50, 1000])
def test_nothing_has_no_bandwidth(length: int) -> None:
    assert bandwidth(np.zeros(length, np.float32), RATE) == 0
