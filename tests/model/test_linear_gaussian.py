"""The exact linear-Gaussian answers against Bayes' rule, numerical integrals and optimisers."""

import math

import pytest
import scipy.integrate
import torch
from linear_gaussian import example, log_px_given_z, normal
from torch import Generator, Tensor

from aevb.model.distributions import DiagonalGaussian, standard_normal_log_prob
from aevb.model.linear_gaussian import LinearGaussian, maximum_likelihood

NZ = (1, 2, 3)


def datapoints(rows: int = 200, nz: int = 2) -> Tensor:
    return example(nz).sample(rows, Generator().manual_seed(0))


def some_q(rows: int, nz: int) -> DiagonalGaussian:
    return DiagonalGaussian(normal(rows, nz, seed=5), normal(rows, nz, seed=6))


@pytest.mark.parametrize("nz", NZ)
def test_bayes_rule_holds_at_every_z(nz: int) -> None:
    model, x, z = example(nz), normal(20, 5, seed=1), normal(20, nz, seed=2)
    log_joint = standard_normal_log_prob(z) + log_px_given_z(model, x, z)
    log_posterior = model.posterior(x).log_prob(z)  # type: ignore[no-untyped-call]
    torch.testing.assert_close(
        log_joint - log_posterior, model.marginal_loglik(x), rtol=1e-10, atol=0
    )


def test_marginal_loglik_is_the_integral_over_z() -> None:
    model, x = example(1), normal(5, seed=1)

    def joint(z: float) -> float:
        latent = torch.tensor([z], dtype=torch.float64)
        log_joint = standard_normal_log_prob(latent) + log_px_given_z(model, x, latent)
        return log_joint.exp().item()

    integral, _ = scipy.integrate.quad(joint, -10, 10, epsabs=0, epsrel=1e-10)
    assert model.marginal_loglik(x).item() == pytest.approx(math.log(integral), rel=1e-9)


def test_samples_have_the_models_mean_and_covariance() -> None:
    model, x = example(2), datapoints(200_000)
    assert (x.mean(0) - model.bias).abs().max() < 0.02
    assert (torch.cov(x.T) - model.covariance).abs().max() < 0.05


@pytest.mark.parametrize("nz", NZ)
def test_bound_plus_gap_is_the_marginal_loglik(nz: int) -> None:
    """Equation 1, datapoint by datapoint: the two sides are computed by different formulas."""
    model, q, x = example(nz), some_q(50, nz), normal(50, 5, seed=1)
    gap = model.gap(x, q)
    assert (gap > 0).all()
    torch.testing.assert_close(
        model.lower_bound(x, q) + gap, model.marginal_loglik(x), rtol=1e-10, atol=1e-10
    )


def test_leading_axes_are_independent_datapoints() -> None:
    model, q, x = example(2), some_q(6, 2), normal(6, 5, seed=1)
    nested, nested_x = DiagonalGaussian(*(t.view(2, 3, 2) for t in q)), x.view(2, 3, 5)
    for ours, expected in (
        (model.lower_bound(nested_x, nested), model.lower_bound(x, q)),
        (model.gap(nested_x, nested), model.gap(x, q)),
        (model.marginal_loglik(nested_x), model.marginal_loglik(x)),
    ):
        torch.testing.assert_close(ours, expected.view(2, 3))


def orthogonal() -> LinearGaussian:
    columns = torch.linalg.qr(normal(5, 3)).Q * torch.tensor([3.0, 2.0, 0.5])
    return LinearGaussian(columns, normal(5), torch.tensor(0.3))


@pytest.mark.parametrize("model", [example(1), orthogonal()], ids=["one latent", "orthogonal W"])
def test_the_best_diagonal_gaussian_closes_the_gap_where_the_posterior_is_diagonal(
    model: LinearGaussian,
) -> None:
    x = normal(20, 5, seed=1)
    assert model.gap(x, model.best_diagonal(x)).abs().max() < 1e-12


def test_with_oblique_columns_no_diagonal_gaussian_closes_the_gap() -> None:
    """The best one is a stationary point of the exact bound, and its gap is that of Hadamard."""
    model, x = example(3), normal(20, 5, seed=1)
    best = model.best_diagonal(x)
    leaves = [t.clone().requires_grad_() for t in best]
    bound = model.lower_bound(x, DiagonalGaussian(*leaves)).sum()
    for gradient in torch.autograd.grad(bound, leaves):
        assert gradient.abs().max() < 1e-12
    precision = model.posterior_precision
    hadamard = 0.5 * (precision.diagonal().log().sum() - torch.logdet(precision))
    assert hadamard > 0.1
    torch.testing.assert_close(model.gap(x, best), hadamard.expand(20))


