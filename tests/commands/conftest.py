"""Running commands as a user does (in a process of their own), and quickly (in this one)."""

import importlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from vocoder.data.store import Store

TINY = [
    "model.wavenet.layers=4",
    "model.wavenet.stacks=2",
    "model.wavenet.kernel_size=2",
    "model.wavenet.residual_channels=8",
    "model.wavenet.gate_channels=16",
    "model.wavenet.skip_channels=8",
    "model.conditioning.channels=8",
    "distribution.components=3",
    "training.batch.segment_frames=4",
    "training.checkpoint.dev_seconds=1",
    "training.audition.every=0",
    "device=cpu",
]


@dataclass(frozen=True)
class Result:
    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """Overrides for a network that takes thirty steps in a second or two."""
    return TINY


@pytest.fixture(scope="session")
def script() -> Callable[..., Result]:
    """A console script, from the environment that runs the tests."""

    def run(name: str, *arguments: str | Path, cwd: Path) -> Result:
        program = Path(sys.executable).parent / f"vocoder-{name}"
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run([program, *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True)
        return Result(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def trained(script: Callable[..., Result], speech_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two steps on real speech; read only."""
    runs = tmp_path_factory.mktemp("runs")
    arguments = [f"data={speech_store.directory}", "name=tiny", f"runs={runs}", "training.length.steps=2", *TINY]
    assert script("train", *arguments, cwd=runs).code == 0
    return runs / "tiny"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """The same in this process, which saves the seconds that importing torch takes."""

    def run(name: str, *arguments: str | Path) -> Result:
        monkeypatch.setattr(sys, "argv", [f"vocoder-{name}", *map(str, arguments)])
        code, handlers = 0, {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
        try:
            importlib.import_module(f"vocoder.commands.{name}").main()
        except SystemExit as exit:
            code = exit.code if isinstance(exit.code, int) else 1
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        out, err = capsys.readouterr()
        return Result(code, out, err)

    return run
