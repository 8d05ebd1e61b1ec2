"""The discretized mixture of logistics against differences of its CDF in 50-digit arithmetic."""

import math
from dataclasses import replace

import mpmath
import numpy as np
import pytest
import scipy.stats
import torch
from torch import Tensor

from vocoder.distributions import Distribution, MixtureOfLogistics
from vocoder.distributions.standard import log1mexp
from vocoder.errors import UserError

ALL_LEVELS = torch.arange(65536, dtype=torch.float64) * 2 / 65535 - 1


def as_params(*components: tuple[float, float, float], dtype: torch.dtype = torch.float64) -> Tensor:
    """Components (logit, mean, log-scale) as params [1, 3M, 1]."""
    return torch.tensor(components, dtype=dtype).T.reshape(1, -1, 1)


def oracle(components: list[tuple[float, float, float]], x: float, levels: int = 65536) -> float:
    """log P(x) by its definition: differences of the CDF, tails at the edges, softmax weights."""
    with mpmath.workdps(50):
        half_bin = mpmath.mpf(1) / (levels - 1)
        total, mass = mpmath.mpf(0), mpmath.mpf(0)
        for logit, mean, log_scale in components:
            scale = mpmath.exp(mpmath.mpf(log_scale))
            upper = (mpmath.mpf(x) + half_bin - mpmath.mpf(mean)) / scale
            lower = (mpmath.mpf(x) - half_bin - mpmath.mpf(mean)) / scale
            if x == -1:
                probability = logistic_cdf(upper)
            elif x == 1:
                probability = logistic_cdf(-lower)
            elif upper > 0:  # the same difference by symmetry, where it does not cancel
                probability = logistic_cdf(-lower) - logistic_cdf(-upper)
            else:
                probability = logistic_cdf(upper) - logistic_cdf(lower)
            weight = mpmath.exp(mpmath.mpf(logit))
            total, mass = total + weight, mass + weight * probability
        return float(mpmath.log(mass / total))


def logistic_cdf(z: mpmath.mpf) -> mpmath.mpf:
    return 1 / (1 + mpmath.exp(-z))


SINGLE = [(0.0, 0.1, -2.0)]
NARROW = [(0.0, 0.25, -12.0)]
AT_THE_TOP = [(0.0, 0.99, -3.0)]
BEYOND_THE_BOTTOM = [(0.0, -2.5, -1.0)]
MIXTURE = [(0.3, -0.4, -5.0), (-1.2, 0.1, -9.0), (2.0, 0.7, -1.0)]
WIDE = [(0.0, 0.3, 2.0), (5.0, -3.0, 1.0)]
TABLE = [
    (components, level)
    for components in (SINGLE, NARROW, AT_THE_TOP, BEYOND_THE_BOTTOM, MIXTURE, WIDE)
    for level in (0, 1, 20000, 32767, 32768, 40960, 65534, 65535)
]


@pytest.mark.parametrize(("components", "level"), TABLE)
def test_log_prob_equals_differences_of_the_cdf(components, level: int) -> None:
    x = float(ALL_LEVELS[level])
    computed = MixtureOfLogistics(len(components)).log_prob(
        as_params(*components), torch.tensor([[x]], dtype=torch.float64)
    )
    assert computed.item() == pytest.approx(oracle(components, x), rel=1e-11, abs=1e-9)


@pytest.mark.parametrize("level", [0, 1, 100, 128, 254, 255])
def test_log_prob_equals_differences_of_the_cdf_at_8_bits(level: int) -> None:
    x = 2 * level / 255 - 1
    computed = MixtureOfLogistics(3, levels=256).log_prob(as_params(*MIXTURE), torch.tensor([[x]], dtype=torch.float64))
    assert computed.item() == pytest.approx(oracle(MIXTURE, x, 256), rel=1e-11, abs=1e-9)


def test_the_lowest_level_takes_the_lower_tail_and_the_highest_the_upper() -> None:
    low, high = scipy.stats.logistic(-1.5, 0.1), scipy.stats.logistic(1.5, 0.1)
    edges = torch.tensor([[-1.0, 1.0]], dtype=torch.float64)
    from_low = MixtureOfLogistics(1).log_prob(as_params((0, -1.5, math.log(0.1))), edges)[0]
    from_high = MixtureOfLogistics(1).log_prob(as_params((0, 1.5, math.log(0.1))), edges)[0]
    half_bin = 1 / 65535
    assert from_low.tolist() == pytest.approx([low.logcdf(-1 + half_bin), low.logsf(1 - half_bin)], rel=1e-9)
    assert from_high.tolist() == pytest.approx([high.logcdf(-1 + half_bin), high.logsf(1 - half_bin)], rel=1e-9)
    assert from_low[0] > -0.01 > -20 > from_low[1]


