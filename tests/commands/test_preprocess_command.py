"""vocoder-preprocess: what it prints about a store."""

import errno
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from vocoder.commands.cli import count

SPEECH = Path(__file__).parent.parent / "speech/allison"


@pytest.mark.parametrize(("silent", "skipped"), [(1, "1 file skipped"), (2, "2 files skipped")])
def test_the_summary_counts_utterances_and_skipped_files(
    command: Callable[..., Any], tmp_path: Path, silent: int, skipped: str
) -> None:
    source, store = tmp_path / "in", tmp_path / "store"
    source.mkdir()
    for recording in sorted(SPEECH.glob("*.flac"))[:3]:
        shutil.copy(recording, source)
    for i in range(silent):
        soundfile.write(source / f"silent{i}.wav", np.zeros(16000), 16000)
    result = command("preprocess", f"input={source}", f"output={store}", "mel=speech_16k", "workers=0")
    assert result.code == 0
    first, train, dev, test, skips, *reasons = result.out.splitlines()
    assert first.startswith(f"{store}: speech_16k, gain ")
    assert [line.split()[:3] for line in (train, dev, test)] == [
        [s, "1", "utterance"] for s in ("train", "dev", "test")
    ]
    assert skips == f"  {skipped}; the reasons are in {store}/manifest.jsonl:"
    assert reasons == [f"    {source}/silent{i}.wav: silence (peak 0.00000 is below 0.001)" for i in range(silent)]
    assert {line.split(":")[0] for line in result.err.splitlines()} == {"measuring levels", "preprocessing"}


def test_a_name_with_control_characters_does_not_reach_the_terminal(
    command: Callable[..., Any], tmp_path: Path
) -> None:
    (tmp_path / "in").mkdir()
    for recording in sorted(SPEECH.glob("*.flac"))[:3]:
        shutil.copy(recording, tmp_path / "in")
    (tmp_path / "in/\x1b[2J\r.wav").write_bytes(b"no audio")
    out = command("preprocess", f"input={tmp_path}/in", f"output={tmp_path}/store", "mel=speech_16k", "workers=0").out
    assert r"\x1b[2J\r.wav: not readable" in out
    assert not {"\x1b", "\r"} & set(out)


def test_a_folder_that_cannot_be_read_is_named_in_one_line(
    command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "in/locked").mkdir(parents=True)
    shutil.copy(next(SPEECH.glob("*.flac")), tmp_path / "in")
    scandir = os.scandir

    def refuse(folder: Path) -> Any:
        if str(folder).endswith("locked"):  # root, who may run the tests, is never refused
            raise PermissionError(errno.EACCES, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    result = command("preprocess", f"input={tmp_path}/in", f"output={tmp_path}/store", "mel=speech_16k", "workers=0")
    assert result.code == 2
    (line,) = result.err.splitlines()
    assert f"{tmp_path}/in/locked: Permission denied" in line


@pytest.mark.parametrize(("number", "text"), [(0, "0 files"), (1, "1 file"), (2, "2 files")])
def test_a_count_has_the_right_plural(number: int, text: str) -> None:
    assert count(number, "file") == text


def test_shards_are_merged_to_the_store_of_one_process(command: Callable[..., Any], tmp_path: Path) -> None:
    given = [f"input={SPEECH}", "mel=speech_16k", "workers=0"]
    for number in (1, 2):
        result = command("preprocess", *given, f"output={tmp_path}/store", f"shard={number}/2")
        assert result.out.endswith(f"/store: shard {number}/2, 3 recordings; shard=merge makes the store of all\n")
    merged = command("preprocess", *given, f"output={tmp_path}/store", "shard=merge")
    whole = command("preprocess", *given, f"output={tmp_path}/whole")
    assert merged.out == whole.out.replace("/whole", "/store")
    for path in (tmp_path / "whole").iterdir():
        assert path.read_bytes() == (tmp_path / "store" / path.name).read_bytes()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (["shard=2"], "shard=2: write i/N, the i-th of N parts, from 1/N to N/N; or merge"),
        (["shard=0/2"], "shard=0/2: write i/N"),
        (["shard=merge"], "run the shards first"),
        (["executor=dask"], "executor=dask: give scheduler=tcp://HOST:PORT"),
        (["scheduler=tcp://host:8786"], "give executor=dask too"),
        (["executor=dask", "scheduler=tcp://host:8786", "shard=1/2"], "shard=1/2: executor=dask runs all shards"),
        (["loudness=-23", "peak=0.7"], "leave peak out"),
        (["peak=loud"], "peak='loud': must be a number or auto"),
    ],
)
def test_settings_that_do_not_fit_are_one_line(
    command: Callable[..., Any], tmp_path: Path, settings: list[str], words: str
) -> None:
    result = command("preprocess", f"input={SPEECH}", f"output={tmp_path}/store", *settings)
    assert result.code == 2
    assert words in result.err
    assert len(result.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_mels_folder_can_be_named_as_paths_are(
    command: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    result = command("preprocess", f"input={SPEECH}", f"output={tmp_path}/store", "mels=~/an acoustic, model's (1)")
    assert f"mels={tmp_path}/an acoustic, model's (1): no such folder" in result.err
