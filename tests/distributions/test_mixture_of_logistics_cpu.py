"""The compiled likelihood of a mixture of logistics agrees with the plain one in float64, and so do its gradients."""

import mpmath
import numpy as np
import pytest
import torch
from torch import Tensor

from vocoder.distributions import MixtureOfLogistics
from vocoder.distributions.mixture import Mixture


def inputs(batch: int, samples: int, components: int, levels: int = 65536) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """params, x with all kinds of bins, shift and log-scale of an affine map."""
    torch.manual_seed(0)
    params = torch.randn(batch, samples, 3 * components)
    params[..., components : 2 * components] *= 0.3
    params[..., 2 * components :] = params[..., 2 * components :] * 3 - 4  # some below the floor
    x = MixtureOfLogistics(components, levels).grid.round(torch.rand(batch, samples) * 2.4 - 1.2)  # some at full scale
    shift, log_scale = 0.1 * torch.randn(batch, samples), torch.randn(batch, samples) - 1
    return params.transpose(1, 2), x, shift, log_scale


def outcome(likelihood, params: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[no-untyped-def]
    """Log-probabilities, and the gradient of a weighted sum of them, in float64."""
    leaf = params.detach().clone(memory_format=torch.preserve_format).requires_grad_()
    log_prob = likelihood(leaf)
    weights = torch.linspace(-1, 2, log_prob.shape[1], dtype=log_prob.dtype)
    (log_prob * weights).sum().backward()
    return log_prob.detach().double(), leaf.grad.double()


@pytest.mark.parametrize("levels", [65536, 256, 255])
@pytest.mark.parametrize(("batch", "samples", "components"), [(2, 500, 10), (3, 1, 1), (1, 64, 3), (1, 130, 17)])
@pytest.mark.parametrize("mapped", [False, True])
def test_values_and_gradients_are_as_good_as_those_of_plain_torch(
    batch: int, samples: int, components: int, levels: int, mapped: bool
) -> None:
    distribution = MixtureOfLogistics(components, levels)
    params, x, shift, log_scale = inputs(batch, samples, components, levels)

    def compiled(p: Tensor) -> Tensor:
        return distribution.affine_log_prob(p, shift, log_scale, x) if mapped else distribution.log_prob(p, x)

    def plain(p: Tensor) -> Tensor:
        given = distribution.affine(p, shift.to(p.dtype), log_scale.to(p.dtype)) if mapped else p
        return Mixture.log_prob(distribution, given, x.to(p.dtype))

    (exact, exact_gradient), (value, gradient) = outcome(plain, params.double()), outcome(compiled, params)
    rounded, rounded_gradient = outcome(plain, params)
    # Where x lies far from every mean in scales, float32 inputs decide the error; no implementation does better.
    assert (value - exact).abs().max() <= 1.5 * (rounded - exact).abs().max() + 1e-5
    assert (gradient - exact_gradient).norm() <= 1.5 * (
        rounded_gradient - exact_gradient
    ).norm() + 1e-5 * exact_gradient.norm()
    close = (rounded - exact).abs() < 1e-6
    assert ((value - exact).abs()[close] < 1e-5).all()


@mpmath.workdps(60)
def test_one_logistic_equals_mpmath_from_narrow_bins_to_wide_and_into_the_tails() -> None:
    distribution, half = MixtureOfLogistics(1), 1 / 65535
    for log_scale in (-12.5, -10.5, -10.1, -9.8, -7.0, -2.0, 3.0, 30.0):
        for level in (0, 1, 30000, 32768, 65534, 65535):
            x = float(np.float32(-1 + 2 * level / 65535))
            mean = float(np.float32(x + 3 * half))
            params = torch.tensor([[[0.0], [mean], [log_scale]]])
            found = float(distribution.log_prob(params, torch.tensor([[x]])))
            s, z = mpmath.exp(mpmath.mpf(float(np.float32(log_scale)))), mpmath.mpf(x) - mpmath.mpf(mean)
            upper, lower = ((z + edge) / s for edge in (half, -half))
            mass = sigmoid(upper) - sigmoid(lower)
            if level in (0, 65535):
                mass = sigmoid(upper) if level == 0 else 1 - sigmoid(lower)
            assert found == pytest.approx(float(mpmath.log(mass)), rel=2e-5, abs=2e-5), (log_scale, level)


def sigmoid(z: mpmath.mpf) -> mpmath.mpf:
    return 1 / (1 + mpmath.exp(-z))


@pytest.mark.parametrize("channel", [1, 4, 7])
def test_not_a_number_passes_through_and_stays_in_its_sample(channel: int) -> None:
    params, x, _, _ = inputs(1, 100, 3)
    params = params.clone()
    params[0, channel, 50] = torch.nan
    log_prob = MixtureOfLogistics(3).log_prob(params, x)
    assert log_prob.isnan().nonzero().tolist() == [[0, 50]]


def test_a_component_at_infinity_has_no_weight() -> None:
    params, x, _, _ = inputs(1, 1, 3)
    params = params.clone()
    params[0, 3, 0] = torch.inf
    x = torch.zeros(1, 1)
    expected = Mixture.log_prob(MixtureOfLogistics(3), params.double(), x.double())
    torch.testing.assert_close(MixtureOfLogistics(3).log_prob(params, x).double(), expected, rtol=1e-5, atol=1e-5)


def test_a_sample_has_the_same_likelihood_in_any_batch_and_with_any_number_of_threads() -> None:
    distribution, (params, x, shift, log_scale) = MixtureOfLogistics(10), inputs(2, 333, 10)
    whole, before = distribution.affine_log_prob(params, shift, log_scale, x), torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = distribution.affine_log_prob(params[:1, :, 100:101], *(a[:1, 100:101] for a in (shift, log_scale, x)))
        assert torch.equal(distribution.affine_log_prob(params, shift, log_scale, x), whole)
    finally:
        torch.set_num_threads(before)
    assert torch.equal(alone, whole[:1, 100:101])


def test_gradients_of_samples_or_of_the_affine_map_are_those_of_plain_torch() -> None:
    """The compiled loops have none, so they are not used where one is asked for."""
    distribution, (params, x, shift, log_scale) = MixtureOfLogistics(3), inputs(1, 20, 3)
    for wanted in (shift, log_scale, x):
        wanted.requires_grad_()
        distribution.affine_log_prob(params, shift, log_scale, x).sum().backward()
        assert wanted.grad is not None
        assert wanted.grad.abs().max() > 0
        wanted.requires_grad_(False)


def test_parameters_are_broadcast_over_samples_as_in_plain_torch() -> None:
    """The compiled loops would read beyond them, so they are not used."""
    distribution, (params, x, shift, log_scale) = MixtureOfLogistics(3), inputs(2, 40, 3)
    one = params[:1, :, :1]
    expected = distribution.log_prob(one.expand(2, -1, 40), x)
    torch.testing.assert_close(distribution.log_prob(one, x), expected, rtol=1e-5, atol=1e-5)
    expected = distribution.affine_log_prob(params, shift[:1].expand(2, -1), log_scale, x)
    torch.testing.assert_close(
        distribution.affine_log_prob(params, shift[:1], log_scale, x), expected, rtol=1e-5, atol=1e-5
    )
