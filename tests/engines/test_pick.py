"""The choice of an engine, and the refusal of impossible ones."""

from typing import Any

import pytest
import torch
from support.models import random_model

from vocoder.engines import pick_engine
from vocoder.errors import UserError
from vocoder.kernels import processor

needs_bf16 = pytest.mark.skipif(not processor.HAS_BF16, reason="this processor does not multiply bfloat16")


def test_a_model_with_nan_weights_is_refused() -> None:
    model = random_model()
    with torch.no_grad():
        model.wavenet.output.bias[0] = torch.nan
    with pytest.raises(UserError, match="diverged"):
        pick_engine(model)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"name": "gpu"}, "engine=gpu: unknown; choose from auto, reference, cpu, cuda"),
        ({"precision": "float16"}, "precision=float16: unknown; choose from auto, float32, bfloat16"),
        ({"threads": 0}, "threads=0: must be at least 1"),
        ({"name": "reference", "precision": "bfloat16"}, "precision=bfloat16: engine=reference computes in float32"),
        ({"name": "cuda"}, "engine=cuda: the model is on cpu"),
    ],
)
def test_an_impossible_choice_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        pick_engine(random_model(), **arguments)


@needs_bf16
@pytest.mark.parametrize("faster", [False, True])
def test_auto_is_the_faster_precision_of_the_cpu_engine(faster: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vocoder.engines.cpu.FAST_BF16", faster)
    engine = pick_engine(random_model(), precision="auto", threads=1)
    units = "on matrix units" if processor.HAS_AMX else "in vectors"
    assert engine.describe() == (f"cpu, bfloat16 {units}, 1 thread" if faster else "cpu, float32, 1 thread")
    arithmetic = "cpu bfloat16 amx" if processor.HAS_AMX else "cpu bfloat16"
    assert engine.arithmetic == (arithmetic if faster else "cpu float32")
    assert pick_engine(random_model(), "reference", "auto").arithmetic == "torch cpu"


def test_auto_on_the_cpu_is_the_compiled_engine() -> None:
    assert pick_engine(random_model(), threads=1).describe() == "cpu, float32, 1 thread"
