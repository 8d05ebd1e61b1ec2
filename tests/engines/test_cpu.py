"""The CPU engine's blocks, in which few lanes compute older taps for several samples: they change no bit."""

import numpy as np
import pytest
import torch
from support.models import FRAMES, HOP, engine_params, random_mel, random_model

from vocoder.engines import pick_engine
from vocoder.engines.cpu import ROWS_PER_BLOCK, block_layout, knots_in_use
from vocoder.kernels import processor
from vocoder.model import VocoderModel
from vocoder.model.interpolation import Interpolation

PRECISIONS = [
    "float32",
    pytest.param(
        "bfloat16", marks=pytest.mark.skipif(not processor.HAS_BF16, reason="this processor does not multiply bfloat16")
    ),
]


def one_stack() -> VocoderModel:
    """Dilations 1, 2, ... 32: longer than a frame of 12 samples, which blocks of 8 do not divide."""
    return random_model(stacks=1, kernel_size=3)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_blocks_of_any_length_give_the_same_bits(precision: str) -> None:
    """The number of lanes sets the length of blocks: from 32 samples, longer than a frame, to a single one."""
    model = one_stack()
    most = 2 * ROWS_PER_BLOCK
    waves = model.distribution.grid.round((0.5 * torch.randn(most, FRAMES * HOP)).clamp(-0.9, 0.9))
    mel = random_mel(batch=most)
    engine = pick_engine(model, "cpu", precision)
    expected = engine_params(engine, waves, mel, None)
    lengths = set()
    for lanes in (1, 2, 3, 7, 32):
        assert torch.equal(engine_params(engine, waves[:lanes], mel[:lanes], None), expected[:lanes])
        lengths.add(max(block_layout(model.wavenet, lanes)[0]))
    assert lengths == {32, 16, 8, 4, 1}
    assert max(block_layout(model.wavenet, most)[0]) == 1


@pytest.mark.parametrize("lanes", [1, 2, 5, 16, 17, 40])
def test_a_block_is_at_most_its_dilation_and_no_more_than_its_rows(lanes: int) -> None:
    wavenet = one_stack().wavenet
    blocks, starts, count = block_layout(wavenet, lanes)
    for samples, layer in zip(blocks, wavenet.residual_layers, strict=True):
        assert samples <= layer.dilation
        assert samples == 1 or samples * lanes <= ROWS_PER_BLOCK
    used = [place for n, start in zip(blocks, starts, strict=True) if n > 1 for place in range(start, start + n)]
    assert sorted(used) == list(range(1, count))  # every place but the first is one layer's alone


def test_knots_in_use_are_those_between_which_a_block_is_interpolated() -> None:
    left = np.repeat([0, 1], 6)  # a knot every six samples of a frame of twelve
    interpolation = Interpolation(torch.from_numpy(left), torch.full((12, 2), 0.5))
    assert knots_in_use(interpolation, 1) == 2
    assert knots_in_use(interpolation, 2) == 2
    assert knots_in_use(interpolation, 4) == 3  # samples 4 to 7 lie on both sides of the second knot
    assert knots_in_use(interpolation, 32) == 3
