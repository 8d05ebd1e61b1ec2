"""The Concrete distribution (Gumbel-softmax): torch's classes against the papers, our draws against torch's classes.

ALPHA are unnormalised probabilities of n = 3 classes.
"""

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
import torch
from torch.distributions import RelaxedBernoulli, RelaxedOneHotCategorical
from torch.distributions.relaxed_categorical import ExpRelaxedCategorical
from torch.nn import functional as F

from vocoder.distributions.sampling import gumbel_argmax, gumbel_softmax, standard_gumbel, straight_through

ALPHA = torch.tensor([2.0, 0.5, 1.0], dtype=torch.float64)
TEMPERATURES = [0.3, 0.5, 1.0, 2.0]


def concrete(temperature: float) -> RelaxedOneHotCategorical:
    return RelaxedOneHotCategorical(torch.tensor(temperature, dtype=torch.float64), probs=ALPHA)


def draws(count: int, temperature: float, seed: int = 0) -> torch.Tensor:
    u = torch.rand(count, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return gumbel_softmax(ALPHA.log(), u, 1, temperature)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_the_density_equals_the_papers_formula(temperature: float) -> None:
    x = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    a, n = ALPHA.numpy(), 3
    product = np.prod(a * x.numpy() ** (-temperature - 1))
    expected = math.factorial(n - 1) * temperature ** (n - 1) * product / (a * x.numpy() ** -temperature).sum() ** n
    assert concrete(temperature).log_prob(x).item() == pytest.approx(math.log(expected), rel=1e-9)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_the_density_integrates_to_one_over_the_simplex(temperature: float) -> None:
    distribution = concrete(temperature)

    def density(s: float, t: float) -> float:
        """Density over the logits s of p and t of q; x = (p, (1 - p) q, (1 - p) (1 - q)); corners are at infinity."""
        p, q = 1 / (1 + math.exp(-s)), 1 / (1 + math.exp(-t))
        x = torch.tensor([p, (1 - p) * q, (1 - p) * (1 - q)], dtype=torch.float64)
        jacobian = (1 - p) * p * (1 - p) * q * (1 - q)
        return math.exp(distribution.log_prob(x / x.sum()).item()) * jacobian

    grid = np.linspace(-28, 28, 141)
    values = [[density(s, t) for t in grid] for s in grid]
    total = scipy.integrate.trapezoid(scipy.integrate.trapezoid(values, grid), grid)
    assert total == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_the_largest_weight_is_that_of_a_class_with_its_probability(temperature: float) -> None:
    counts = draws(200_000, temperature).argmax(1).bincount(minlength=3).numpy()
    expected = (ALPHA / ALPHA.sum()).numpy() * 200_000
    assert scipy.stats.chisquare(counts, expected).pvalue > 1e-4


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_our_draws_have_the_distribution_of_torchs(temperature: float) -> None:
    torch.manual_seed(1)
    theirs = concrete(temperature).sample((50_000,))
    ours = draws(50_000, temperature)
    for k in range(3):
        assert scipy.stats.ks_2samp(ours[:, k].numpy(), theirs[:, k].numpy()).pvalue > 1e-4


def test_our_gumbel_softmax_equals_torchs_for_the_same_noise(monkeypatch: pytest.MonkeyPatch) -> None:
    logits, u = torch.randn(4, 5), torch.rand(4, 5)
    monkeypatch.setattr(torch.Tensor, "exponential_", lambda self: (-standard_gumbel(u)).exp())
    theirs = F.gumbel_softmax(logits, tau=0.7, dim=1)
    torch.testing.assert_close(gumbel_softmax(logits, u, 1, 0.7), theirs)


def test_as_the_temperature_goes_to_zero_a_draw_becomes_the_one_hot_vector_of_gumbel_max() -> None:
    u = torch.rand(1000, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    chosen = gumbel_argmax(ALPHA.log(), standard_gumbel(u), 1)[:, 0]
    one_hot = F.one_hot(chosen, 3).double()
    distances = [(gumbel_softmax(ALPHA.log(), u, 1, t) - one_hot).abs().mean().item() for t in (1.0, 0.1, 0.01, 0.001)]
    assert distances == sorted(distances, reverse=True)
    assert distances[-1] < 1e-3


@pytest.mark.parametrize(("temperature", "convex"), [(0.2, True), (0.5, True), (2.0, False)])
def test_up_to_temperature_one_over_n_minus_one_the_density_is_log_convex(temperature: float, convex: bool) -> None:
    distribution, ends = concrete(temperature), torch.distributions.Dirichlet(torch.ones(3, dtype=torch.float64))
    torch.manual_seed(3)
    one, other = ends.sample((2000,)), ends.sample((2000,))
    middle = distribution.log_prob((one + other) / 2)
    chord = (distribution.log_prob(one) + distribution.log_prob(other)) / 2
    below = (middle <= chord + 1e-9).double().mean().item()
    assert (below == 1) == convex


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_the_logarithm_of_concrete_is_exp_concrete(temperature: float) -> None:
    y = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64).log()
    distribution = ExpRelaxedCategorical(torch.tensor(temperature, dtype=torch.float64), probs=ALPHA)
    n = 3
    scores = ALPHA.log() - temperature * y
    kappa = math.lgamma(n) + (n - 1) * math.log(temperature) + scores.sum() - n * scores.logsumexp(0)
    # torch normalises the logits; the density does not depend on their normalisation
    assert distribution.log_prob(y).item() == pytest.approx(kappa.item(), rel=1e-9)


@pytest.mark.parametrize("temperature", TEMPERATURES)
def test_the_binary_case_is_a_sigmoid_of_logistic_noise(temperature: float) -> None:
    torch.manual_seed(4)
    distribution = RelaxedBernoulli(*(torch.tensor(value, dtype=torch.float64) for value in (temperature, 0.7)))
    theirs = distribution.sample((50_000,))
    noise = scipy.stats.logistic.rvs(size=50_000, random_state=5)
    ours = 1 / (1 + np.exp(-(math.log(0.7 / 0.3) + noise) / temperature))
    assert scipy.stats.ks_2samp(ours, theirs.numpy()).pvalue > 1e-4
    u = torch.rand(50_000, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    of_two = gumbel_softmax(torch.tensor([0.7, 0.3], dtype=torch.float64).log(), u, 1, temperature)[:, 0]
    assert scipy.stats.ks_2samp(ours, of_two.numpy()).pvalue > 1e-4


def test_straight_through_has_the_value_of_hard_and_the_gradient_of_soft() -> None:
    logits = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    u, weights = torch.rand(6, 4, dtype=torch.float64), torch.randn(4, dtype=torch.float64)
    soft = gumbel_softmax(logits, u, 1, 0.5)
    hard = F.one_hot(gumbel_argmax(logits, standard_gumbel(u), 1)[:, 0], 4).double()
    through = straight_through(hard, soft)
    assert torch.equal(through.detach().round(), hard)
    (expected,) = torch.autograd.grad((soft * weights).sum(), logits, retain_graph=True)
    (found,) = torch.autograd.grad((through * weights).sum(), logits)
    torch.testing.assert_close(found, expected)
