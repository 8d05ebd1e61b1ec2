"""The categorical distribution: mu-law companding against its formula, probabilities against softmax."""

import math

import numpy as np
import pytest
import torch

from vocoder.distributions import Categorical, MuLawGrid
from vocoder.errors import UserError


@pytest.mark.parametrize("classes", [2, 5, 256, 1024, 65536])
def test_encoding_inverts_decoding_for_every_code(classes: int) -> None:
    grid = MuLawGrid(classes)
    codes = torch.arange(classes)
    values = grid.value(codes)
    assert torch.equal(grid.index(values), codes)
    assert values[0] == -1
    assert values[-1] == 1
    assert (values.diff() > 0).all()
    assert torch.equal(grid.round(values), values)


def test_decoded_values_follow_the_companding_formula() -> None:
    y = np.linspace(-1, 1, 256)  # ITU-T G.711's formula; the standard's table approximates it piecewise linearly
    expected = np.sign(y) * (256 ** np.abs(y) - 1) / 255
    np.testing.assert_allclose(MuLawGrid(256).value(torch.arange(256)).numpy(), expected, atol=1e-6)


@pytest.mark.parametrize("x", [-5.0, -1.0, -0.3, -1e-4, 0.0, 1e-4, 0.3, 1.0, 5.0])
def test_the_code_of_a_sample_is_the_nearest_in_the_companded_domain(x: float) -> None:
    clamped = max(-1.0, min(1.0, x))
    companded = math.copysign(math.log1p(255 * abs(clamped)) / math.log(256), clamped)
    nearest = int(np.abs(np.linspace(-1, 1, 256) - companded).argmin())
    found = MuLawGrid(256).index(torch.tensor([x])).item()
    assert found == nearest or (x == 0.0 and found in (127, 128))


def test_log_prob_is_the_log_softmax_of_the_samples_class() -> None:
    logits = torch.randn(2, 16, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    distribution = Categorical(16)
    codes = torch.tensor([[0, 7, 15], [1, 2, 3]])
    found = distribution.log_prob(logits, distribution.grid.value(codes))
    p = np.exp(logits.numpy())
    p /= p.sum(1, keepdims=True)
    for b in range(2):
        for t in range(3):
            assert found[b, t].item() == pytest.approx(math.log(p[b, codes[b, t], t]))


def test_marginal_params_are_the_histogram() -> None:
    distribution = Categorical(4)
    values = distribution.grid.value(torch.tensor([0, 1, 1, 3] * 1000))
    found = distribution.marginal_params(values).exp()
    assert found.tolist() == pytest.approx([0.25, 0.5, 0.0, 0.25], abs=1e-3)
    assert found.min() > 0


def test_fewer_than_two_classes_are_refused() -> None:
    with pytest.raises(UserError, match="classes=1"):
        Categorical(1)
