"""Every density against torch.distributions; sampling against its moments."""

import pytest
import torch
from linear_gaussian import normal
from torch import Tensor
from torch import distributions as reference

from aevb.model.distributions import Bernoulli, DiagonalGaussian, standard_normal_log_prob
from aevb.model.randomness import generator

both_precisions = pytest.mark.parametrize("dtype", [torch.float32, torch.float64])


def log_prob(distribution: reference.Distribution, x: Tensor) -> Tensor:
    """Sum over the last axis, in double precision."""
    values: Tensor = distribution.log_prob(x)
    return values.sum(-1)


def gaussian() -> DiagonalGaussian:
    return DiagonalGaussian(3 * normal(4, 6, 5, seed=1), 2 * normal(4, 6, 5, seed=2))


def torchs(q: DiagonalGaussian) -> reference.Normal:
    return reference.Normal(q.mean, torch.exp(q.log_variance / 2))


def soft_bernoulli(logits: Tensor) -> reference.Bernoulli:
    """Grey pixels are soft targets: x log y + (1 − x) log(1 − y), not thresholded."""
    return reference.Bernoulli(logits=logits, validate_args=False)


@both_precisions
def test_standard_normal_is_that_of_torch(dtype: torch.dtype) -> None:
    z = 3 * normal(4, 6, 5).to(dtype)
    expected = log_prob(reference.Normal(0.0, 1.0), z.double())
    torch.testing.assert_close(standard_normal_log_prob(z), expected.to(dtype))


@both_precisions
def test_diagonal_gaussian_and_its_gradients_are_those_of_torch(dtype: torch.dtype) -> None:
    """Of a function with another upstream gradient for every datapoint."""
    doubles = [t.requires_grad_() for t in (3 * normal(4, 6, 5), *gaussian())]
    leaves = [t.detach().to(dtype).requires_grad_() for t in doubles]
    expected = log_prob(torchs(DiagonalGaussian(*doubles[1:])), doubles[0])
    ours = DiagonalGaussian(*leaves[1:]).log_prob(leaves[0])
    torch.testing.assert_close(ours, expected.to(dtype))
    gradients = torch.autograd.grad(ours.square().mean(), leaves)
    for g, theirs in zip(
        gradients, torch.autograd.grad(expected.square().mean(), doubles), strict=True
    ):
        torch.testing.assert_close(g, theirs.to(dtype), rtol=1e-5, atol=1e-4)


def test_diagonal_gaussian_broadcasts_as_torch_does() -> None:
    """L samples of z, their axis first, under one q: log q(z|x) needs no repeated q."""
    q, z = gaussian(), normal(3, 4, 6, 5)
    torch.testing.assert_close(q.log_prob(z), log_prob(torchs(q), z))
    one_variance = DiagonalGaussian(q.mean, q.log_variance[..., :1])
    torch.testing.assert_close(one_variance.log_prob(z), log_prob(torchs(one_variance), z))


@both_precisions
@pytest.mark.parametrize("grey", [False, True])
def test_bernoulli_is_the_cross_entropy_of_torch(grey: bool, dtype: torch.dtype) -> None:
    logits, x = 5 * normal(4, 6, 784), torch.sigmoid(normal(4, 6, 784, seed=1))
    x = x if grey else x.round()
    expected = log_prob(soft_bernoulli(logits), x)
    ours = Bernoulli(logits.to(dtype)).log_prob(x.to(dtype))
    torch.testing.assert_close(ours, expected.to(dtype))


def test_bernoulli_of_a_hand_computed_case() -> None:
    y, x = torch.tensor([0.2, 0.9]), torch.tensor([0.25, 1.0])
    expected = 0.25 * torch.tensor(0.2).log() + 0.75 * torch.tensor(0.8).log()
    expected = expected + torch.tensor(0.9).log()
    torch.testing.assert_close(Bernoulli(torch.logit(y)).log_prob(x), expected)


