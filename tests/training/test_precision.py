"""The choice of a training's precision."""

import pytest
import torch

from vocoder.training.precision import pick_precision

CPU, META = torch.device("cpu"), torch.device("meta")


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_a_precision_is_picked_by_name_on_any_device(name: str) -> None:
    for device in (CPU, torch.device("cuda")):
        assert pick_precision(name, device) == getattr(torch, name)


def test_auto_on_the_cpu_is_bfloat16_only_where_it_is_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vocoder.training.precision.FAST_BF16", False)
    assert pick_precision("auto", CPU) == torch.float32
    monkeypatch.setattr("vocoder.training.precision.FAST_BF16", True)
    assert pick_precision("auto", CPU) == torch.bfloat16
    assert pick_precision("auto", META) == torch.float32