def test_float32_agrees_with_float64_where_the_scale_is_at_least_half_a_bin() -> None:
    torch.manual_seed(2)
    params = random_params(200, 4, low=-math.log(65535)).float()
    levels = torch.cat((torch.randint(65536, (200, 60)), torch.tensor([[0, 1, 65534, 65535]]).expand(200, -1)), 1)
    x = ALL_LEVELS[levels].float()
    computed = MixtureOfLogistics(4).log_prob(params.expand(-1, -1, 64), x)
    exact = MixtureOfLogistics(4).log_prob(params.double().expand(-1, -1, 64), x.double())
    assert computed.dtype == torch.float32
    torch.testing.assert_close(computed.double(), exact, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("levels", [65536, 256])
def test_total_probability_is_one_for_random_parameters(levels: int) -> None:
    torch.manual_seed(3)
    x = torch.arange(levels, dtype=torch.float64) * 2 / (levels - 1) - 1
    distribution = MixtureOfLogistics(2, levels=levels)
    for params in random_params(100, 2, low=-16).split(1):
        total = distribution.log_prob(params, x[None]).exp().sum().item()
        assert total == pytest.approx(1, abs=1e-6), params


def random_params(count: int, components: int, low: float) -> Tensor:
    """Means in [-3, 3], log-scales from `low` to 2: [count, 3M, 1]."""
    logits = 2 * torch.randn(count, components, dtype=torch.float64)
    means = 6 * torch.rand(count, components, dtype=torch.float64) - 3
    log_scales = low + (2 - low) * torch.rand(count, components, dtype=torch.float64)
    return torch.cat((logits, means, log_scales), 1)[..., None]


def test_probabilities_are_never_above_one() -> None:
    torch.manual_seed(4)
    params = random_params(500, 3, low=-16).float()
    assert (MixtureOfLogistics(3).log_prob(params.expand(-1, -1, 50), on_grid(500, 50)) <= 1e-6).all()


def on_grid(*shape: int) -> Tensor:
    return ALL_LEVELS[torch.randint(65536, shape)].float()


def test_gradients_match_finite_differences() -> None:
    params = as_params(*MIXTURE).expand(-1, -1, 4).clone().requires_grad_()
    x = ALL_LEVELS[torch.tensor([[0, 20000, 36000, 65535]])]
    assert torch.autograd.gradcheck(lambda p: MixtureOfLogistics(3).log_prob(p, x), params)


def test_gradients_are_finite_for_extreme_network_outputs() -> None:
    extremes = [-1e4, -1.0, 0.0, 1.0, 1e4]
    logits, means = torch.tensor(extremes), torch.tensor(extremes)
    log_scales = torch.tensor([-50.0, -16, -12.7, -12.6, -7, 0, 7, 50])
    grid = torch.cartesian_prod(logits, means, log_scales)
    params = torch.stack((grid, grid.roll(37, 0)), 2)  # two different components: [N, 3, 2]
    params = params.flatten(1)[..., None].expand(-1, -1, 5).clone().requires_grad_()
    x = ALL_LEVELS[[0, 1, 32768, 65534, 65535]].float().expand(len(grid), -1)
    log_prob = MixtureOfLogistics(2).log_prob(params, x)
    log_prob.sum().backward()
    assert log_prob.isfinite().all()
    assert params.grad.isfinite().all()


def test_log1mexp_equals_mpmath_over_its_whole_range() -> None:
    z = torch.cat((torch.logspace(-30, 3, 200, dtype=torch.float64), torch.tensor([0.5, 1, 1.001]) * math.log(2)))
    with mpmath.workdps(500):  # for 1 - exp(-1000)
        expected = [float(mpmath.log(-mpmath.expm1(-mpmath.mpf(value)))) for value in z.tolist()]
    np.testing.assert_allclose(log1mexp(z).numpy(), expected, rtol=1e-14, atol=0)


def test_gradients_of_log1mexp_are_finite_and_correct() -> None:
    z = torch.logspace(-30, 3, 100, dtype=torch.float32).requires_grad_()
    log1mexp(z).sum().backward()
    np.testing.assert_allclose(
        z.grad.numpy(), 1 / np.expm1(np.minimum(z.detach().double().numpy(), 700)), rtol=1e-5, atol=1e-37
    )


def test_a_mixture_of_one_component_equals_a_single_logistic() -> None:
    mean, log_scale, x, half_bin = 0.2, -6.0, ALL_LEVELS[39000].item(), 1 / 65535
    reference = scipy.stats.logistic(mean, math.exp(log_scale))
    computed = MixtureOfLogistics(1).log_prob(
        as_params((7.0, mean, log_scale)), torch.tensor([[x]], dtype=torch.float64)
    )
    assert computed.exp().item() == pytest.approx(reference.cdf(x + half_bin) - reference.cdf(x - half_bin), rel=1e-8)


def test_equal_components_equal_one_component() -> None:
    torch.manual_seed(5)
    x = on_grid(1, 100).double()
    one = MixtureOfLogistics(1).log_prob(as_params((0, 0.1, -3)), x)
    three = MixtureOfLogistics(3).log_prob(as_params((0.5, 0.1, -3), (-2, 0.1, -3), (9, 0.1, -3)), x)
    torch.testing.assert_close(one, three, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("shift", "log_scale"), [(0.0, 0.0), (0.3, -4.0), (-0.9, 1.5)])
def test_affine_parameters_are_those_of_the_shifted_and_scaled_variable(shift: float, log_scale: float) -> None:
    moved = [(weight, shift + math.exp(log_scale) * mean, log_scale + log_s) for weight, mean, log_s in MIXTURE]
    params = MixtureOfLogistics(3).affine(
        as_params(*MIXTURE),
        *(torch.tensor([[value]], dtype=torch.float64) for value in (shift, log_scale)),
    )
    for level in (0, 20000, 32768, 65535):
        x = ALL_LEVELS[level].reshape(1, 1)
        computed = MixtureOfLogistics(3).log_prob(params, x)
        assert float(computed) == pytest.approx(oracle(moved, float(x)), abs=1e-9)


def test_permuting_components_or_shifting_logits_has_no_effect() -> None:
    torch.manual_seed(6)
    x = on_grid(1, 100).double()
    permuted = [(logit + 3, *rest) for logit, *rest in (MIXTURE[2], MIXTURE[0], MIXTURE[1])]
    ours, theirs = (MixtureOfLogistics(3).log_prob(as_params(*c), x) for c in (MIXTURE, permuted))
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_autocast_changes_neither_likelihood_nor_draws() -> None:
    torch.manual_seed(7)
    distribution = MixtureOfLogistics(3)
    params, x, u = random_params(4, 3, low=-12).float().expand(-1, -1, 50), on_grid(4, 50), torch.rand(4, 4, 50)
    expected = distribution.log_prob(params, x), distribution.sample(params, u)
    with torch.autocast("cpu", torch.bfloat16):
        found = distribution.log_prob(params, x), distribution.sample(params, u)
    assert torch.equal(expected[0], found[0])
    assert torch.equal(expected[1], found[1])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_parameters_are_converted_to_float32(dtype: torch.dtype) -> None:
    torch.manual_seed(8)
    distribution = MixtureOfLogistics(2)
    params, x, u = random_params(2, 2, low=-12).to(dtype).expand(-1, -1, 9), on_grid(2, 9), torch.rand(2, 3, 9)
    assert torch.equal(distribution.log_prob(params, x), distribution.log_prob(params.float(), x))
    assert torch.equal(distribution.sample(params, u), distribution.sample(params.float(), u))


def test_likelihood_and_draws_have_the_same_floor_on_log_scales() -> None:
    torch.manual_seed(9)
    x, u = ALL_LEVELS[None, 36000:36100].float(), torch.rand(1, 2, 100)
    for distribution in (MixtureOfLogistics(1), MixtureOfLogistics(1, log_scale_min=-7.0)):
        floor = distribution.log_scale_min
        assert floor is not None
        below, at, above = (as_params((0, 0.1, s), dtype=torch.float32).expand(-1, -1, 100) for s in (-50, floor, -2))
        assert torch.equal(distribution.log_prob(below, x), distribution.log_prob(at, x))
        assert torch.equal(distribution.sample(below, u), distribution.sample(at, u))
        assert not torch.equal(distribution.log_prob(above, x), distribution.log_prob(at, x))
    assert MixtureOfLogistics().log_scale_min == pytest.approx(math.log(1 / 65535 / 5))


def test_at_the_floor_one_level_has_98_7_percent_of_a_component() -> None:
    at_a_level = as_params((0, ALL_LEVELS[40000].item(), -50))
    mass = MixtureOfLogistics(1).log_prob(at_a_level, ALL_LEVELS[None, 40000:40001]).exp().item()
    assert mass == pytest.approx(0.9866, abs=1e-4)


def test_draws_and_likelihoods_have_the_shapes_of_the_contract() -> None:
    distribution = MixtureOfLogistics(5)
    assert isinstance(distribution, Distribution)
    assert (distribution.channels, distribution.uniforms) == (15, 6)
    params = torch.zeros(2, 15, 7)
    assert distribution.sample(params, torch.full((2, 6, 7), 0.5)).shape == (2, 7)
    assert distribution.log_prob(params, torch.zeros(2, 7)).shape == (2, 7)
    assert distribution.marginal_params(on_grid(100)).shape == (15,)


def test_at_low_temperature_draws_are_the_mean_of_the_likeliest_component() -> None:
    distribution, u = MixtureOfLogistics(3), torch.rand(1, 4, 1000, generator=torch.Generator().manual_seed(11))
    params = as_params(*MIXTURE, dtype=torch.float32).expand(-1, -1, 1000)
    cold = distribution.sample(params, u, temperature=1e-6)
    assert torch.equal(cold, distribution.grid.round(torch.tensor(0.7)).expand(1, 1000))


def test_temperature_scales_the_spread_and_is_one_by_default() -> None:
    distribution, u = MixtureOfLogistics(1), torch.rand(1, 2, 20000, generator=torch.Generator().manual_seed(12))
    params = as_params((0, 0, -4), dtype=torch.float32).expand(-1, -1, 20000)
    plain = distribution.sample(params, u)
    assert torch.equal(plain, distribution.sample(params, u, temperature=1.0))
    assert (distribution.sample(params, u, temperature=0.5).std() / plain.std()).item() == pytest.approx(0.5, rel=1e-3)


def speech_like_probabilities() -> np.ndarray:
    """Exact probabilities [65536] of Gaussian noise with a log-normally distributed level, similar to speech."""
    deviations = np.exp(scipy.stats.norm(math.log(0.02), 1.5).ppf((np.arange(64) + 0.5) / 64))
    edges = np.concatenate(([-np.inf], (np.arange(1, 65536) - 32768) / 32767.5, [np.inf]))
    return np.mean([np.diff(scipy.stats.norm.cdf(edges, scale=deviation)) for deviation in deviations], axis=0)


@pytest.mark.parametrize(("components", "excess"), [(10, 0.1), (4, 0.1), (2, 0.5), (1, 2.0)])
def test_the_loss_of_marginal_params_is_close_to_the_entropy_of_speech_like_data(
    components: int, excess: float
) -> None:
    probabilities = speech_like_probabilities()
    entropy = -(probabilities * np.log2(probabilities.clip(1e-300))).sum()
    drawn = np.random.default_rng(13).choice(65536, 20000, p=probabilities / probabilities.sum())
    distribution = MixtureOfLogistics(components)
    params = distribution.marginal_params(ALL_LEVELS[drawn].float())
    bits = -distribution.log_prob(params.double()[None, :, None], ALL_LEVELS[None])[0].numpy() / math.log(2)
    assert 0 <= (probabilities * bits).sum() - entropy < excess


def test_marginal_params_of_silence_are_finite() -> None:
    params = MixtureOfLogistics(4).marginal_params(torch.full((1000,), 1 / 65535))
    assert params.isfinite().all()


def test_marginal_params_respect_the_floor_on_log_scales() -> None:
    distribution = MixtureOfLogistics(4, log_scale_min=-7.0)
    quiet = ALL_LEVELS[32700:32840].float()
    assert (distribution.marginal_params(quiet)[8:] >= -7).all()


@pytest.mark.parametrize("arguments", [{"components": 0}, {"components": -1}, {"levels": 2}])
def test_invalid_sizes_are_refused_by_name(arguments: dict[str, int]) -> None:
    (name,) = arguments
    with pytest.raises(UserError, match=f"{name}={arguments[name]}"):
        MixtureOfLogistics(**arguments)


def test_the_floor_depends_on_the_number_of_levels_unless_it_is_given() -> None:
    assert MixtureOfLogistics(levels=256).log_scale_min == pytest.approx(math.log(1 / 255 / 5))
    assert replace(MixtureOfLogistics(), log_scale_min=-9.0).log_scale_min == -9.0


def test_results_are_on_the_device_of_the_parameters() -> None:
    distribution = MixtureOfLogistics(3)
    params, x, u = (
        torch.zeros(2, 9, 5, device="meta"),
        torch.zeros(2, 5, device="meta"),
        torch.zeros(2, 4, 5, device="meta"),
    )
    assert distribution.log_prob(params, x).device.type == "meta"
    assert distribution.sample(params, u).device.type == "meta"
