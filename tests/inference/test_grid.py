"""The grid of two latent variables against the exact answers of a linear-Gaussian model."""

import pytest
import torch
from linear_gaussian import LinearModel, example
from torch import Generator

from aevb.inference.grid import PosteriorGrid
from aevb.model.distributions import DiagonalGaussian
from aevb.model.linear_gaussian import LinearGaussian

pytestmark = pytest.mark.usefixtures("double_precision")

AXIS = torch.linspace(-6, 6, 241, dtype=torch.float64)


@pytest.fixture
def truth() -> LinearGaussian:
    return example(2)


@pytest.fixture
def grid(truth: LinearGaussian) -> PosteriorGrid:
    decoder = LinearModel(5, 2, Generator()).decoder.requires_grad_(False)
    decoder.mean.weight.copy_(truth.weight.T)
    decoder.mean.bias.copy_(truth.bias)
    decoder.log_variance.copy_(truth.variance.log())
    x = truth.sample(20, Generator().manual_seed(0))
    return PosteriorGrid(decoder, x, AXIS, AXIS)


def points(truth: LinearGaussian) -> torch.Tensor:
    return truth.sample(20, Generator().manual_seed(0))


def test_log_likelihood_and_posterior_are_exact(truth: LinearGaussian, grid: PosteriorGrid) -> None:
    x = points(truth)
    torch.testing.assert_close(grid.marginal_loglik(), truth.marginal_loglik(x))
    mean = torch.einsum("nij,i->n", grid.posterior(), AXIS)
    torch.testing.assert_close(mean, truth.posterior(x).mean[:, 0])


def test_the_bound_of_any_gaussian_is_exact(truth: LinearGaussian, grid: PosteriorGrid) -> None:
    x = points(truth)
    q = DiagonalGaussian(0.3 * x[:, :2], torch.full((20, 2), -1.5))
    torch.testing.assert_close(grid.lower_bound(q), truth.lower_bound(x, q))


def test_the_best_gaussian_has_the_posteriors_mean_and_precisions(
    truth: LinearGaussian, grid: PosteriorGrid
) -> None:
    x = points(truth)
    start = DiagonalGaussian(truth.posterior(x).mean + 0.1, torch.full((20, 2), -1.5))
    best = grid.best_gaussian(start, steps=300)
    precision = torch.eye(2) + truth.weight.T @ truth.weight / truth.variance
    torch.testing.assert_close(best.mean, truth.posterior(x).mean, atol=0.01, rtol=0)
    torch.testing.assert_close(
        best.log_variance, -precision.diag().log().expand(20, 2), atol=0.02, rtol=0
    )
    bound = grid.lower_bound(best)
    assert (bound >= grid.lower_bound(start)).all()
    assert (bound < grid.marginal_loglik()).all()


def test_other_dimensions_are_refused() -> None:
    decoder = LinearModel(5, 3, Generator()).decoder
    with pytest.raises(ValueError, match="two latent variables, not 3"):
        PosteriorGrid(decoder, torch.zeros(1, 5), AXIS, AXIS)
