"""Each mistake of a user gives one line and exit code 2, and leaves no partial output."""

import errno
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from vocoder import files
from vocoder.data import preprocess as corpus
from vocoder.data.preprocess import PreprocessConfig, preprocess
from vocoder.data.store import Store
from vocoder.features.mel import PRESETS

SPEECH = Path(__file__).parent.parent / "speech/allison"
Command = Callable[..., Any]
PROGRESS = re.compile(r"(measuring levels|preprocessing|synthesising|training): \d+ %, ")


def assert_refused(result: Any, *words: str) -> None:
    """Assert exit code 2 and a single line, which begins with the program's name and contains these words."""
    assert result.code == 2, result
    lines = [line for line in result.err.splitlines() if not PROGRESS.match(line)]
    lines = [line for line in lines if not line.startswith("compiling the engine")]  # printed once on a machine
    assert len(lines) == 1, result.err
    assert lines[0].startswith("vocoder-")
    for word in words:
        assert word in lines[0]


@pytest.fixture(scope="session")
def other_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """The same recordings preprocessed with another mel preset."""
    directory = tmp_path_factory.mktemp("other") / "store"
    preprocess(SPEECH, directory, PreprocessConfig(PRESETS["hifigan_22k"]), 0, lambda items, *_: items)
    return Store(directory)


# vocoder-preprocess


@pytest.mark.parametrize("missing", ["input", "output"])
def test_a_missing_required_setting_is_named(command: Command, tmp_path: Path, missing: str) -> None:
    given = [f"{name}={tmp_path / name}" for name in ("input", "output") if name != missing]
    assert_refused(command("preprocess", *given), f"{missing}=")


@pytest.mark.parametrize("argument", ["--output=x", "--output", "--mel.fmax=7600"])
def test_a_setting_with_dashes_is_one_line_that_shows_it_without(command: Command, argument: str) -> None:
    name = argument.removeprefix("--").split("=")[0]
    assert_refused(command("preprocess", "input=in", argument, "x"), f"write {name}=VALUE")


