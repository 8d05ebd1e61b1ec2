"""Loops that cannot be kept on disk are compiled all the same; without a compiler there is one line."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TRIM = """
import numpy as np, librosa
trimmed, _ = librosa.effects.trim(np.ones(5000, np.float32), top_db=40)
print(len(trimmed), librosa.filters.mel(sr=16000, n_fft=2048).shape)
"""
# A loop of its own in a file, as numba keeps none of loops from standard input.
LOOP = """
from numba import njit
@njit(cache=True)
def double(n):
    return 2 * n
"""
NOWHERE = {"NUMBA_CACHE_LOCATOR_CLASSES": "UserProvidedCacheLocator", "NUMBA_CACHE_DIR": "/proc/nowhere"}


def python(source: str, folder: Path, **environment: str) -> tuple[int, str, str]:
    path = os.pathsep.join([str(folder), *sys.path[1:]])
    done = subprocess.run(
        [sys.executable, "-c", source],
        env={**os.environ, "PYTHONPATH": path, **environment},
        capture_output=True,
        text=True,
        cwd=folder,
    )
    return done.returncode, done.stdout, done.stderr


def test_loops_of_dependencies_work_where_nothing_can_be_written(tmp_path: Path) -> None:
    code, _, error = python(TRIM, tmp_path, **NOWHERE)
    assert code == 1  # numba alone
    assert "cannot cache function" in error
    assert python(f"import vocoder.features\n{TRIM}", tmp_path, **NOWHERE) == (0, "5000 (128, 1025)\n", "")


def test_loops_work_where_the_disk_is_full(tmp_path: Path) -> None:
    (tmp_path / "loop.py").write_text(LOOP)
    full = """
import errno, os
from numba.core import caching
def save(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
caching.IndexDataCacheFile.save = save
import loop
print(loop.double(21))
"""
    assert python(full, tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "cache"))[0] == 1  # numba alone
    assert python(f"import vocoder.features\n{full}", tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "cache"))[1] == "42\n"


def test_loops_are_kept_where_they_can_be(tmp_path: Path) -> None:
    (tmp_path / "loop.py").write_text(LOOP)
    source = "import vocoder.features, loop\nloop.double(1)\nprint(len(loop.double.stats.cache_hits))"
    assert [python(source, tmp_path, NUMBA_CACHE_DIR=str(tmp_path / "cache"))[1] for _ in range(2)] == ["0\n", "1\n"]


@pytest.mark.slow
def test_a_compiler_that_is_switched_off_is_one_line(tmp_path: Path) -> None:
    script = Path(sys.executable).parent / "vocoder-synthesize"
    speech = Path(__file__).parent / "speech/allison/hello-world.flac"
    done = subprocess.run(
        [script, f"input={speech}", f"output={tmp_path}/out"],
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert done.stderr.startswith("vocoder-synthesize: NUMBA_DISABLE_JIT is set")
    assert not (tmp_path / "out").exists()
