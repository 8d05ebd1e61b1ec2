"""The contract of every distribution: probabilities that sum to 1, and draws that follow them."""

import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from vocoder.distributions import (
    DISTRIBUTIONS,
    Categorical,
    Distribution,
    Gaussian,
    LocationScale,
    MixtureOfGaussians,
    MixtureOfLogistics,
)

DISCRETE: dict[str, Any] = {
    "logistics": MixtureOfLogistics(3),
    "one logistic": MixtureOfLogistics(1),
    "8-bit logistics": MixtureOfLogistics(3, levels=256),
    "gaussian": Gaussian(),
    "8-bit gaussian": Gaussian(levels=256),
    "gaussians": MixtureOfGaussians(3),
    "mu-law": Categorical(),
    "5 classes": Categorical(5),
}
ALL = DISCRETE | {"gaussian density": Gaussian(density=True), "gaussians density": MixtureOfGaussians(2, density=True)}
every = pytest.mark.parametrize("distribution", ALL.values(), ids=ALL)
discrete = pytest.mark.parametrize("distribution", DISCRETE.values(), ids=DISCRETE)


def values_of(distribution: Any, dtype: torch.dtype = torch.float64) -> Tensor:
    """All values of the distribution's grid, ascending."""
    count = distribution.grid.levels
    if isinstance(distribution, Categorical):
        return distribution.grid.value(torch.arange(count)).to(dtype)
    return torch.arange(count, dtype=torch.float64).mul(2).sub(count - 1).div(count - 1).to(dtype)


