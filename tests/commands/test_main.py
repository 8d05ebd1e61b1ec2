"""The entry points: --help and Ctrl-C are answered before torch is imported."""

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import vocoder
import vocoder.commands.main  # what a console script imports, and with it every spawned worker
from vocoder.synthesis import load

BIN = Path(sys.executable).parent
COMMANDS = ["preprocess", "train", "synthesize"]
HEAVY = ["torch", "numpy", "numba", "librosa", "hydra", "omegaconf", "tqdm"]
INTERRUPTING = """
import os, signal
try:
    os.kill(os.getpid(), signal.SIGINT)
    for _ in range(1000):
        pass
except BaseException:  # as some modules do around what they import
    raise ImportError("caught")
raise SystemExit(7)
"""


@pytest.fixture
def modules(tmp_path: Path) -> Callable[..., dict[str, str]]:
    """An environment in which importing any of some modules runs `source` in their place."""

    def replace(names: list[str], source: str) -> dict[str, str]:
        for name in names:
            (tmp_path / f"{name}.py").write_text(source)
        return {**os.environ, "PYTHONPATH": str(tmp_path)}

    return replace


def run(name: str, *arguments: str, env: dict[str, str], interrupt: signal.Handlers = signal.SIG_DFL) -> tuple:
    done = subprocess.run(
        [BIN / f"vocoder-{name}", *arguments], env=env, capture_output=True, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, interrupt),
    )  # fmt: skip
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_imports_nothing_heavy(modules: Callable[..., dict[str, str]], name: str, flag: str) -> None:
    code, out, err = run(name, flag, env=modules(HEAVY, "raise SystemExit('imported')"))
    assert (code, err) == (0, "")
    assert out.startswith(f"vocoder-{name} ")


@pytest.mark.parametrize(("name", "imported"), [*((name, "torch") for name in COMMANDS), ("train", "hydra")])
def test_an_interrupt_during_an_import_is_one_line(
    modules: Callable[..., dict[str, str]], name: str, imported: str
) -> None:
    result = run(name, "output=store", env=modules([imported], INTERRUPTING))
    assert result == (130, "", f"vocoder-{name}: interrupted\n")


def test_an_interrupt_is_ignored_where_the_parent_ignores_it(modules: Callable[..., dict[str, str]]) -> None:
    code, _, err = run("train", env=modules(["torch"], INTERRUPTING), interrupt=signal.SIG_IGN)
    assert (code, err) == (7, "")


@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "SystemExit(5)", "None"])
def test_the_exit_code_is_the_commands_and_interrupts_no_longer_matter(
    modules: Callable[..., dict[str, str]], raised: str
) -> None:
    """A command's module that raises this from main(), and an interrupt after that."""
    raising = f"raise {raised}" if raised != "None" else "pass"
    source = f"""
import atexit, os, signal, sys, types
from vocoder.commands import main
atexit.register(lambda: os.kill(os.getpid(), signal.SIGINT))
command = types.ModuleType("vocoder.commands.train")
exec("def main():\\n    {raising}", command.__dict__)
sys.modules["vocoder.commands.train"] = command
sys.exit(main.train())
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    code, err = {"KeyboardInterrupt": (130, "vocoder-train: interrupted\n"), "SystemExit(5)": (5, "")}.get(
        raised, (0, "")
    )
    assert (done.returncode, done.stderr) == (code, err)


def interrupt_handler() -> int:
    return int(signal.getsignal(signal.SIGINT))  # type: ignore[arg-type]


def test_a_spawned_worker_leaves_interrupts_to_its_parent() -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.apply(interrupt_handler) == signal.SIG_IGN
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_reader_that_has_gone_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([BIN / "vocoder-train", "--help"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", COMMANDS)
def test_flags_of_hydra_work(modules: Callable[..., dict[str, str]], name: str) -> None:
    code, out, err = run(name, "--cfg", "job", env=dict(os.environ))
    assert (code, err) == (0, "")
    assert "device: auto" in out or "trim_db: null" in out


def test_importing_the_package_is_light() -> None:
    source = f"import sys, vocoder; print([name for name in {HEAVY} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", source], capture_output=True, text=True).stdout == "[]\n"


def test_public_names_are_imported_when_they_are_used() -> None:
    assert vocoder.load is load
    assert {"Request", "Vocoder", "load"} <= set(dir(vocoder))
    with pytest.raises(AttributeError, match="module 'vocoder' has no attribute 'laod'"):
        _ = vocoder.laod
