"""Past samples as mu-law classes."""

from dataclasses import replace

import pytest
import torch
from support.small_model import small_config

from vocoder.distributions import Categorical, MuLawGrid
from vocoder.errors import UserError
from vocoder.model import build_model
from vocoder.model.one_hot import OneHot


@pytest.mark.parametrize("levels", [2, 3, 16, 255, 256])
def test_every_value_of_the_grid_is_of_its_own_class(levels: int) -> None:
    grid = MuLawGrid(levels)
    values = grid.value(torch.arange(levels))
    assert torch.equal(OneHot(grid)(values), torch.eye(levels))


def test_silence_is_of_the_lower_of_its_two_classes() -> None:
    assert OneHot(MuLawGrid(256))(torch.zeros(1)).argmax().item() == 127


def test_any_sample_is_of_one_class() -> None:
    torch.manual_seed(0)
    assert torch.equal(OneHot(MuLawGrid(16))(3 * torch.randn(2, 50)).sum(-1), torch.ones(2, 50))


def test_one_hot_inputs_without_classes_are_refused() -> None:
    config = small_config()
    one_hot = replace(config, model=replace(config.model, one_hot=True))
    with pytest.raises(UserError, match="distribution=categorical"):
        build_model(one_hot)
    assert build_model(replace(one_hot, distribution=Categorical(16))).wavenet.input_channels == 16