@both_precisions
def test_bernoulli_is_stable_at_large_logits(dtype: torch.dtype) -> None:
    """At |logit| = 100 sigmoid rounds to 0 or 1, whose logarithm is not finite."""
    logits = torch.tensor([100.0, 100.0, -100.0, -100.0, 100.0], dtype=dtype, requires_grad=True)
    x = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.25], dtype=dtype)
    pixels = Bernoulli(logits[:, None]).log_prob(x[:, None])
    torch.testing.assert_close(pixels, torch.tensor([0.0, -100.0, -100.0, 0.0, -75.0], dtype=dtype))
    (gradient,) = torch.autograd.grad(pixels.sum(), logits)
    torch.testing.assert_close(gradient, torch.tensor([0.0, -1.0, 1.0, 0.0, -0.75], dtype=dtype))


@both_precisions
def test_bernoulli_gradient_is_target_minus_mean(dtype: torch.dtype) -> None:
    logits = (4 * normal(50, 3)).to(dtype).requires_grad_()
    x = torch.sigmoid(normal(50, 3, seed=1)).to(dtype)
    (gradient,) = torch.autograd.grad(Bernoulli(logits).log_prob(x).sum(), logits)
    torch.testing.assert_close(gradient, (x - torch.sigmoid(logits)).detach())


def test_bernoulli_error_in_single_precision_is_below_a_millionth_of_a_nat() -> None:
    logits, x = torch.cartesian_prod(
        torch.tensor([-40.0, -15.0, 0.0, 15.0, 40.0]), torch.tensor([0.0, 0.5, 1.0])
    ).T[..., None]
    expected = log_prob(soft_bernoulli(logits.double()), x.double())
    ours = Bernoulli(logits).log_prob(x).double()
    torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-6)


def test_bernoulli_mean_is_the_probability_of_ink() -> None:
    logits = 3 * normal(4, 5)
    torch.testing.assert_close(Bernoulli(logits).mean, reference.Bernoulli(logits=logits).probs)


def test_gaussian_sample_is_location_plus_scale_times_noise() -> None:
    q = DiagonalGaussian(torch.tensor([1.0, -2.0]), torch.tensor([0.0, 4.0]).log())
    # A variance of zero: the sample is the mean, whatever the noise.
    torch.testing.assert_close(q.sample(torch.tensor([5.0, 3.0])), torch.tensor([1.0, 4.0]))


def test_gaussian_sample_passes_gradients_to_mean_and_log_variance() -> None:
    q, noise = gaussian(), normal(4, 6, 5, seed=3)
    leaves = [t.requires_grad_() for t in q]
    by_mean, by_log_variance = torch.autograd.grad(q.sample(noise).sum(), leaves)
    torch.testing.assert_close(by_mean, torch.ones_like(by_mean))
    expected = 0.5 * torch.exp(q.log_variance / 2) * noise
    torch.testing.assert_close(by_log_variance, expected.detach())


ROWS = 100_000


def test_gaussian_draws_have_the_stated_moments() -> None:
    mean, variance = torch.tensor([0.0, -3.0, 10.0]), torch.tensor([1.0, 0.04, 9.0])
    q = DiagonalGaussian(mean.expand(ROWS, 3), variance.log().expand(ROWS, 3))
    x = q.draw(generator(0, "noise"))
    assert x.shape == (ROWS, 3)
    assert ((x.mean(0) - mean) / (variance / ROWS).sqrt()).abs().max() < 4
    torch.testing.assert_close(x.var(0), variance, rtol=4 * (2 / ROWS) ** 0.5, atol=0)
    assert (torch.corrcoef(x.T) - torch.eye(3)).abs().max() < 5 / ROWS**0.5


def test_bernoulli_draws_are_binary_with_the_stated_mean() -> None:
    logits = torch.tensor([0.0, -3.0, 2.0, -100.0, 100.0])
    x = Bernoulli(logits.expand(ROWS, 5)).draw(generator(0, "noise"))
    assert x.shape == (ROWS, 5)
    assert x.dtype == logits.dtype
    assert set(x.flatten().tolist()) == {0.0, 1.0}
    p = torch.sigmoid(logits)
    assert ((x.mean(0) - p).abs() <= 4 * (p * (1 - p) / ROWS).sqrt()).all()
    independent = torch.eye(3)
    assert (torch.corrcoef(x[:, :3].T) - independent).abs().max() < 5 / ROWS**0.5
