"""Sampling primitives against scipy's quantile functions and against softmax frequencies."""

import numpy as np
import pytest
import scipy.stats
import torch

from vocoder.distributions.sampling import SMALLEST_UNIFORM, gumbel_argmax, standard_gumbel, standard_logistic

PROBABILITIES = torch.tensor([1e-6, 1e-3, 0.02, 0.25, 0.5, 0.75, 0.98, 1 - 1e-3, 1 - 1e-6], dtype=torch.float64)


@pytest.mark.parametrize(
    ("transform", "reference"), [(standard_logistic, scipy.stats.logistic), (standard_gumbel, scipy.stats.gumbel_r)]
)
def test_noise_is_scipys_quantile_function(transform, reference) -> None:
    expected = reference.ppf(PROBABILITIES.numpy())
    np.testing.assert_allclose(transform(PROBABILITIES).numpy(), expected, rtol=1e-12, atol=1e-14)
    in_float32 = PROBABILITIES.float()
    expected = reference.ppf(in_float32.double().numpy())
    np.testing.assert_allclose(transform(in_float32).numpy(), expected, rtol=1e-6, atol=2e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("transform", [standard_logistic, standard_gumbel])
def test_noise_is_finite_and_monotone_on_the_closed_interval(transform, dtype: torch.dtype) -> None:
    u = torch.tensor([0, 1e-38, SMALLEST_UNIFORM, 0.5, 1 - SMALLEST_UNIFORM, 1], dtype=dtype)
    noise = transform(u)
    assert noise.isfinite().all()
    assert (noise.diff() >= 0).all()


@pytest.mark.parametrize("transform", [standard_logistic, standard_gumbel])
def test_the_default_bound_truncates_nothing_that_the_noise_source_emits(transform) -> None:
    emitted = torch.tensor([0.5 * 2**-23, 1.5 * 2**-23, 1 - 1.5 * 2**-23, 1 - 0.5 * 2**-23])
    assert (transform(emitted).diff() > 0).all()
    assert torch.equal(transform(emitted), transform(emitted, bound=2.0**-25))


def test_a_larger_bound_truncates_the_tails_at_its_quantiles() -> None:
    u = torch.tensor([1e-7, 1 - 1e-7], dtype=torch.float64)
    assert standard_logistic(u, bound=1e-5).tolist() == pytest.approx(scipy.stats.logistic.ppf([1e-5, 1 - 1e-5]))


@pytest.mark.parametrize("dim", [0, 1])
def test_gumbel_argmax_draws_with_softmax_probabilities(dim: int) -> None:
    draws = 500_000
    logits = torch.tensor([2.0, -1.0, 0.0, 1.5, -6.0, 2.0]) + 30  # unnormalised
    torch.manual_seed(1)
    u = torch.rand(draws, 6)
    if dim == 0:
        chosen = gumbel_argmax(logits[:, None], standard_gumbel(u.T), dim=0)
        assert chosen.shape == (1, draws)
    else:
        chosen = gumbel_argmax(logits, standard_gumbel(u), dim=1)
        assert chosen.shape == (draws, 1)
    counts = chosen.flatten().bincount(minlength=6).numpy()
    expected = logits.double().softmax(0).numpy() * draws
    assert scipy.stats.chisquare(counts, expected).pvalue > 1e-4
