"""Commands whose standard streams are closed, as daemons have them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vocoder.data.store import Store

BIN = Path(sys.executable).parent
SPEECH = Path(__file__).parent.parent / "speech/allison"
CLOSED = ["2>&-", "<&- >&- 2>&-"]


def shell(command: str, streams: str, cwd: Path) -> int:
    """The exit code of a command line with some streams closed."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PATH": f"{BIN}:{os.environ['PATH']}"}
    return subprocess.run(["sh", "-c", f"exec {command} {streams}"], cwd=cwd, env=environment).returncode


@pytest.mark.slow
@pytest.mark.parametrize("streams", CLOSED)
def test_preprocessing_works_without_standard_streams(streams: str, tmp_path: Path) -> None:
    assert shell(f"vocoder-preprocess input={SPEECH} output=store mel=speech_16k workers=1", streams, tmp_path) == 0
    assert len(Store(tmp_path / "store").entries) == 6


@pytest.mark.slow
@pytest.mark.parametrize("streams", CLOSED)
def test_training_and_synthesis_work_without_standard_streams(
    streams: str, tmp_path: Path, speech_store: Store, tiny: list[str]
) -> None:
    train = " ".join(["vocoder-train", f"data={speech_store.directory}", "name=2024_01_15", "training.length.steps=2"])
    assert shell(f"{train} {' '.join(tiny)}", streams, tmp_path) == 0
    assert os.listdir(tmp_path / "runs") == ["2024_01_15"]  # the name as it was typed
    hello = f"vocoder-synthesize model=runs/2024_01_15 input={SPEECH}/hello-world.flac output=out"
    assert shell(hello, streams, tmp_path) == 0
    assert (tmp_path / "out/hello-world.wav").exists()
    assert shell("vocoder-train data=nowhere name=x", streams, tmp_path) == 2
    assert os.listdir(tmp_path / "runs") == ["2024_01_15"]


def test_an_open_file_never_takes_the_number_of_a_closed_stream(tmp_path: Path) -> None:
    source = """
import os, sys
from vocoder.commands.streams import open_streams
open_streams()
file = open("data", "w")
os.write(2, b"a library's message")
print("to nobody", file=sys.stderr)
print(sys.stdin.read(), end="")
sys.exit(file.fileno())
"""
    (tmp_path / "daemon.py").write_text(source)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    closed = ["sh", "-c", f"exec {sys.executable} daemon.py <&- >&- 2>&-"]
    assert subprocess.run(closed, cwd=tmp_path, env=environment).returncode >= 3
    assert (tmp_path / "data").read_bytes() == b""
