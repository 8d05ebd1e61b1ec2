"""What this process may use of its processor."""

import os
import subprocess
import sys

import pytest

from vocoder.kernels import processor

CHECK = "from vocoder.kernels import processor; print(processor.HAS_BF16, processor.HAS_AMX, processor.FAST_BF16)"


@pytest.mark.skipif(not processor.HAS_AMX, reason="this process may not use matrix units")
def test_a_process_that_may_not_use_tiles_has_vectors() -> None:
    refused = "from unittest.mock import patch; patch('platform.system', lambda: 'Other').start(); "
    output = subprocess.run([sys.executable, "-c", refused + CHECK], capture_output=True, text=True, check=True).stdout
    assert output.split() == ["True", "False", "False"]


@pytest.mark.skipif(not processor.HAS_BF16, reason="this processor does not multiply bfloat16")
def test_without_bfloat16_there_is_nothing_faster_than_float32() -> None:
    environment = os.environ | {"NUMBA_CPU_NAME": "skylake-avx512", "NUMBA_CPU_FEATURES": "+avx512f"}
    command = [sys.executable, "-c", CHECK]
    output = subprocess.run(command, capture_output=True, text=True, check=True, env=environment).stdout
    assert output.split() == ["False", "False", "False"]


@pytest.mark.parametrize(
    ("cpu", "has_bf16", "has_amx", "faster"),
    [
        ("znver3", False, False, False),
        ("znver4", True, False, True),
        ("znver5", True, False, True),
        ("cooperlake", True, False, False),
        ("sapphirerapids", True, False, False),  # in a process that may not use its matrix units
        ("sapphirerapids", True, True, True),
        ("generic", False, False, False),
    ],
)
def test_bfloat16_is_taken_for_faster_where_that_was_measured(
    cpu: str, has_bf16: bool, has_amx: bool, faster: bool
) -> None:
    assert processor.multiplies_bf16_faster(cpu, has_bf16, has_amx) is faster