def random_params(distribution: Any, count: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """[count, P, 1]: logits of either sign, means in [-3, 3], log-scales in [-16, 2]."""
    torch.manual_seed(seed)
    if isinstance(distribution, Categorical):
        return (4 * torch.randn(count, distribution.channels, 1, dtype=torch.float64)).to(dtype)
    m = distribution.components
    means = 6 * torch.rand(count, m, 1, dtype=torch.float64) - 3
    log_scales = 18 * torch.rand(count, m, 1, dtype=torch.float64) - 16
    logits = [2 * torch.randn(count, m, 1, dtype=torch.float64)] * (distribution.channels == 3 * m)
    return torch.cat((*logits, means, log_scales), 1).to(dtype)


def random_values(distribution: Any, count: int, samples: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """[count, samples] of grid values; the first two columns are the lowest and the highest."""
    grid = values_of(distribution, dtype)
    chosen = torch.randint(len(grid), (count, samples))
    chosen[:, :2] = torch.tensor([0, len(grid) - 1])
    return grid[chosen]


def uniforms(distribution: Any, *shape: int, seed: int = 0) -> Tensor:
    """[batch, U, samples] on the midpoints of 2^23 intervals, as the noise source emits them."""
    batch, samples = shape
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(2**23, (batch, distribution.uniforms, samples), generator=generator)
    return (drawn + 0.5) * 2.0**-23


def test_every_kind_of_distribution_is_tested_here() -> None:
    assert {type(distribution) for distribution in ALL.values()} == set(DISTRIBUTIONS.values())


@every
def test_methods_have_the_shapes_and_dtypes_of_the_contract(distribution: Any) -> None:
    assert isinstance(distribution, Distribution)
    assert isinstance(distribution, LocationScale) == (not isinstance(distribution, Categorical))
    params, u = torch.zeros(2, distribution.channels, 7), torch.full((2, distribution.uniforms, 7), 0.5)
    x = distribution.sample(params, u)
    for result in (
        x,
        distribution.log_prob(params, x),
        distribution.rsample(params, u, 0.5),
        distribution.mean(params),
        distribution.cdf(params, x),
    ):
        assert result.shape == (2, 7)
        assert result.dtype == torch.float32
    assert distribution.marginal_params(x.flatten()).shape == (distribution.channels,)


@discrete
def test_total_probability_is_one_for_random_parameters(distribution: Any) -> None:
    grid = values_of(distribution)[None]
    for params in random_params(distribution, 100, seed=1).split(1):
        total = distribution.log_prob(params.expand(-1, -1, grid.shape[1]), grid).exp().sum().item()
        assert total == pytest.approx(1, abs=1e-6), params


@pytest.mark.parametrize("distribution", [MixtureOfLogistics(2), Gaussian(), MixtureOfGaussians(2)], ids=str)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_total_probability_is_one_for_any_parameters(distribution: Any, data: st.DataObject) -> None:
    m = distribution.components
    numbers = (st.floats(-30, 30), st.floats(-3, 3), st.floats(-16, 2))[-(distribution.channels // m) :]
    rows = [data.draw(st.lists(number, min_size=m, max_size=m)) for number in numbers]
    params = torch.tensor(rows, dtype=torch.float64).reshape(1, -1, 1)
    grid = values_of(distribution)[None]
    total = distribution.log_prob(params.expand(-1, -1, grid.shape[1]), grid).exp().sum().item()
    assert total == pytest.approx(1, abs=1e-6)


@every
def test_float32_agrees_with_float64_where_a_scale_is_at_least_half_a_bin(distribution: Any) -> None:
    params = random_params(distribution, 300, seed=2).float()
    if not isinstance(distribution, Categorical):
        *rest, log_scales = params.chunk(distribution.channels // distribution.components, 1)
        params = torch.cat((*rest, log_scales.clamp(min=math.log(distribution.grid.half_bin))), 1)
    params = params.expand(-1, -1, 64)
    x = random_values(distribution, 300, 64, torch.float32)
    computed, exact = distribution.log_prob(params, x), distribution.log_prob(params.double(), x.double())
    torch.testing.assert_close(computed.double(), exact, rtol=1e-4, atol=1e-4)


@every
def test_gradients_match_finite_differences(distribution: Any) -> None:
    params = random_params(distribution, 2, seed=3)
    if not isinstance(distribution, Categorical):  # scales at which a finite difference of 1e-6 is small
        params = torch.cat((params[:, : -distribution.components], params[:, -distribution.components :] / 4), 1)
    params = params.expand(-1, -1, 4).clone().requires_grad_()
    x = random_values(distribution, 2, 4)
    assert torch.autograd.gradcheck(lambda p: distribution.log_prob(p, x), params, atol=1e-4, rtol=1e-3)


@every
def test_gradients_are_finite_for_extreme_network_outputs(distribution: Any) -> None:
    extremes = torch.tensor([-1e4, -50.0, -16, -12.7, -7, 0, 1, 7, 50, 1e4])
    generator = torch.Generator().manual_seed(4)
    chosen = extremes[torch.randint(len(extremes), (2000, distribution.channels, 1), generator=generator)]
    if not isinstance(distribution, Categorical):
        chosen[:, -distribution.components :].clamp_(-50, 50)
    params = chosen.expand(-1, -1, 5).clone().requires_grad_()
    log_prob = distribution.log_prob(params, random_values(distribution, 2000, 5, torch.float32))
    log_prob.sum().backward()
    assert log_prob.isfinite().all()
    assert params.grad is not None
    assert params.grad.isfinite().all()


@every
def test_the_cdf_rises_to_one_and_is_the_cumulative_sum_of_the_probabilities(distribution: Any) -> None:
    grid = values_of(distribution)[None]
    for params in random_params(distribution, 20, seed=5).split(1):
        whole = params.expand(-1, -1, grid.shape[1])
        cdf = distribution.cdf(whole, grid)[0]
        assert (cdf.diff() >= -1e-12).all()
        assert cdf[-1].item() == pytest.approx(1, abs=1e-12)
        if not distribution.is_density:
            summed = distribution.log_prob(whole, grid)[0].exp().cumsum(0)
            torch.testing.assert_close(cdf, summed, rtol=0, atol=1e-6)


@every
def test_the_mean_is_the_average_of_many_draws(distribution: Any) -> None:
    params = random_params(distribution, 1, seed=6, dtype=torch.float32)
    if not isinstance(distribution, Categorical):  # so that no draw is clamped at the edges
        m = distribution.components
        params[:, -2 * m : -m] /= 10
        params[:, -m:] = -3 + params[:, -m:] / 16
    drawn = distribution.sample(params.expand(-1, -1, 200_000), uniforms(distribution, 1, 200_000))
    error = drawn.double().std() / math.sqrt(200_000)
    assert abs(drawn.double().mean() - distribution.mean(params)[0, 0].double()) < 5 * error + 1e-4


@every
def test_autocast_changes_nothing(distribution: Any) -> None:
    params = random_params(distribution, 4, seed=7, dtype=torch.float32).expand(-1, -1, 50)
    x, u = random_values(distribution, 4, 50, torch.float32), uniforms(distribution, 4, 50)

    def all_results() -> list[Tensor]:
        return [
            distribution.log_prob(params, x),
            distribution.sample(params, u),
            distribution.rsample(params, u, 0.5),
            distribution.rsample(params, u, 0.5, hard=False),
            distribution.mean(params),
            distribution.cdf(params, x),
        ]

    expected = all_results()
    with torch.autocast("cpu", torch.bfloat16):
        found = all_results()
    for one, other in zip(expected, found, strict=True):
        assert torch.equal(one, other)


@every
def test_results_are_on_the_device_of_the_parameters(distribution: Any) -> None:
    params = torch.zeros(2, distribution.channels, 5, device="meta")
    x, u = torch.zeros(2, 5, device="meta"), torch.zeros(2, distribution.uniforms, 5, device="meta")
    for result in (
        distribution.log_prob(params, x),
        distribution.sample(params, u),
        distribution.rsample(params, u, 0.5),
        distribution.mean(params),
        distribution.cdf(params, x),
    ):
        assert result.device.type == "meta"


def params_with_tails(distribution: Any) -> Tensor:
    """Parameters [1, P, 1] with mass in every part of the grid and beyond both edges."""
    if isinstance(distribution, Categorical):
        return random_params(distribution, 1, seed=8) / 4
    components = ((0.0, 0.5, -0.7), (1.0, -0.1, -3.0), (-1.0, 0.2, -8.5))[: distribution.components]
    parts = torch.tensor(components, dtype=torch.float64).T.reshape(1, -1, 1)
    return parts[:, -distribution.channels :]


@pytest.mark.slow
@discrete
def test_ten_million_draws_follow_the_exact_probabilities(distribution: Any) -> None:
    """Pearson's chi-squared test over cells of similar mass; the two outermost values are cells of their own.

    (Fewer draws for 256 classes, because each draw takes 256 uniforms.)
    """
    params, grid = params_with_tails(distribution), values_of(distribution)
    draws = min(10**7, 10**8 // distribution.uniforms)
    chunk, single = 10**6 // distribution.uniforms, grid.float()
    counts = torch.zeros(len(grid), dtype=torch.int64)
    for seed in range(draws // chunk):
        u = uniforms(distribution, 1, chunk, seed=100 + seed)
        drawn = distribution.sample(params.float().expand(-1, -1, chunk), u)[0]
        index = torch.searchsorted(single, drawn)
        assert torch.equal(single[index], drawn)  # every draw is bit-identical to a grid value
        counts += index.bincount(minlength=len(grid))
    probability = distribution.log_prob(params.expand(-1, -1, len(grid)), grid[None])[0].exp().numpy()
    cell = np.minimum((probability.cumsum() * 400).astype(int), 399)
    cell[0], cell[-1] = 400, 401
    cell = np.unique(cell, return_inverse=True)[1]
    observed, expected = np.bincount(cell, counts.numpy()), np.bincount(cell, probability)
    assert len(expected) >= min(50, len(grid))
    assert expected.min() * counts.sum() > 20
    assert scipy.stats.chisquare(observed, expected / expected.sum() * observed.sum()).pvalue > 1e-4


@pytest.mark.slow
@pytest.mark.parametrize("mean", [0.1, -0.73, 0.98])
@pytest.mark.parametrize("distribution", [MixtureOfLogistics(1), Gaussian(), MixtureOfGaussians(1)], ids=str)
def test_each_level_gets_its_probability_over_all_noise_values_in_float32_at_any_mean(
    distribution: Any, mean: float
) -> None:
    """Deterministic: each of the 2^23 values of the noise is used once, and the share of each level is compared."""
    params = torch.tensor([0.0, mean, -7.0])[-distribution.channels :][None, :, None]
    grid, noises = values_of(distribution), 2**23
    u = ((torch.arange(noises) + 0.5) / noises)[None, None].expand(1, distribution.uniforms, -1)
    drawn = distribution.sample(params.expand(-1, -1, noises), u)[0]
    share = torch.searchsorted(grid.float(), drawn).bincount(minlength=len(grid)).double() / noises
    probability = distribution.log_prob(params.double().expand(-1, -1, len(grid)), grid[None])[0].exp()
    likely = probability > 1e-3
    assert likely.sum() > 100
    assert (share / probability - 1)[likely].abs().max() < 5e-4


@every
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_a_draw_follows_the_sampler_spec(distribution: Any, temperature: float) -> None:
    params = random_params(distribution, 50, seed=12).expand(-1, -1, 40)
    u = uniforms(distribution, 50, 40).double()
    noise, spec = distribution.standard_noise(u), distribution.sampler_spec
    assert noise.shape == (50, spec.choices + 1, 40)
    drawn = distribution.sample_from_noise(params, noise, temperature)
    assert torch.equal(drawn, distribution.sample(params, u, temperature))
    best = (params[:, : spec.choices] / temperature + noise[:, :-1]).argmax(1) if spec.choices > 1 else 0
    best = torch.zeros_like(u[:, 0], dtype=torch.long) if spec.choices == 1 else best
    if spec.first_location is None:
        expected = torch.tensor(spec.values, dtype=torch.float64)[best]
    else:
        location, log_scale = (
            params.gather(1, first + best[:, None])[:, 0] for first in (spec.first_location, spec.first_log_scale)
        )
        x = location + temperature * log_scale.clamp(min=spec.log_scale_min).exp() * noise[:, -1]
        last = spec.levels - 1
        expected = ((x.clamp(-1, 1) + 1) * last / 2).round() * 2 / last - 1
    torch.testing.assert_close(drawn.double(), expected, rtol=0, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("distribution", [MixtureOfLogistics(3), Gaussian(), MixtureOfGaussians(3)], ids=str)
def test_a_million_draws_follow_the_cdf(distribution: Any) -> None:
    """Kolmogorov-Smirnov test; the steps of a discrete distribution can only make its statistic smaller."""
    params = params_with_tails(distribution)
    drawn = distribution.sample(params.float().expand(-1, -1, 10**6), uniforms(distribution, 1, 10**6, seed=5))
    drawn = drawn.double().sort().values
    cdf = distribution.cdf(params.expand(-1, -1, 10**6), drawn)[0].numpy()
    empirical = np.searchsorted(drawn[0].numpy(), drawn[0].numpy(), side="right") / 10**6
    assert np.abs(cdf - empirical).max() < scipy.stats.kstwo(10**6).ppf(1 - 1e-4)


# Differentiable draws


@every
def test_the_value_of_a_hard_relaxed_draw_is_that_of_sample(distribution: Any) -> None:
    params = random_params(distribution, 3, seed=9, dtype=torch.float32).expand(-1, -1, 400)
    u = uniforms(distribution, 3, 400)
    plain = distribution.sample(params, u)
    for temperature in (0.1, 1.0):
        relaxed = distribution.rsample(params, u, temperature)
        assert torch.equal(relaxed, plain)


@every
def test_a_relaxed_draw_converges_to_the_hard_one_as_the_temperature_goes_to_zero(distribution: Any) -> None:
    params = random_params(distribution, 3, seed=10)
    if not isinstance(distribution, Categorical):
        params[:, -2 * distribution.components : -distribution.components] /= 10
        params[:, -distribution.components :] = -8.0
    params, u = params.expand(-1, -1, 200), uniforms(distribution, 3, 200).double()
    cold = distribution.rsample(params, u, 1e-5, hard=False)
    half = getattr(distribution.grid, "half_bin", 1e-6)
    close = (cold - distribution.rsample(params, u, 1.0)).abs() <= 1.01 * half
    assert close.double().mean() > 0.995  # the rest: two scores within about 1e-5 of each other


@every
def test_a_relaxed_draw_has_a_gradient_in_every_parameter(distribution: Any) -> None:
    params = random_params(distribution, 2, seed=11)
    if not isinstance(distribution, Categorical):
        m = distribution.components
        params = torch.cat((params[:, : -2 * m], params[:, -2 * m : -m] / 10, params[:, -m:] / 8 - 2), 1)
    params = params.expand(-1, -1, 3).clone().requires_grad_()
    u = uniforms(distribution, 2, 3).double()
    assert torch.autograd.gradcheck(lambda p: distribution.rsample(p, u, 0.7, hard=False), params)
    distribution.rsample(params, u, 0.7).sum().backward()
    assert params.grad is not None
    single_choice = getattr(distribution, "components", 2) == 1 and distribution.channels == 3
    gradient = params.grad[:, 1:] if single_choice else params.grad  # the logit of a single component has no effect
    assert (gradient != 0).double().mean() > 0.95
