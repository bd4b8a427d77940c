"""The answers of decoders with one latent variable, against integrals, probes and each other."""

import pytest
import torch
from torch import Tensor

from aevb.model import scalar
from aevb.model.distributions import DiagonalGaussian
from aevb.model.scalar import CubicDecoder, SquareDecoder

X = torch.tensor([-1.0, 0.3, 1.0, 2.0, 4.0], dtype=torch.float64)
SQUARE = SquareDecoder(c=0.8, b=0.2, s=0.6)


def some_q() -> tuple[Tensor, Tensor]:
    mean = torch.tensor([0.1, -0.4, 0.9, 1.3, -2.0], dtype=torch.float64)
    return mean, torch.tensor([0.3, 0.5, 0.2, 0.1, 0.4], dtype=torch.float64)


@pytest.mark.parametrize("decoder", [SQUARE, CubicDecoder()], ids=["square", "cubic"])
def test_the_density_of_x_integrates_to_one(decoder: torch.nn.Module) -> None:
    x = torch.linspace(-60, 60, 12001, dtype=torch.float64)
    density = torch.cat(
        [scalar.marginal_loglik(decoder, part[:, None]) for part in torch.split(x, 500)]
    )
    assert torch.trapezoid(density.exp(), x).item() == pytest.approx(1, abs=1e-3)


def test_the_bound_in_closed_form_is_the_sum_over_the_grid() -> None:
    mean, variance = some_q()
    q = DiagonalGaussian(mean[:, None], variance.log()[:, None])
    closed = scalar.square_bound(SQUARE, X, mean, variance)
    torch.testing.assert_close(closed, scalar.lower_bound(SQUARE, X[:, None], q))
    assert (closed < scalar.marginal_loglik(SQUARE, X[:, None])).all()


def test_no_other_mean_or_variance_has_a_higher_bound() -> None:
    best = scalar.square_bound(SQUARE, X, *scalar.highest_bound(SQUARE, X))
    for mean in torch.linspace(-3, 3, 61, dtype=torch.float64):
        for variance in torch.logspace(-3, 1, 61, dtype=torch.float64):
            other = scalar.square_bound(SQUARE, X, mean.expand(5), variance.expand(5))
            assert (other <= best + 1e-9).all()


def test_the_posterior_of_a_decoder_that_ignores_z_is_the_prior() -> None:
    mean, variance = scalar.posterior_moments(SquareDecoder(0.0, 1.0, 2.0), X)
    torch.testing.assert_close(mean, torch.zeros_like(X))
    torch.testing.assert_close(variance, torch.ones_like(X))


def test_the_posterior_moments_agree_with_a_weighted_sample_of_the_prior() -> None:
    z = torch.randn(1_000_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    decoder = CubicDecoder()
    for x, mean, variance in zip(X, *scalar.posterior_moments(decoder, X), strict=True):
        with torch.no_grad():
            weight = decoder(z[:, None]).log_prob(x.expand(1)).softmax(0)
        assert (weight @ z).item() == pytest.approx(mean.item(), abs=0.01)
        assert (weight @ z**2).item() - mean.item() ** 2 == pytest.approx(variance.item(), abs=0.01)


def test_no_other_decoder_has_a_higher_mean_bound_given_q() -> None:
    q = some_q()
    best = scalar.best_square_decoder(X, *q)
    highest = scalar.square_bound(best, X, *q).mean()
    c, b, s = best.c.item(), best.b.item(), (best.log_variance / 2).exp().item()
    for change in ((0.01, 0, 1), (-0.01, 0, 1), (0, 0.01, 1), (0, -0.01, 1), (0, 0, 1.01)):
        other = SquareDecoder(c + change[0], b + change[1], s * change[2])
        assert scalar.square_bound(other, X, *q).mean() < highest
