"""Mels of an acoustic model in place of the recordings' own: taken where they are theirs, refused where they cannot be.

A mel that has been smoothed and given errors of 0.7 nepers (6 dB), which are smooth over time and frequency, stands for
that of an acoustic model. It is further from the recording than those of usual models.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from scipy.ndimage import gaussian_filter

from vocoder.data.given_mels import TOLERANCE, compare, read_given_mel
from vocoder.data.preprocess import PreprocessConfig, preprocess
from vocoder.data.store import Store
from vocoder.errors import UserError
from vocoder.features.audio import int16_to_waveform, read_audio, resample
from vocoder.features.mel import PRESETS, log_mel

SPEECH = Path(__file__).parent.parent / "speech"
SPEC = PRESETS["speech_16k"]
LOG10 = replace(SPEC, log_base="10")
CLIPS = sorted(SPEECH.rglob("*.flac"))
Change = Callable[[np.ndarray], np.ndarray]


def own_mel(path: Path) -> np.ndarray:
    """The log-mel [F, n_mels] of a recording."""
    waveform = resample(*read_audio(path), SPEC.sample_rate)
    return log_mel(torch.from_numpy(waveform), SPEC).T.numpy()


def modelled(mel: np.ndarray, error: float = 0.7, seed: int = 0) -> np.ndarray:
    noise = gaussian_filter(np.random.default_rng(seed).normal(size=mel.shape), 3, mode="wrap")
    return (gaussian_filter(mel, 2) + error * noise / noise.std()).astype(np.float32)


MELS = {path: own_mel(path) for path in CLIPS}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A mel [n_mels, F] for each of Allison's clips, named by its id."""
    for path in sorted((SPEECH / "allison").glob("*.flac")):
        (tmp_path / "mels").mkdir(exist_ok=True)
        np.save(tmp_path / "mels" / f"{path.stem}.npy", modelled(MELS[path]).T)
    return tmp_path / "mels"


def make(folder: Path, **settings: Any) -> Store:
    output = folder.parent / "store"
    config = PreprocessConfig(SPEC, mels=str(folder), **settings)
    preprocess(SPEECH / "allison", output, config, 0, lambda items, *_: items)
    return Store(output)


def lines(store: Store) -> dict[str, dict[str, Any]]:
    text = (store.directory / "manifest.jsonl").read_text(encoding="utf-8")
    return {line["id"]: line for line in map(json.loads, text.splitlines())}


def alter(path: Path, change: Change) -> str:
    """Change a mel [n_mels, F] in its file; return the id."""
    np.save(path, change(np.load(path)))
    return path.stem


