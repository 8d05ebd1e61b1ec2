"""The compiled loop of generation on other processors than this one."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from vocoder.kernels import processor


@pytest.mark.slow
@pytest.mark.skipif("avx512f" not in processor.cpu_features(), reason="this processor has no AVX-512 to disable")
@pytest.mark.parametrize(
    ("cpu", "features", "width"),
    [
        ("haswell", "+avx2,+fma,+avx,+sse4.2,+bmi,+bmi2,+f16c,+popcnt", 8),
        ("x86-64", "+sse2,+fma", 4),
    ],
)
def test_the_engine_runs_on_processors_without_avx512(cpu: str, features: str, width: int) -> None:
    """In another process, because numba's target processor is fixed at import.

    Its compiled code is cached beside the sources, as for this processor: the cache is keyed by processor.
    """
    environment = {
        **os.environ,
        "NUMBA_CPU_NAME": cpu,
        "NUMBA_CPU_FEATURES": features,
        "PYTHONPATH": str(Path(__file__).parent.parent),
    }
    done = subprocess.run([sys.executable, "-c", ENGINE_PROGRAM], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(width), "close", "refused"]


ENGINE_PROGRAM = """
import torch
from support.models import FRAMES, HOP, random_mel, random_model, forward_params, engine_params
from vocoder.engines import pick_engine
from vocoder.kernels.micro_kernels import WIDTH
from vocoder.errors import UserError
from vocoder.model import LinearPredictionConfig

model = random_model(prediction=LinearPredictionConfig("mel", order=7), residual_channels=70, kernel_size=3)
waves = model.distribution.grid.round((0.5 * torch.randn(9, FRAMES * HOP)).clamp(-0.9, 0.9))
mel = random_mel(batch=9)
predicted = engine_params(pick_engine(model, "cpu"), waves, mel, None)
close = (predicted - forward_params(model, waves, mel, None)).abs().max() < 1e-4
try:
    pick_engine(model, "cpu", "bfloat16")
    refused = "accepted"
except UserError:
    refused = "refused"
print(WIDTH, "close" if close else "far", refused)
"""