@pytest.mark.parametrize("nz", NZ)
def test_maximum_likelihood_value_is_that_of_the_eigenvalues(nz: int) -> None:
    """Mean log likelihood −½ (Σ log λ + (D − nz) log s² + D log 2π + D) at the maximum."""
    x = datapoints()
    eigenvalues = torch.linalg.eigvalsh(torch.cov(x.T, correction=0)).flip(0)
    logs = eigenvalues[:nz].log().sum() + (5 - nz) * eigenvalues[nz:].mean().log()
    expected = -0.5 * (logs + 5 * math.log(2 * math.pi) + 5)
    torch.testing.assert_close(maximum_likelihood(x, nz).marginal_loglik(x).mean(), expected)


@pytest.mark.parametrize("nz", NZ)
def test_maximum_likelihood_is_where_a_numerical_optimiser_ends(nz: int) -> None:
    x, best = datapoints(), maximum_likelihood(datapoints(), nz)
    weight = normal(5, nz, seed=4).requires_grad_()
    bias = torch.zeros(5, dtype=torch.float64, requires_grad=True)
    log_variance = torch.zeros((), dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS(
        [weight, bias, log_variance], max_iter=500, line_search_fn="strong_wolfe"
    )

    def loss() -> float:
        optimiser.zero_grad()
        value = -LinearGaussian(weight, bias, log_variance.exp()).marginal_loglik(x).mean()
        value.backward()  # type: ignore[no-untyped-call]
        return value.item()

    optimiser.step(loss)  # type: ignore[no-untyped-call]
    assert -loss() == pytest.approx(best.marginal_loglik(x).mean().item(), abs=1e-7)
    torch.testing.assert_close(bias.detach(), best.bias, rtol=0, atol=1e-3)
    torch.testing.assert_close(log_variance.exp().detach(), best.variance, rtol=1e-3, atol=0)
    # W only up to a rotation of z.
    torch.testing.assert_close(
        (weight @ weight.T).detach(), best.weight @ best.weight.T, rtol=0, atol=5e-3
    )


def test_maximum_likelihood_weights_are_orthogonal_and_in_order() -> None:
    weight = maximum_likelihood(datapoints(nz=3), 3).weight
    gram = weight.T @ weight
    lengths = gram.diagonal()
    assert (gram - lengths.diag()).abs().max() < 1e-12
    assert lengths.tolist() == sorted(lengths.tolist(), reverse=True)


def test_single_precision_data_get_double_precision_answers() -> None:
    x = datapoints(50)
    single = maximum_likelihood(x.float(), 2).marginal_loglik(x.float())
    double = maximum_likelihood(x, 2).marginal_loglik(x)
    assert single.dtype == torch.float64
    torch.testing.assert_close(single, double, rtol=1e-5, atol=0)


@pytest.mark.parametrize("nz", [0, 5, 6])
def test_maximum_likelihood_refuses_an_nz_without_room_for_noise(nz: int) -> None:
    with pytest.raises(ValueError, match=f"from 1 to 4 for 5 pixels, not {nz}"):
        maximum_likelihood(normal(20, 5), nz)


def test_maximum_likelihood_refuses_data_in_a_plane() -> None:
    with pytest.raises(ValueError, match="plane of 2 dimensions"):
        maximum_likelihood(normal(20, 2) @ normal(2, 5), 2)


@pytest.mark.parametrize(
    ("weight", "bias", "variance", "message"),
    [
        (torch.ones(5), torch.ones(5), torch.tensor(1.0), "expected a weight"),
        (torch.ones(5, 2), torch.ones(2), torch.tensor(1.0), "expected a weight"),
        (torch.ones(5, 2), torch.ones(5), torch.ones(5), "one positive variance"),
        (torch.ones(5, 2), torch.ones(5), torch.tensor(0.0), "one positive variance"),
        (torch.ones(5, 2), torch.ones(5), torch.tensor(math.nan), "one positive variance"),
    ],
)
def test_a_model_that_makes_no_sense_is_refused(
    weight: Tensor, bias: Tensor, variance: Tensor, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        LinearGaussian(weight, bias, variance)
