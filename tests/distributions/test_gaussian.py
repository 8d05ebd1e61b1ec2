"""Discretized Gaussians against differences of the CDF in 60-digit arithmetic; the density against scipy."""

import math

import mpmath
import pytest
import scipy.stats
import torch

from vocoder.distributions import Gaussian, MixtureOfGaussians
from vocoder.errors import UserError

TABLE = [
    (mean, log_std, level)
    for mean, log_std in ((0.1, -2.0), (0.25, -12.0), (0.99, -3.0), (-2.5, -1.0), (0.3, 2.0), (-0.4, -7.0), (3.0, -5.0))
    for level in (0, 1, 20000, 32767, 32768, 40960, 65534, 65535)
]


def oracle(mean: float, log_std: float, level: int, levels: int = 65536) -> float:
    """log P(x) by its definition, computed on the side where the difference does not cancel."""
    with mpmath.workdps(60):
        half = mpmath.mpf(1) / (levels - 1)
        x = mpmath.mpf(2 * level - (levels - 1)) / (levels - 1)
        scale = mpmath.exp(mpmath.mpf(log_std))
        upper, lower = (x + half - mpmath.mpf(mean)) / scale, (x - half - mpmath.mpf(mean)) / scale
        if level == 0:
            return float(log_cdf(upper))
        if level == levels - 1:
            return float(log_cdf(-lower))
        if lower > 0:
            upper, lower = -lower, -upper
        return float(log_cdf(upper) + mpmath.log1p(-mpmath.exp(log_cdf(lower) - log_cdf(upper))))


def log_cdf(z: mpmath.mpf) -> mpmath.mpf:
    """log Phi(z); mpmath's erfc has an exponent range that no float has."""
    return mpmath.log(mpmath.erfc(-z / mpmath.sqrt(2)) / 2)


@pytest.mark.parametrize(("mean", "log_std", "level"), TABLE)
def test_log_prob_equals_differences_of_the_cdf(mean: float, log_std: float, level: int) -> None:
    x = torch.tensor([[(2 * level - 65535) / 65535]], dtype=torch.float64)
    params = torch.tensor([mean, log_std], dtype=torch.float64).reshape(1, 2, 1)
    expected = oracle(mean, log_std, level)
    assert Gaussian().log_prob(params, x).item() == pytest.approx(expected, rel=1e-7, abs=1e-8)
    mixture = torch.tensor([5.0, mean, log_std], dtype=torch.float64).reshape(1, 3, 1)
    assert MixtureOfGaussians(1).log_prob(mixture, x).item() == pytest.approx(expected, rel=1e-7, abs=1e-8)


def test_a_mixture_is_the_weighted_sum_of_its_components() -> None:
    components = [(0.3, -0.4, -5.0), (-1.2, 0.1, -9.0), (2.0, 0.7, -1.0)]
    params = torch.tensor(components, dtype=torch.float64).T.reshape(1, -1, 1)
    total = sum(math.exp(logit) for logit, *_ in components)
    for level in (0, 19660, 36044, 65535):
        expected = math.log(sum(math.exp(w) / total * math.exp(oracle(m, s, level)) for w, m, s in components))
        x = torch.tensor([[(2 * level - 65535) / 65535]], dtype=torch.float64)
        assert MixtureOfGaussians(3).log_prob(params, x).item() == pytest.approx(expected, rel=1e-7)


@pytest.mark.parametrize(("mean", "log_std"), [(0.1, -2.0), (-0.5, -8.0), (2.0, 0.5)])
def test_the_density_equals_scipys(mean: float, log_std: float) -> None:
    x = torch.linspace(-1, 1, 11, dtype=torch.float64)[None]
    reference = scipy.stats.norm(mean, math.exp(log_std))
    params = torch.tensor([mean, log_std], dtype=torch.float64).reshape(1, 2, 1).expand(-1, -1, 11)
    found = Gaussian(density=True).log_prob(params, x)[0]
    assert found.tolist() == pytest.approx(reference.logpdf(x[0].numpy()).tolist(), rel=1e-9)


def test_at_a_wide_scale_the_probability_is_the_density_times_the_bin_width() -> None:
    x = torch.linspace(-0.9, 0.9, 101, dtype=torch.float64)[None]
    params = torch.tensor([0.2, -1.0], dtype=torch.float64).reshape(1, 2, 1).expand(-1, -1, 101)
    density, probability = (Gaussian(density=d).log_prob(params, x) for d in (True, False))
    torch.testing.assert_close(density + math.log(2 / 65535), probability, rtol=0, atol=1e-7)


def test_is_density_is_true_for_densities_only() -> None:
    assert Gaussian(density=True).is_density
    assert MixtureOfGaussians(density=True).is_density
    assert not Gaussian().is_density
    assert not MixtureOfGaussians().is_density


def test_a_single_gaussian_has_two_parameters_and_one_uniform() -> None:
    assert (Gaussian().channels, Gaussian().uniforms) == (2, 1)
    with pytest.raises(TypeError):
        Gaussian(components=2)  # type: ignore[call-arg]
    with pytest.raises(UserError, match="components=0"):
        MixtureOfGaussians(0)


@pytest.mark.parametrize("u", [1e-6, 0.02, 0.5, 0.9, 1 - 1e-6])
def test_draws_equal_scipys_quantiles(u: float) -> None:
    params = torch.tensor([0.1, -3.0], dtype=torch.float64).reshape(1, 2, 1)
    drawn = Gaussian().sample(params, torch.tensor([[[u]]], dtype=torch.float64))
    assert drawn.item() == pytest.approx(scipy.stats.norm(0.1, math.exp(-3)).ppf(u), abs=1.01 / 65535)
