"""vocoder-doctor: it reports, writes only where it is told to, and changes nothing."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from support.trees import plant, write_lines

from vocoder.commands import cli
from vocoder.commands.doctor import Config
from vocoder.corpora import LAYOUTS
from vocoder.data.preprocess import PreprocessConfig
from vocoder.doctor import Limits
from vocoder.features.mel import PRESETS

Command = Callable[..., Any]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    root = plant(tmp_path / "corpus", "ann/1.wav", "ann/2.flac", "bob/1.wav")
    soundfile.write(root / "bob/silent.wav", np.zeros(16000), 16000)
    return root


def test_the_report_is_printed_and_nothing_is_written(command: Command, corpus: Path, tmp_path: Path) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*"))
    result = command("doctor", f"input={corpus}", "speaker=folder", "workers=0")
    assert result.code == 0
    assert f"{corpus}: layout folder, 4 recordings, 3 usable" in result.out
    assert "Skipped by preprocessing: 1" in result.out
    assert "ann" in result.out
    assert "vocoder-preprocess input=" in result.out
    assert sorted((path, path.stat().st_mtime_ns) for path in tmp_path.rglob("*")) == before


def test_json_and_page_are_written_on_request(command: Command, corpus: Path, tmp_path: Path) -> None:
    output = tmp_path / "report"
    result = command("doctor", f"input={corpus}", f"output={output}", "workers=0")
    assert result.code == 0
    assert sorted(os.listdir(output)) == ["doctor.html", "doctor.json"]
    found = json.loads((output / "doctor.json").read_text())
    assert {each["id"]: each["problem"] is None for each in found["examinations"]} == {
        "ann/1": True,
        "ann/2": True,
        "bob/1": True,
        "bob/silent": False,
    }
    seconds = sum(soundfile.info(path).duration for path in corpus.rglob("*") if path.stem in "12")
    assert found["hours"] == pytest.approx(seconds / 3600)
    assert found["suggested"][0].startswith("vocoder-preprocess")
    assert command("doctor", f"input={corpus}", f"output={output}", "workers=0").code == 0  # again, over the first


@pytest.mark.slow
def test_the_report_does_not_depend_on_the_number_of_workers(command: Command, corpus: Path) -> None:
    alone, two = (command("doctor", f"input={corpus}", f"workers={workers}") for workers in (0, 2))
    assert (alone.code, alone.out) == (two.code, two.out)


def test_a_suggested_command_preprocesses_the_corpus(command: Command, corpus: Path, tmp_path: Path) -> None:
    out = command("doctor", f"input={corpus}", "workers=0").out
    (line,) = [line for line in out.splitlines() if line.strip().startswith("vocoder-preprocess")]
    arguments = [each for each in line.split()[1:] if not each.startswith("output=")]
    assert command("preprocess", *arguments, f"output={tmp_path / 'store'}", "workers=0").code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["input=nowhere"], "no such folder"),
        (["input=.", "layout=vtck"], "did you mean vctk"),
        (["input=.", "workers=-1"], "workers=-1"),
        (["input=.", "speaker=all"], "speaker=all"),
        (["input=.", "output=file"], "is no folder"),
        (["input=pipe.scp/wav.scp"], "is a shell command, which is never run"),
        ([], "give input="),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.chdir(plant(tmp_path, "a.wav"))
    (tmp_path / "file").touch()
    write_lines(tmp_path / "pipe.scp/wav.scp", f"a touch {tmp_path}/proof |")
    result = command("doctor", *arguments)
    assert result.code == 2
    assert message in result.err
    assert len(result.err.splitlines()) == 1
    assert not (tmp_path / "proof").exists()


def test_what_it_takes_for_skipped_is_by_default_what_preprocessing_skips() -> None:
    settings = cli.compose("doctor", ["input=in"])
    assert settings.keys() == Config.__dataclass_fields__.keys()
    assert Limits(settings["min_seconds"], settings["silence_peak"], settings["peak"]) == Limits()
    defaults = PreprocessConfig(PRESETS["hifigan_22k"])
    assert Limits(defaults.min_seconds, defaults.silence_peak, defaults.target_peak) == Limits()
    assert (settings["layout"], settings["speaker"]) == (defaults.layout, defaults.speaker)


def test_help_names_every_layout(command: Command) -> None:
    text = command("preprocess", "--help").out
    assert all(layout.name in text for layout in LAYOUTS)
    assert "doctor.html" in command("doctor", "--help").out
