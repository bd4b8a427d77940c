"""Every density against torch.distributions; sampling against its moments."""

import pytest
import torch
from torch import Tensor
from torch import distributions as reference

from aevb.model.distributions import Bernoulli, DiagonalGaussian, standard_normal_log_prob
from aevb.model.randomness import Streams, generator

DTYPES = (torch.float32, torch.float64)


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def log_prob(distribution: reference.Distribution, x: Tensor) -> Tensor:
    """Sum over the last axis, in double precision."""
    values: Tensor = distribution.log_prob(x)
    return values.sum(-1)


def gaussian() -> DiagonalGaussian:
    return DiagonalGaussian(3 * normal(4, 6, 5, seed=1), 2 * normal(4, 6, 5, seed=2))


@pytest.mark.parametrize("dtype", DTYPES)
def test_standard_normal_is_that_of_torch(dtype: torch.dtype) -> None:
    z = 3 * normal(4, 6, 5, dtype=dtype)
    expected = log_prob(reference.Normal(0.0, 1.0), z.double())
    assert expected.shape == (4, 6)
    torch.testing.assert_close(standard_normal_log_prob(z), expected.to(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_diagonal_gaussian_is_that_of_torch(dtype: torch.dtype) -> None:
    q, x = gaussian(), 3 * normal(4, 6, 5)
    expected = log_prob(reference.Normal(q.mean, torch.exp(q.log_variance / 2)), x)
    ours = DiagonalGaussian(q.mean.to(dtype), q.log_variance.to(dtype)).log_prob(x.to(dtype))
    torch.testing.assert_close(ours, expected.to(dtype))


@pytest.mark.parametrize("gradient_of_x", [False, True])
def test_diagonal_gaussian_gradients_are_those_of_finite_differences(gradient_of_x: bool) -> None:
    """Each with an upstream gradient of its own."""
    q, x = gaussian(), (3 * normal(4, 6, 5)).requires_grad_(gradient_of_x)
    leaves = [t.requires_grad_() for t in q]

    def weighted(x: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
        return DiagonalGaussian(mean, log_variance).log_prob(x) * normal(4, 6, seed=9)

    assert torch.autograd.gradcheck(weighted, (x, *leaves))


def test_diagonal_gaussian_gradients_are_those_of_torch_in_single_precision() -> None:
    gradients = []
    for dtype in DTYPES:
        leaves = [t.to(dtype).requires_grad_() for t in (normal(4, 6, 5), *gaussian())]
        x, mean, log_variance = leaves
        values = (
            DiagonalGaussian(mean, log_variance).log_prob(x)
            if dtype == torch.float32
            else log_prob(reference.Normal(mean, torch.exp(log_variance / 2)), x)
        )
        gradients.append(torch.autograd.grad(values.square().mean(), leaves))
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs.float(), rtol=1e-5, atol=1e-4)


def test_diagonal_gaussian_broadcasts_as_torch_does() -> None:
    """L samples of z, their axis first, under one q: log q(z|x) needs no repeated q."""
    q, z = gaussian(), normal(3, 4, 6, 5)
    expected = log_prob(reference.Normal(q.mean, torch.exp(q.log_variance / 2)), z)
    torch.testing.assert_close(q.log_prob(z), expected)
    one_variance = DiagonalGaussian(q.mean, q.log_variance[..., :1])
    repeated = DiagonalGaussian(q.mean, q.log_variance[..., :1].expand_as(q.mean))
    torch.testing.assert_close(one_variance.log_prob(q.mean), repeated.log_prob(q.mean))


def test_diagonal_gaussian_second_derivatives_are_right() -> None:
    q, x = gaussian(), normal(4, 6, 5)
    mean = q.mean.requires_grad_()

    def second(log_density: Tensor) -> Tensor:
        value = log_density.square().sum()
        (gradient,) = torch.autograd.grad(value, mean, create_graph=True)
        return torch.autograd.grad(gradient.sum(), mean)[0]

    expected = second(log_prob(reference.Normal(mean, torch.exp(q.log_variance / 2)), x))
    ours = second(DiagonalGaussian(mean, q.log_variance).log_prob(x))
    torch.testing.assert_close(ours, expected)


def test_diagonal_gaussian_with_zero_parameters_is_the_standard_normal() -> None:
    z = normal(6, 5)
    q = DiagonalGaussian(torch.zeros_like(z), torch.zeros_like(z))
    torch.testing.assert_close(q.log_prob(z), standard_normal_log_prob(z))


def test_diagonal_gaussian_integrates_to_one() -> None:
    grid = torch.linspace(-30, 30, 20_001, dtype=torch.float64)[:, None]
    q = DiagonalGaussian(torch.full_like(grid, 1.5), torch.full_like(grid, 0.8))
    assert torch.trapezoid(q.log_prob(grid).exp(), grid[:, 0]).item() == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize("dtype", DTYPES)
def test_bernoulli_on_binary_pixels_is_that_of_torch(dtype: torch.dtype) -> None:
    logits, x = 5 * normal(4, 6, 784), (normal(4, 6, 784, seed=1) > 0).double()
    expected = log_prob(reference.Bernoulli(logits=logits), x)
    ours = Bernoulli(logits.to(dtype)).log_prob(x.to(dtype))
    torch.testing.assert_close(ours, expected.to(dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_bernoulli_on_grey_pixels_is_the_cross_entropy(dtype: torch.dtype) -> None:
    """Grey pixels are soft targets: x log y + (1 − x) log(1 − y), not thresholded."""
    logits, x = 5 * normal(4, 6, 784), torch.sigmoid(normal(4, 6, 784, seed=1))
    y = torch.sigmoid(logits)
    expected = (x * y.log() + (1 - x) * (1 - y).log()).sum(-1)
    soft = reference.Bernoulli(logits=logits, validate_args=False)
    torch.testing.assert_close(expected, log_prob(soft, x))
    ours = Bernoulli(logits.to(dtype)).log_prob(x.to(dtype))
    torch.testing.assert_close(ours, expected.to(dtype))


def test_bernoulli_probabilities_of_all_images_sum_to_one() -> None:
    images = torch.cartesian_prod(*[torch.tensor([0.0, 1.0]).double()] * 4)
    total = Bernoulli(3 * normal(4)).log_prob(images).exp().sum()
    assert total.item() == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("dtype", DTYPES)
def test_bernoulli_is_stable_at_large_logits(dtype: torch.dtype) -> None:
    """At |logit| = 100 sigmoid rounds to 0 or 1, whose logarithm is not finite."""
    logits = torch.tensor([100.0, 100.0, -100.0, -100.0, 100.0], dtype=dtype, requires_grad=True)
    x = torch.tensor([1.0, 0.0, 1.0, 0.0, 0.25], dtype=dtype)
    pixels = Bernoulli(logits[:, None]).log_prob(x[:, None])
    torch.testing.assert_close(pixels, torch.tensor([0.0, -100.0, -100.0, 0.0, -75.0], dtype=dtype))
    (gradient,) = torch.autograd.grad(pixels.sum(), logits)
    torch.testing.assert_close(gradient, torch.tensor([0.0, -1.0, 1.0, 0.0, -0.75], dtype=dtype))


@pytest.mark.parametrize("dtype", DTYPES)
def test_bernoulli_gradient_is_target_minus_mean(dtype: torch.dtype) -> None:
    logits = (4 * normal(50, 3)).to(dtype).requires_grad_()
    x = torch.sigmoid(normal(50, 3, seed=1)).to(dtype)
    (gradient,) = torch.autograd.grad(Bernoulli(logits).log_prob(x).sum(), logits)
    torch.testing.assert_close(gradient, (x - torch.sigmoid(logits)).detach())


@pytest.mark.parametrize("logit", [-40.0, -15.0, 0.0, 15.0, 40.0])
def test_bernoulli_error_in_single_precision_is_below_a_millionth_of_a_nat(logit: float) -> None:
    for x in (0.0, 0.5, 1.0):
        exact = reference.Bernoulli(logits=torch.tensor(logit).double(), validate_args=False)
        expected = log_prob(exact, torch.tensor([x]).double()).item()
        ours = Bernoulli(torch.tensor([logit])).log_prob(torch.tensor([x])).item()
        assert ours == pytest.approx(expected, abs=1e-6)


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


def test_gaussian_draws_have_the_stated_moments() -> None:
    rows = 100_000
    mean = torch.tensor([[0.0, -3.0, 10.0], [1.0, 2.0, 3.0]])[:, None].expand(2, rows, 3)
    variance = torch.tensor([[1.0, 0.04, 9.0], [0.5, 4.0, 1.0]])[:, None].expand(2, rows, 3)
    streams = Streams([generator(seed, "noise") for seed in (0, 1)], [3, 3])
    x = DiagonalGaussian(mean, variance.log()).draw(streams)
    assert x.shape == (2, rows, 3)
    z_scores = (x.mean(1) - mean[:, 0]) / (variance[:, 0] / rows).sqrt()
    assert z_scores.abs().max() < 4
    torch.testing.assert_close(x.var(1), variance[:, 0], rtol=4 * (2 / rows) ** 0.5, atol=0)
    assert (torch.corrcoef(x[0].T) - torch.eye(3)).abs().max() < 5 / rows**0.5


def test_bernoulli_draws_are_binary_with_the_stated_mean() -> None:
    rows = 100_000
    logits = torch.tensor([[0.0, -3.0, 2.0], [1.0, -100.0, 100.0]])[:, None].expand(2, rows, 3)
    streams = Streams([generator(seed, "noise") for seed in (0, 1)], [2, 2])
    x = Bernoulli(logits).draw(streams)
    assert x.shape == (2, rows, 3)
    assert x.dtype == logits.dtype
    assert set(x.flatten().tolist()) == {0.0, 1.0}
    p = torch.sigmoid(logits[:, 0])
    assert ((x.mean(1) - p).abs() <= 4 * (p * (1 - p) / rows).sqrt()).all()


def test_monte_carlo_entropy_of_a_gaussian_is_that_of_torch() -> None:
    rows = 50_000
    q = DiagonalGaussian(torch.ones(1, rows, 2), torch.tensor([-1.0, 2.0]).expand(1, rows, 2))
    log_q = q.log_prob(q.draw(Streams([generator(0, "noise")], [2])))
    entropy: Tensor = reference.Normal(1.0, torch.tensor([-0.5, 1.0]).exp()).entropy()  # type: ignore[no-untyped-call]
    error = log_q.std().item() / rows**0.5
    assert -log_q.mean().item() == pytest.approx(entropy.sum().item(), abs=4 * error)
