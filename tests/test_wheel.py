"""The wheel contains the whole program and works outside the checkout."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("wheel")]  # one process builds it


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy so that nothing is written to the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for name in ("pyproject.toml", "README.md", "LICENSE", "vocoder", "configs"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            source.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", folder, source, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_contains_every_module_and_config(wheel: Path) -> None:
    expected = {path.relative_to(ROOT).as_posix() for path in (ROOT / "vocoder").rglob("*.py")}
    expected.add("vocoder/py.typed")  # the annotations count where the package is installed, too
    for folder in ("doctor/templates", "report/templates", "voice"):
        expected |= {path.relative_to(ROOT).as_posix() for path in (ROOT / "vocoder" / folder).iterdir()}
    expected |= {
        f"vocoder/{path.relative_to(ROOT).as_posix()}"
        for path in (ROOT / "configs").rglob("*")
        if path.suffix in (".yaml", ".py")
    }
    found = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert found == expected


def test_the_installed_commands_find_their_configs_outside_the_checkout(wheel: Path, tmp_path: Path) -> None:
    site, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    run(*pip, "install", "--no-deps", "--quiet", "--target", site, wheel, cwd=empty)
    where = run(sys.executable, "-c", "import vocoder; print(vocoder.__file__)", cwd=empty, PYTHONPATH=str(site))
    assert Path(where.strip()).is_relative_to(site)
    for command, words in {
        "preprocess": ["hifigan_22k", "trim_db"],
        "train": ["r9y9", "mixture_of_logistics", "experiment", "ema_decay"],
        "synthesize": ["temperature"],
        "import": ["hparams"],
    }.items():
        shown = run(site / "bin" / f"vocoder-{command}", "--help", cwd=empty, PYTHONPATH=str(site))
        assert all(word in shown for word in words)
    assert not list(empty.iterdir())  # --help writes no files
