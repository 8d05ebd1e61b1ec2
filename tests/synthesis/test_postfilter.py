"""The post-filter brings a wave's mel closer to the given one, and does the same to a stream."""

from collections.abc import Iterator
from dataclasses import replace

import librosa
import numpy as np
import pytest
import torch

from vocoder.errors import UserError
from vocoder.features.audio import int16_to_waveform, waveform_to_int16
from vocoder.features.mel import PRESETS, MelSpec, log_mel
from vocoder.synthesis.postfilter import MAX_BOOST, MAX_CUT, PostFilter, limit

SMALL = MelSpec(8000, 64, 16, 64, 10, 0.0, 4000.0)
SPECS = {
    **PRESETS,
    "small": SMALL,
    "odd": replace(SMALL, n_fft=65, win_length=51, hop_length=17),
    "half overlap": replace(SMALL, hop_length=32),
    "log base 10": replace(SMALL, log_base="10", fmax=3000.0),
}


def speech_like(spec: MelSpec, frames: int, seed: int = 0) -> np.ndarray:
    """An int16 wave of pulses and noise whose level rises and falls."""
    noise = np.random.default_rng(seed)
    time = np.arange(frames * spec.hop_length)
    pulses = (time % (spec.hop_length // 2 + 3) == 0) * 0.5
    level = 0.02 + np.sin(np.pi * time / (9.3 * spec.hop_length)) ** 2
    return waveform_to_int16(((pulses + 0.1 * noise.standard_normal(len(time))) * level).clip(-1, 1).astype(np.float32))


def mel_of(wave: np.ndarray, spec: MelSpec) -> np.ndarray:
    return log_mel(torch.from_numpy(int16_to_waveform(wave)), spec).numpy()


def distance(wave: np.ndarray, mel: np.ndarray, spec: MelSpec) -> float:
    return float(np.abs(mel_of(wave, spec) - mel).mean())


def test_without_passes_a_wave_stays_as_it_is() -> None:
    wave = speech_like(SMALL, 20)
    assert np.array_equal(PostFilter(SMALL, 0)(mel_of(wave, SMALL) + 1, wave), wave)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_a_wave_that_has_the_mel_already_stays_as_it_is(spec: MelSpec) -> None:
    wave = speech_like(spec, 40)
    filtered = PostFilter(spec, 1)(mel_of(wave, spec), wave)
    change = np.abs(filtered.astype(int) - wave).reshape(40, -1).max(1)
    inside = 39 - 2 * PostFilter(spec, 1).context  # the mel of what lies beyond the end is only nearly mirrored
    assert change[:inside].max() <= 1
    assert change[inside:].max() < 0.15 * np.abs(wave.astype(int)).max()


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_each_pass_comes_closer_to_the_mel(spec: MelSpec) -> None:
    mel, wave = mel_of(speech_like(spec, 40, seed=1), spec), speech_like(spec, 40, seed=2)
    distances = [distance(PostFilter(spec, passes)(mel, wave), mel, spec) for passes in (0, 1, 2, 4)]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 0.75 * distances[0]


def one_pass(mel: np.ndarray, wave: np.ndarray, spec: MelSpec) -> np.ndarray:
    """A pass in float64, frame by frame, away from the ends; limits of gains are those of `limit`."""
    bands = librosa.filters.mel(
        sr=spec.sample_rate, n_fft=spec.n_fft, n_mels=spec.n_mels, fmin=spec.fmin, fmax=spec.fmax
    )
    bands = bands.astype(np.float64)
    window = np.zeros(spec.n_fft)
    left = (spec.n_fft - spec.win_length) // 2
    window[left : left + spec.win_length] = np.hanning(spec.win_length + 1)[:-1]
    start = (spec.n_fft if spec.padding == "centre" else spec.n_fft - spec.hop_length) // 2
    unit = np.log(10) if spec.log_base == "10" else 1.0
    padded = np.pad(wave / 32768, 2 * spec.n_fft)
    firsts = [2 * spec.n_fft - start + f * spec.hop_length for f in range(mel.shape[1])]
    spectra = np.stack([np.fft.rfft(padded[first : first + spec.n_fft] * window) for first in firsts], 1)
    own = np.log(np.maximum(bands @ np.sqrt(np.abs(spectra) ** 2 + spec.magnitude_epsilon), spec.log_floor))
    gains = limit((mel * unit - own).T, mel.T * unit).T
    bins = (bands.T @ gains) / np.maximum(bands.sum(0), 1e-12)[:, None]
    total, power = np.zeros_like(padded), np.zeros_like(padded)
    for spectrum, first in zip((spectra * np.exp(bins)).T, firsts, strict=True):
        total[first : first + spec.n_fft] += np.fft.irfft(spectrum, spec.n_fft) * window
        power[first : first + spec.n_fft] += window**2
    return (total / np.maximum(power, 1e-9))[2 * spec.n_fft : -2 * spec.n_fft]


@pytest.mark.parametrize("name", ["small", "speech_16k", "odd", "tacotron2_22k", "log base 10"])
def test_a_pass_agrees_with_one_written_frame_by_frame(name: str) -> None:
    spec = SPECS[name]
    mel, wave = mel_of(speech_like(spec, 40, seed=1), spec), speech_like(spec, 40, seed=2)
    filtered, expected = PostFilter(spec, 1)(mel, wave), one_pass(mel.astype(np.float64), wave, spec)
    inside = slice(8 * spec.hop_length, -8 * spec.hop_length)
    assert np.abs(filtered - wave.astype(int))[inside].max() > 100  # it does something
    assert np.abs(filtered / 32768 - expected)[inside].max() < 2 / 32768


def test_boosts_and_cuts_are_limited() -> None:
    gains = np.array([[9.0, -9.0, 0.1]]).T
    assert limit(gains, np.zeros((3, 1))).tolist() == [[MAX_BOOST], [-MAX_CUT], [0.1]]


def test_a_frame_beside_a_much_louder_one_is_boosted_no_more_than_that() -> None:
    mel = np.array([[0.0, 0.0, 0.0, 5.0, 0.5, 0.0, 5.0]]).T
    gains = np.array([[0.3, 0.3, 0.3, 0.1, 0.3, 0.3, -2.0]]).T
    assert limit(gains, mel)[:, 0].tolist() == [0.3, 0.1, 0.1, 0.1, 0.0, 0.0, -2.0]
    assert limit(-gains, mel)[:6, 0].tolist() == (-gains[:6, 0]).tolist()  # cuts are free


def cut(array: np.ndarray, seed: int | None) -> Iterator[np.ndarray]:
    """Pieces of columns: one by one without a seed, otherwise of random lengths."""
    random = np.random.default_rng(seed)
    while array.shape[1]:
        length = 1 if seed is None else int(random.integers(1, 12))
        yield array[:, :length]
        array = array[:, length:]


@pytest.mark.parametrize("passes", [0, 1, 3])
@pytest.mark.parametrize("frames", [1, 2, 5, 8, 30, 150])  # more than are filtered at once
@pytest.mark.parametrize("spec", [SMALL, SPECS["odd"]], ids=["small", "odd"])
def test_a_stream_in_any_chunks_equals_the_whole_to_the_bit(passes: int, frames: int, spec: MelSpec) -> None:
    mel, wave = mel_of(speech_like(spec, 160, seed=1), spec)[:, :frames], speech_like(spec, frames, seed=2)
    postfilter = PostFilter(spec, passes)
    whole = postfilter(mel, wave)
    columns = np.concatenate((mel, wave.reshape(frames, -1).T))
    for seed in (None, 0, 1):
        pieces = cut(columns, seed)
        chunks = ((part[:10].astype(np.float32), part[10:].T.reshape(-1).astype(np.int16)) for part in pieces)
        assert np.array_equal(np.concatenate(list(postfilter.stream(chunks))), whole)


@pytest.mark.parametrize("passes", [0, 1, 3])
def test_frames_leave_the_stream_in_fours_as_soon_as_the_passes_allow(passes: int) -> None:
    postfilter, arrived, left_at = PostFilter(SMALL, passes), 0, []
    mel, wave = mel_of(speech_like(SMALL, 60), SMALL), speech_like(SMALL, 60).reshape(60, 16)

    def frames() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        nonlocal arrived
        for f in range(60):
            arrived += 1
            yield mel[:, f : f + 1], wave[f]

    for _ in postfilter.stream(frames()):
        left_at.append(arrived)
    together = 4 if passes else 1
    needed = [f + 1 + passes * postfilter.context for f in range(60)]
    assert left_at == [min(60, -(-rows // together) * together) for rows in needed]
    assert max(at - f - 1 for f, at in enumerate(left_at)) == postfilter.delay


def test_what_follows_a_frame_by_more_than_the_delay_does_not_change_it() -> None:
    mel, wave = mel_of(speech_like(SMALL, 60, seed=1), SMALL), speech_like(SMALL, 60, seed=2)
    postfilter = PostFilter(SMALL, 3)
    cut = 60 - 2 * postfilter.delay  # frames up to here do not see the end of either
    other = np.concatenate((wave[: -16 * postfilter.delay], speech_like(SMALL, postfilter.delay, seed=3)))
    first, second = (postfilter(mel, w)[: 16 * (cut + postfilter.delay)] for w in (wave, other))
    assert np.array_equal(first[: 16 * cut], second[: 16 * cut])
    assert not np.array_equal(first, second)


def test_an_empty_wave_stays_empty() -> None:
    assert len(PostFilter(SMALL, 3)(np.zeros((10, 0), np.float32), np.zeros(0, np.int16))) == 0


@pytest.mark.parametrize(
    ("spec", "passes", "message"),
    [
        (SMALL, -1, "postfilter=-1: must be 0"),
        (replace(SMALL, hop_length=40), 2, "overlap by less than half; take 0"),
    ],
    ids=["negative", "little overlap"],
)
def test_what_cannot_be_filtered_is_refused(spec: MelSpec, passes: int, message: str) -> None:
    with pytest.raises(UserError, match=message):
        PostFilter(spec, passes)
    PostFilter(spec, 0)
