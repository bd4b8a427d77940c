"""The KL of Appendix B and the estimators of the bound, against known answers.

Estimators are checked on the linear-Gaussian model, whose bound and likelihood are exact. Monte
Carlo means are compared within four of their own standard errors, with fixed seeds.
"""

import math

import pytest
import torch
from linear_gaussian import example, log_px_given_z, normal
from torch import Generator, Tensor
from torch.distributions import Normal, kl_divergence

from aevb.model.bound import estimator_a, estimator_b, importance_weighted, kl_to_standard_normal
from aevb.model.distributions import DiagonalGaussian, standard_normal_log_prob
from aevb.model.linear_gaussian import LinearGaussian

DRAWS = 40_000


def setting(nz: int = 2) -> tuple[LinearGaussian, Tensor, DiagonalGaussian]:
    """A model, three datapoints and a q somewhat off their posteriors."""
    model = example(nz)
    x = model.sample(3, Generator().manual_seed(8))
    best = model.best_diagonal(x)
    return model, x, DiagonalGaussian(best.mean + 0.2, best.log_variance + 0.4)


def terms(
    model: LinearGaussian, x: Tensor, q: DiagonalGaussian, *draws: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Log p(x|z), log p(z) and log q(z|x) at z ~ q, `(*draws, rows)` each."""
    z = q.sample(normal(*draws, *q.mean.shape))
    return log_px_given_z(model, x, z), standard_normal_log_prob(z), q.log_prob(z)


def assert_mean_is(values: Tensor, expected: Tensor) -> None:
    """The mean over the first axis, within four standard errors."""
    z_scores = (values.mean(0) - expected) / (values.std(0) / len(values) ** 0.5)
    assert z_scores.abs().max() < 4, z_scores


def test_kl_is_that_of_torch() -> None:
    q = DiagonalGaussian(3 * normal(4, 6, 5, seed=1), 2 * normal(4, 6, 5, seed=2))
    scale = torch.exp(q.log_variance / 2)
    expected = kl_divergence(Normal(q.mean, scale), Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(kl_to_standard_normal(q), expected)


def test_kl_of_the_prior_is_zero_with_zero_gradient() -> None:
    q = DiagonalGaussian(torch.zeros(3, requires_grad=True), torch.zeros(3, requires_grad=True))
    kl = kl_to_standard_normal(q)
    assert kl.item() == 0
    for gradient in torch.autograd.grad(kl, q):
        assert not gradient.any()


def test_kl_of_a_hand_computed_case() -> None:
    # One dimension: ½ (μ² + σ² − 1 − log σ²).
    q = DiagonalGaussian(torch.tensor([2.0]), torch.tensor([4.0]).log())
    assert kl_to_standard_normal(q).item() == pytest.approx(0.5 * (4 + 4 - 1 - math.log(4)))


@pytest.mark.parametrize("n_samples", [1, 4])
def test_estimators_a_and_b_are_unbiased(n_samples: int) -> None:
    model, x, q = setting()
    log_px, log_pz, log_qz = terms(model, x, q, n_samples, DRAWS)
    a = estimator_a(log_px, log_pz, log_qz)
    b = estimator_b(log_px, kl_to_standard_normal(q))
    assert a.shape == b.shape == (DRAWS, 3)
    exact = model.lower_bound(x, q)
    assert_mean_is(a, exact)
    assert_mean_is(b, exact)
    # With common noise the difference has less noise than either.
    assert_mean_is(a - b, torch.zeros(3))


def test_more_samples_lower_the_variance_in_proportion() -> None:
    model, x, q = setting()
    kl = kl_to_standard_normal(q)
    one, five = terms(model, x, q, 1, DRAWS), terms(model, x, q, 5, DRAWS)
    for ratio in (
        estimator_a(*one).var(0) / estimator_a(*five).var(0),
        estimator_b(one[0], kl).var(0) / estimator_b(five[0], kl).var(0),
    ):
        torch.testing.assert_close(ratio, torch.full((3,), 5.0).double(), rtol=0.05, atol=0)


def test_estimator_b_has_less_variance_where_q_and_decoder_agree_little() -> None:
    """The case the paper has in mind: early in training, log q(z|x) is noise to log p(x|z)."""
    faint = LinearGaussian(0.05 * example(2).weight, example(2).bias, torch.tensor(1.0))
    _, x, _ = setting()
    q = DiagonalGaussian(0.5 * normal(3, 2, seed=1), torch.full((3, 2), -1.0).double())
    log_px, log_pz, log_qz = terms(faint, x, q, 1, DRAWS)
    a = estimator_a(log_px, log_pz, log_qz)
    b = estimator_b(log_px, kl_to_standard_normal(q))
    assert (b.var(0) < 0.1 * a.var(0)).all()


def test_estimator_a_has_no_variance_at_the_exact_posterior() -> None:
    """There log p(x, z) − log q(z|x) is log p(x) whatever z: only "typically" is B the better."""
    model, x, _ = setting(nz=1)
    q = model.best_diagonal(x)
    log_px, log_pz, log_qz = terms(model, x, q, 1, 1000)
    a = estimator_a(log_px, log_pz, log_qz)
    torch.testing.assert_close(a, model.marginal_loglik(x).expand(1000, 3))
    b = estimator_b(log_px, kl_to_standard_normal(q))
    assert (b.std(0) > 0.1).all()


def test_importance_weighted_bound_with_one_sample_is_estimator_a() -> None:
    values = terms(*setting(), 1, 100)
    torch.testing.assert_close(importance_weighted(*values), estimator_a(*values))


def test_importance_weighted_bound_is_the_log_of_the_mean_weight() -> None:
    log_px, log_pz, log_qz = terms(*setting(), 10)
    expected = torch.exp(log_px + log_pz - log_qz).mean(0).log()
    torch.testing.assert_close(importance_weighted(log_px, log_pz, log_qz), expected)


def test_importance_weights_far_below_the_smallest_number_do_not_underflow() -> None:
    log_px, zero = torch.full((8, 3), -5000.0), torch.zeros(8, 3)
    torch.testing.assert_close(importance_weighted(log_px, zero, zero), log_px[0])


def test_importance_weighted_bound_rises_to_the_marginal_loglik() -> None:
    """Its mean rises with L, stays below log p(x), and reaches it.

    The groups of draws are nested, so that the means rise by Jensen's inequality without any noise.
    q is broader than the posterior: the weights are bounded.
    """
    model, x, q = setting()
    exact = model.marginal_loglik(x)
    values = terms(model, x, q, 2**18)
    means, gaps = [], []
    for n_samples in (1, 2, 4, 16, 64, 1024):
        bound = importance_weighted(*(t.view(n_samples, -1, 3) for t in values))
        error = bound.std(0) / len(bound) ** 0.5
        assert (bound.mean(0) < exact + 4 * error).all()
        means.append(bound.mean(0))
        gaps.append((exact - bound.mean(0)).max().item())
    assert (torch.stack(means).diff(dim=0) > 0).all()
    assert gaps[0] == pytest.approx(model.gap(x, q).max().item(), rel=0.05)
    assert gaps[-1] < 0.005