def test_a_missing_or_empty_input_folder_is_refused(command: Command, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty/notes.txt").write_text("not audio")
    for folder in ("nowhere", "empty"):
        assert_refused(command("preprocess", f"input={tmp_path / folder}", f"output={tmp_path}/store"), folder)
    assert {path.name for path in tmp_path.iterdir()} == {"empty"}


def test_a_folder_without_usable_recordings_is_refused_with_reasons(command: Command, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    soundfile.write(tmp_path / "in/brief.wav", np.full(1600, 0.1), 16000)
    soundfile.write(tmp_path / "in/silent.wav", np.zeros(16000), 16000)
    soundfile.write(tmp_path / "in/nan.wav", np.full(16000, np.nan), 16000, subtype="FLOAT")
    result = command("preprocess", f"input={tmp_path}/in", f"output={tmp_path}/store", "mel=speech_16k", "workers=0")
    assert_refused(result, "0 of 3", "too short", "silence", "NaN")
    assert {path.name for path in tmp_path.iterdir()} == {"in"}


def test_an_existing_store_is_never_overwritten(command: Command, tmp_path: Path, speech_store: Store) -> None:
    result = command("preprocess", f"input={SPEECH}", f"output={speech_store.directory}")
    assert_refused(result, "exists already")
    assert len(Store(speech_store.directory).entries) == 6


def test_a_full_disk_leaves_no_partial_store(command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(corpus.StoreWriter, "append", full)
    result = command("preprocess", f"input={SPEECH}", f"output={tmp_path}/store", "mel=speech_16k", "workers=0")
    assert_refused(result, "no space left")
    assert not list(tmp_path.iterdir())


# vocoder-train


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("training.batch.sizes=8", ["training.batch.sizes", "did you mean training.batch.size?"]),
        ("model=smal", ["smal", "did you mean small?"]),
        ("distribution.kind=gausian", ["gausian"]),
        ("training.batch.size=lots", ["training.batch.size", "lots", "whole number"]),
        ("training.precision=half", ["training.precision=half", "float16"]),
        ("training.length.steps=null", ["training.length"]),
        ("training.seed=18446744073709551616", ["training.seed=18446744073709551616", "2^63"]),
        ("training.seed=9223372036854775808", ["training.seed", "2^63"]),
        ("training.length.steps=0", ["training.length.steps=0"]),
        ("training.length.minutes=-1", ["training.length.minutes=-1"]),
        ("training.optimizer.learning_rate=-0.1", ["training.optimizer.learning_rate=-0.1"]),
        ("training.optimizer.betas=[0.9,1.0]", ["training.optimizer.betas"]),
        ("training.checkpoint.dev_seconds=0", ["training.checkpoint.dev_seconds=0"]),
        ("distribution.levels=2", ["distribution.levels=2", "at least 3"]),
        ("distribution=categorical", ["model.linear_prediction.kind=none"]),
        ("model.speaker_channels=-1", ["model.speaker_channels=-1"]),
        ("device=meta", ["device=meta", "cuda:N"]),
        ("+training.batch.size={a b", ["cannot be read"]),
        ("model.wavenet.layers=7", ["layers=7", "stacks=3"]),
        ("model.conditioning.upsample_scales=[16,16]", ["256", "hop_length is 200"]),
        ("model.speaker_channels=8", ["speaker_channels", "names no speakers"]),
        ("training.batch.segment_frames=100000", ["segment_frames"]),
        ("device=cuda:99", ["device=cuda:99"]),
        ("name=a/b", ["a/b"]),
        ("data=nowhere", ["nowhere", "vocoder-preprocess"]),
    ],
)
def test_a_wrong_setting_is_refused_and_named(
    command: Command, tmp_path: Path, speech_store: Store, override: str, words: list[str]
) -> None:
    given = {"data": speech_store.directory, "name": "run", "runs": tmp_path / "runs", "device": "cpu"}
    key, _, value = override.partition("=")
    overrides = [f"{name}={text}" for name, text in (given | {key: value}).items()]
    assert_refused(command("train", *overrides), *words)
    assert not (tmp_path / "runs").exists()


def test_resuming_with_a_store_of_another_mel_is_refused(
    command: Command, tmp_path: Path, trained: Path, other_store: Store, tiny: list[str]
) -> None:
    runs = shutil.copytree(trained.parent, tmp_path / "runs")
    result = command("train", f"data={other_store.directory}", "name=tiny", f"runs={runs}", *tiny)
    assert_refused(result, "tiny", "mel.hop_length 200 then, 256 now")


def test_resuming_with_another_model_is_refused(
    command: Command, tmp_path: Path, trained: Path, speech_store: Store, tiny: list[str]
) -> None:
    runs = shutil.copytree(trained.parent, tmp_path / "runs")
    changed = [*tiny, "distribution.components=4"]
    result = command("train", f"data={speech_store.directory}", "name=tiny", f"runs={runs}", *changed)
    assert_refused(result, "distribution.components 3 then, 4 now")


# vocoder-synthesize


def test_a_missing_or_incomplete_model_is_refused(command: Command, tmp_path: Path, trained: Path) -> None:
    given = [f"input={SPEECH}", f"output={tmp_path}/wavs"]
    assert_refused(command("synthesize", f"model={tmp_path}/nowhere", *given), "nowhere")
    (tmp_path / "empty").mkdir()
    assert_refused(command("synthesize", f"model={tmp_path}/empty", *given), "manifest.json")
    newest = sorted((trained / "checkpoints").iterdir())[-1]
    cut = shutil.copytree(newest, tmp_path / "cut")
    (cut / "ema.safetensors").unlink()
    assert_refused(command("synthesize", f"model={cut}", *given), "ema.safetensors is missing")
    assert not (tmp_path / "wavs").exists()


def test_synthesis_from_a_store_of_another_mel_is_refused(
    command: Command, tmp_path: Path, trained: Path, other_store: Store
) -> None:
    result = command("synthesize", f"model={trained}", f"input={other_store.directory}", f"output={tmp_path}/wavs")
    assert_refused(result, "sample_rate 22050 / 16000", "hop_length 256 / 200")
    assert not list(tmp_path.iterdir())


def test_an_empty_split_is_refused_and_named(
    command: Command, tmp_path: Path, trained: Path, speech_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "split", lambda store, name: [])
    result = command("synthesize", f"model={trained}", f"input={speech_store.directory}", f"output={tmp_path}/wavs")
    assert_refused(result, "split=test", "no utterances")


@pytest.mark.parametrize("wrong", ["limit=0", "limit=-1", "threads=0"])
def test_counts_below_one_are_refused(command: Command, tmp_path: Path, trained: Path, wrong: str) -> None:
    result = command("synthesize", f"model={trained}", f"input={SPEECH}", f"output={tmp_path}/wavs", wrong)
    assert_refused(result, wrong)


def test_two_inputs_with_the_same_name_do_not_overwrite_each_other(
    command: Command, tmp_path: Path, trained: Path, speech_store: Store
) -> None:
    mel = speech_store.read(speech_store.entries[0], 0, 4).mel.T
    np.save(tmp_path / "same.npy", mel)
    np.savez(tmp_path / "same.npz", mel=mel)
    result = command("synthesize", f"model={trained}", f"input={tmp_path}", f"output={tmp_path}/wavs")
    assert result.code == 1
    assert "same.npz: another input, " in result.err


def test_input_recordings_are_never_overwritten(command: Command, tmp_path: Path, trained: Path) -> None:
    shutil.copy(next(SPEECH.glob("*.flac")), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    result = command("synthesize", f"model={trained}", f"input={tmp_path}", f"output={tmp_path}", "overwrite=true")
    assert_refused(result, "is the input", "choose another folder")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_missing_or_empty_input_is_refused(command: Command, tmp_path: Path, trained: Path, name: str) -> None:
    (tmp_path / "empty").mkdir()
    result = command("synthesize", f"model={trained}", f"input={tmp_path / name}", f"output={tmp_path}/wavs")
    assert_refused(result, name)


@pytest.mark.parametrize(
    ("mel", "words"),
    [
        (np.full((80, 80), -5.0), ["80 × 80", "mel.layout=frames_first"]),
        (np.full((79, 12), -5.0), ["79 bands", "80"]),
        (np.full((80, 12), np.nan), ["NaN"]),
        (np.full((80, 12), 90.0), ["another log"]),
        (np.zeros((80, 0)), ["no frames"]),
        (np.zeros((80, 12), int), ["int64"]),
    ],
)
def test_a_mel_that_does_not_fit_the_model_is_named_and_nothing_is_written(
    command: Command, tmp_path: Path, trained: Path, mel: np.ndarray, words: list[str]
) -> None:
    np.save(tmp_path / "speech.npy", mel)
    result = command("synthesize", f"model={trained}", f"input={tmp_path}/speech.npy", f"output={tmp_path}/wavs")
    assert result.code == 2
    (line,) = [line for line in result.err.splitlines() if "not synthesised" in line]
    for word in ["speech", *words]:
        assert word in line
    assert not (tmp_path / "wavs").exists()


def test_a_full_disk_leaves_no_partial_wav(
    command: Command, tmp_path: Path, trained: Path, speech_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    np.save(tmp_path / "mel.npy", speech_store.read(speech_store.entries[0], 0, 4).mel.T)
    monkeypatch.setattr(files, "_sync", full)
    result = command("synthesize", f"model={trained}", f"input={tmp_path}/mel.npy", f"output={tmp_path}/wavs")
    assert_refused(result, "no space left")
    assert not list((tmp_path / "wavs").iterdir())


# All commands


@pytest.mark.parametrize("name", ["josé", "a, b", "it's (1)", "a=b {c} [d]", 'say "hi"', "$x %y", "7", "~home"])
def test_a_path_may_contain_any_character(command: Command, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name
    assert_refused(command("preprocess", f"input={folder}", f"output={tmp_path}/store"), f"{folder}: no such folder")


def test_a_tilde_in_a_path_is_expanded(command: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert_refused(command("preprocess", "input=~/speech", "output=store"), f"{tmp_path}/speech: no such folder")


@pytest.mark.parametrize("value", ["null", "2024"])
def test_a_path_that_yaml_reads_as_another_type_is_refused(command: Command, value: str, tmp_path: Path) -> None:
    assert_refused(command("preprocess", f"input={value}", f"output={tmp_path}/store"), "input=")


@pytest.mark.parametrize(
    ("name", "override", "nearest"),
    [("preprocess", "outptu=x", "output"), ("train", "dtaa=x", "data"), ("synthesize", "sed=1", "seed")],
)
def test_a_misspelt_setting_is_refused_with_a_suggestion(
    command: Command, name: str, override: str, nearest: str
) -> None:
    assert_refused(command(name, override), override.split("=")[0], f"did you mean {nearest}?")
