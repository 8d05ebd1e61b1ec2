"""Commands run as a user runs them (in their own process), and quickly (in this process)."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.overrides import TINY

from vocoder.commands import main
from vocoder.data.store import Store

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


@dataclass(frozen=True)
class Result:
    """A command's exit code, standard output and standard error."""

    code: int
    out: str
    err: str


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """Overrides for a network that trains thirty steps in a second or two."""
    return TINY


@pytest.fixture(scope="session")
def script() -> Callable[..., Result]:
    """Run a console script of the environment that runs the tests."""

    def run(name: str, *arguments: str | Path, cwd: Path) -> Result:
        program = Path(sys.executable).parent / f"vocoder-{name}"
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        done = subprocess.run([program, *map(str, arguments)], cwd=cwd, env=environment, capture_output=True, text=True)
        return Result(done.returncode, done.stdout, done.stderr)

    return run


@pytest.fixture(scope="session")
def trained(script: Callable[..., Result], speech_store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two steps on real speech; not to be changed."""
    runs = tmp_path_factory.mktemp("runs")
    arguments = [f"data={speech_store.directory}", "name=tiny", f"runs={runs}", "training.length.steps=2", *TINY]
    assert script("train", *arguments, cwd=runs).code == 0
    return runs / "tiny"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Result]:
    """Run a console script in this process, which saves the seconds of importing torch."""

    def run(name: str, *arguments: str | Path) -> Result:
        monkeypatch.setattr(sys, "argv", [f"vocoder-{name}", *map(str, arguments)])
        code, handlers = 0, {number: signal.getsignal(number) for number in SIGNALS}
        try:
            code = main.run(name)
        except SystemExit as exit:
            code = exit.code if isinstance(exit.code, int) else 1
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
        out, err = capsys.readouterr()
        return Result(code, out, err)

    return run
