"""Fetching a published corpus: all but the download, which torchaudio does."""

import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
from support.trees import plant, write_lines

from scripts import fetch_corpus
from scripts.fetch_corpus import SOURCES, fetch
from vocoder.commands.cli import report_errors
from vocoder.errors import UserError

TREES = {
    "ljspeech": ("LJSpeech-1.1/wavs/LJ001-0001.wav", "LJSpeech-1.1/wavs/LJ001-0002.wav"),
    "vctk": ("VCTK-Corpus-0.92/wav48_silence_trimmed/p225/p225_001_mic1.flac",),
    "libritts": ("LibriTTS/train-clean-100/19/198/19_198_000000_000000.wav",),
    "arctic": ("ARCTIC/cmu_us_slt_arctic/wav/arctic_a0001.wav",),
}


@pytest.fixture
def downloads(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[dict[str, Any]]]:
    """Replace the download of a corpus by an action; return the options that torchaudio's class is given."""

    def replace_by(name: str, action: Callable[[Path], object]) -> list[dict[str, Any]]:
        calls: list[dict[str, Any]] = []

        def dataset(**options: Any) -> None:
            calls.append(options)
            action(Path(options["root"]))

        source = SOURCES[name]
        monkeypatch.setitem(SOURCES, name, type(source)(dataset, source.folder, source.parts))
        return calls

    return replace_by


def unpack(name: str) -> Callable[[Path], object]:
    def unpacked(root: Path) -> None:
        plant(root, *TREES[name])
        write_lines(root / "LJSpeech-1.1/metadata.csv", "LJ001-0001|t|t")

    return unpacked


@pytest.mark.parametrize("name", SOURCES)
def test_what_is_unpacked_is_recognised(downloads: Callable[..., Any], name: str, tmp_path: Path) -> None:
    calls = downloads(name, unpack(name))
    folder, count = fetch(name, tmp_path / "corpora")
    assert folder == tmp_path / "corpora" / TREES[name][0].split("/")[0]
    assert count == len(TREES[name])
    parts = {"url": SOURCES[name].parts[0]} if SOURCES[name].parts else {}
    assert calls == [{"root": str(tmp_path / "corpora"), "download": True} | parts]


@pytest.mark.parametrize("name", SOURCES)
def test_torchaudio_reads_what_is_already_there_without_a_network(name: str, tmp_path: Path) -> None:
    unpack(name)(tmp_path)
    write_lines(tmp_path / "VCTK-Corpus-0.92/txt/p225/p225_001.txt", "text")
    write_lines(tmp_path / "ARCTIC/cmu_us_slt_arctic/etc/txt.done.data", '( arctic_a0001 "text" )')
    folder, count = fetch(name, tmp_path)
    assert (folder.parent, count) == (tmp_path, len(TREES[name]))


@pytest.mark.parametrize("name", ["libritts", "arctic"])
def test_torchaudio_knows_every_part_by_its_name(name: str, tmp_path: Path) -> None:
    for part in SOURCES[name].parts:  # a known name is looked for in its own folder; others are taken for addresses
        with pytest.raises(RuntimeError, match=part):
            SOURCES[name].dataset(root=str(tmp_path), url=part, download=False)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (URLError("no route"), "cannot be fetched into .* check the network"),
        (OSError(28, "No space left on device"), "No space left"),
        (RuntimeError("invalid hash value"), "archive of ljspeech is damaged"),
        (tarfile.ReadError("not a gzip file"), "archive of ljspeech is damaged"),
    ],
)
def test_a_failed_download_is_one_line(
    downloads: Callable[..., Any], tmp_path: Path, error: Exception, message: str
) -> None:
    def fail(root: Path) -> None:
        raise error

    downloads("ljspeech", fail)
    with pytest.raises(UserError, match=message):
        fetch("ljspeech", tmp_path)


def test_something_else_in_the_archive_is_refused(downloads: Callable[..., Any], tmp_path: Path) -> None:
    downloads("vctk", lambda root: plant(root, "VCTK-Corpus-0.92/readme/a.wav"))
    with pytest.raises(UserError, match="is not vctk as it was unpacked"):
        fetch("vctk", tmp_path)


@pytest.mark.parametrize(("name", "part"), [("ljspeech", "x"), ("libritts", "train-clean"), ("arctic", "xyz")])
def test_a_part_that_does_not_exist_is_refused_before_any_download(
    downloads: Callable[..., Any], tmp_path: Path, name: str, part: str
) -> None:
    calls = downloads(name, unpack(name))
    with pytest.raises(UserError, match=f"--part {part}: {name} has"):
        fetch(name, tmp_path, part)
    assert calls == []


def test_errors_of_scripts_are_one_line_and_exit_code_2(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", ["fetch_corpus.py", "vctk", str(tmp_path), "--part", "x"])
    assert report_errors("fetch_corpus", fetch_corpus.main) == 2
    assert capsys.readouterr().err == "fetch_corpus: --part x: vctk has no parts\n"