@pytest.mark.parametrize("path", CLIPS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_the_mel_of_a_model_passes_and_those_of_others_do_not(path: Path) -> None:
    mel = MELS[path]
    for seed in range(3):
        assert compare(modelled(mel, seed=seed), mel).problem is None
    assert compare(modelled(mel) - 1, mel).problem is None  # made for a level 9 dB lower
    others = [other for clip, other in MELS.items() if clip != path and abs(len(other) - len(mel)) <= 20]
    for other in others:
        frames = min(len(mel), len(other))
        assert "is of something else" in (compare(modelled(other)[:frames], mel[:frames]).problem or "")


@pytest.mark.parametrize("shift", [1, 2])
def test_an_offset_of_a_frame_or_two_passes(shift: int) -> None:
    for mel in MELS.values():
        assert compare(mel[shift:], mel[:-shift]).problem is None
        assert compare(mel[:-shift], mel[shift:]).problem is None


@pytest.mark.parametrize("shift", [6, 10, 20])
def test_a_mel_that_is_early_or_late_is_refused_and_told_by_how_much(shift: int) -> None:
    for mel in MELS.values():
        given = modelled(mel)
        early, late = compare(given[shift:], mel[:-shift]), compare(given[:-shift], mel[shift:])
        assert "frames early" in (early.problem or "")
        assert "frames late" in (late.problem or "")
        assert (early.lag, late.lag) == (pytest.approx(-shift, abs=1), pytest.approx(shift, abs=1))


def test_a_mel_with_another_logarithm_or_normalisation_is_refused() -> None:
    for mel in MELS.values():
        given = modelled(mel)
        for other in (given / np.log(10), (given - given.min()) / 10, (given - given.mean()) / given.std()):
            assert "another log, scale or normalisation" in (compare(other, mel).problem or "")


def test_the_store_has_the_given_mels_and_the_recordings_as_they_are(folder: Path) -> None:
    store = make(folder)
    assert store.description["gain"] == 1
    assert store.description["given_mels"]["utterances"] == 6
    assert 0.7 < store.description["given_mels"]["median_correlation"] < 1
    for entry in store.entries:
        given, utterance = np.load(folder / f"{entry.id}.npy").T, store.read(entry)
        assert np.array_equal(utterance.mel, given)
        waveform = resample(*read_audio(SPEECH / "allison" / f"{entry.id}.flac"), SPEC.sample_rate)
        assert np.abs(int16_to_waveform(utterance.wave) - waveform[: len(utterance.wave)]).max() <= 2**-16
        assert lines(store)[entry.id]["mel"] == str(folder / f"{entry.id}.npy")


def test_every_format_of_mels_is_read(folder: Path) -> None:
    first, second, third = sorted(folder.iterdir())[:3]
    torch.save(torch.from_numpy(np.load(first).T.copy()), first.with_suffix(".pt"))  # [frames, n_mels]
    np.savez(second.with_suffix(".npz"), mel=np.load(second)[None])
    safetensors.torch.save_file(
        {"mel": torch.from_numpy(np.load(third)).contiguous()}, third.with_suffix(".safetensors")
    )
    for path in (first, second, third):
        path.unlink()
    assert len(make(folder).entries) == 6


@pytest.mark.parametrize("frames", [80, 100, 128])
@pytest.mark.parametrize("turned", [False, True])
def test_the_length_of_the_recording_tells_which_axis_has_the_bands(tmp_path: Path, frames: int, turned: bool) -> None:
    own = next(mel for mel in MELS.values() if len(mel) >= frames)[:frames]
    np.save(tmp_path / "mel.npy", own if turned else own.T)
    mel, agreement = read_given_mel(tmp_path / "mel.npy", own, SPEC)
    assert np.array_equal(mel, own)
    assert agreement.correlation == pytest.approx(1)


def test_another_mel_makes_another_identity(folder: Path, tmp_path: Path) -> None:
    first = make(folder).identity
    (tmp_path / "store").rename(tmp_path / "first")
    alter(next(folder.iterdir()), lambda mel: mel + 0.01)
    assert make(folder).identity != first


@pytest.mark.parametrize("frames", range(-TOLERANCE, TOLERANCE + 1))
def test_mel_and_recording_are_cut_to_the_shorter(folder: Path, frames: int) -> None:
    path = folder / "hello-world.npy"
    whole = np.load(path).shape[1]
    alter(path, lambda mel: np.pad(mel, ((0, 0), (0, TOLERANCE)), mode="edge")[:, : whole + frames])
    entry = next(entry for entry in make(folder).entries if entry.id == path.stem)
    assert entry.frames == whole + min(0, frames)


@pytest.mark.parametrize("frames", [-TOLERANCE - 1, TOLERANCE + 1])
def test_a_mel_of_another_length_is_skipped_with_both_lengths(folder: Path, frames: int) -> None:
    path = folder / "hello-world.npy"
    whole = np.load(path).shape[1]
    alter(path, lambda mel: np.pad(mel, ((0, 0), (0, 9)), mode="edge")[:, : whole + frames])
    record = lines(make(folder))[path.stem]
    assert f"hello-world.npy: has {whole + frames} frames, the recording {whole};" in record["reason"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda mel: mel[:-1], "has 79 bands"),
        (lambda mel: np.where(np.arange(mel.shape[1]) == 9, np.nan, mel).astype(np.float32), "NaN"),
        (lambda mel: np.roll(mel, mel.shape[1] // 2, axis=1), "is of something else"),
        (lambda mel: (mel / np.log(10)).astype(np.float32), "another log"),
    ],
)
def test_a_mel_that_cannot_be_the_recordings_is_skipped_with_the_reason(
    folder: Path, change: Change, reason: str
) -> None:
    id = alter(folder / "the-number-is-not-answering.npy", change)
    store = make(folder)
    assert reason in lines(store)[id]["reason"]
    assert id not in {entry.id for entry in store.entries}


def test_recordings_without_a_mel_or_with_two_are_skipped(folder: Path) -> None:
    (folder / "hello-world.npy").unlink()
    np.savez(folder / "please-try-again.npz", mel=np.load(folder / "please-try-again.npy"))
    store = make(folder)
    assert len(store.entries) == 4
    assert "hello-world: no mel of that name" in lines(store)["hello-world"]["reason"]
    assert "same name apart from its suffix" in lines(store)["please-try-again"]["reason"]


def test_a_folder_of_which_most_mels_are_refused_ends_the_job(folder: Path) -> None:
    for path in sorted(folder.iterdir())[1:]:
        alter(path, lambda mel: (mel / np.log(10)).astype(np.float32))
    with pytest.raises(UserError, match=r"5 of the 6 recordings with a mel.*another log"):
        make(folder)
    assert not (folder.parent / "store").exists()


def test_a_folder_without_mels_of_these_recordings_is_refused(folder: Path, tmp_path: Path) -> None:
    for path in list(folder.iterdir()):
        path.rename(folder / f"mel-{path.name}")
    with pytest.raises(UserError, match="no mel is named after a recording; the first mel is mel-call-forward-on-busy"):
        make(folder)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no mels in it"):
        make(tmp_path / "empty")
    with pytest.raises(UserError, match="no such folder"):
        make(tmp_path / "nowhere")


def test_a_log10_spec_takes_log10_mels(folder: Path) -> None:
    for path in folder.iterdir():
        alter(path, lambda mel: (mel / np.log(10)).astype(np.float32))
    config = PreprocessConfig(LOG10, mels=str(folder))
    description = preprocess(SPEECH / "allison", folder.parent / "out", config, 0, lambda items, *_: items)
    assert description["kept"] == 6


def test_long_recordings_stay_whole(folder: Path) -> None:
    assert all(entry.frames * SPEC.hop_length > 1.2 * SPEC.sample_rate for entry in make(folder).entries)
    assert len(make_again(folder, max_seconds=1.2).entries) == 6


def make_again(folder: Path, **settings: Any) -> Store:
    (folder.parent / "store").rename(folder.parent / "before")
    return make(folder, **settings)


@pytest.mark.parametrize("setting", [{"peak": 0.7}, {"trim_db": 40.0}])
def test_settings_that_change_the_recordings_are_refused(setting: dict[str, float]) -> None:
    ((name, value),) = setting.items()
    with pytest.raises(UserError, match=rf"^{name}={value:g}: changes the recordings"):
        PreprocessConfig(SPEC, mels="mels", **setting)  # type: ignore[arg-type]
    assert PreprocessConfig(SPEC, mels="mels", peak=None).target_peak is None
    assert PreprocessConfig(SPEC, mels="mels").target_peak is None
    assert PreprocessConfig(SPEC).target_peak == 0.7


def test_a_long_mel_that_is_late_is_refused_and_one_with_a_silent_middle_is_not() -> None:
    joined = np.concatenate([*MELS.values()] * 2)
    given = modelled(joined)
    assert compare(given, joined).problem is None
    assert "10 frames late" in (compare(given[:-10], joined[10:]).problem or "")
    silent = np.insert(joined, len(joined) // 2, np.full((1200, 80), SPEC.log_minimum), axis=0)
    assert compare(modelled(silent), silent).problem is None
