"""The machine that a benchmark runs on: its description, resident memory, and what the processor can compute."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import numba
import numpy as np
import torch

LIMIT_SOURCE = Path(__file__).with_name("limit.cpp")


def describe_machine() -> str:
    """Processor, cores that this process may use, and versions of Python and the libraries that compute."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    processors = [line.split(":")[1].strip() for line in lines if "model name" in line]
    return (
        f"{processors[0] if processors else platform.processor()}, {cores()} cores; "
        f"Python {platform.python_version()}, numpy {np.__version__}, numba {numba.__version__}, "
        f"torch {torch.__version__}"
    )


def cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0))


def resident_bytes(field: str) -> int:
    """Resident memory of this process in bytes (Linux).

    Args:
        field: of /proc/self/status: VmRSS (now), VmHWM (peak), RssAnon (its own), RssFile (mapped files).
    """
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(f"{field}:")))


def reset_peak() -> None:
    """Make VmHWM start again from the memory in use (Linux)."""
    Path("/proc/self/clear_refs").write_text("5")


class Limit:
    """The compiled limit.cpp, and the rates that it measured in each run."""

    def __init__(self, program: Path) -> None:
        self.program = program
        self.samples_per_s: list[float] = []
        self.gflops: list[float] = []  # 10^9 operations a second of multiply-add alone
        self.matrix_samples_per_s: list[float] = []  # in bfloat16 on matrix units; zeros where there are none

    def run(self) -> None:
        command = [str(self.program), str(cores())]
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        numbers = (float(number) for number in output.split())
        for rates, number in zip((self.samples_per_s, self.gflops, self.matrix_samples_per_s), numbers, strict=True):
            rates.append(number)


def compile_limit(folder: Path) -> Limit | None:
    """Compile limit.cpp for this processor into the folder; None where there is no g++."""
    if shutil.which("g++") is None:
        return None
    flags = ["-O3", "-march=native", "-std=gnu++17", "-pthread"]
    subprocess.run(["g++", *flags, LIMIT_SOURCE, "-o", folder / "limit"], check=True)
    return Limit(folder / "limit")
