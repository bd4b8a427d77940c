"""Algorithm 2 against exact answers: Bayesian linear regression, and a model with one weight."""

import math
from typing import NamedTuple

import pytest
import torch
from linear_gaussian import LinearModel
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from aevb.learners import LEARNERS
from aevb.learners.aevb import AEVB
from aevb.learners.full_vb import (
    LOG_VARIANCE,
    FullVB,
    kl_of_weights,
    weighted_layers,
    weights_drawn,
)
from aevb.learners.optimiser import Optimisation
from aevb.model.bound import kl_to_standard_normal
from aevb.model.distributions import DiagonalGaussian, standard_normal_log_prob
from aevb.model.networks import Affine, Architecture, Decoder, Initialisation, Model, initialised
from aevb.model.randomness import generator

pytestmark = pytest.mark.usefixtures("double_precision")
N, INPUTS, TARGETS, NOISE_VARIANCE, PRECISION = 40, 3, 2, 0.5, 2.0


class KnownInputs(nn.Module):
    """q(z|x) of a regression: z is in x, so hardly any uncertainty is left."""

    def forward(self, x: Tensor) -> DiagonalGaussian:
        mean = x[..., :INPUTS]
        return DiagonalGaussian(mean, torch.full_like(mean, -40.0))


class OfTargets(NamedTuple):
    """p(x|z) of the targets, the last elements of x."""

    gaussian: DiagonalGaussian

    def log_prob(self, x: Tensor) -> Tensor:
        return self.gaussian.log_prob(x[..., INPUTS:])


class Line(Decoder):
    """Targets N(z W, s² I)."""

    def __init__(self) -> None:
        nn.Module.__init__(self)
        self.layer = Affine(INPUTS, TARGETS)
        del self.layer.bias  # known to be zero
        self.layer.bias = torch.zeros(TARGETS)  # type: ignore[assignment]

    def forward(self, z: Tensor) -> OfTargets:  # type: ignore[override]
        mean = self.layer(z)
        return OfTargets(DiagonalGaussian(mean, torch.full_like(mean, math.log(NOISE_VARIANCE))))


class Regression(nn.Module):
    """All that a learner asks of a model; only the weights of the line are unknown."""

    nz = INPUTS

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = KnownInputs(), Line()


def regression(orthogonal: bool) -> Tensor:
    """Inputs and targets, `(N, INPUTS + TARGETS)`."""
    noise = torch.Generator().manual_seed(0)
    inputs = torch.randn(N, INPUTS, generator=noise)
    if orthogonal:
        inputs = torch.linalg.qr(inputs).Q * torch.tensor([2.0, 5.0, 9.0])
    weights = torch.randn(INPUTS, TARGETS, generator=noise) / PRECISION**0.5
    error = torch.randn(N, TARGETS, generator=noise) * NOISE_VARIANCE**0.5
    return torch.cat([inputs, inputs @ weights + error], -1)


def exact_posterior(x: Tensor) -> tuple[Tensor, Tensor]:
    """Means `(INPUTS, TARGETS)` and precision `(INPUTS, INPUTS)` of the weights' posterior."""
    inputs, targets = x[:, :INPUTS], x[:, INPUTS:]
    precision = PRECISION * torch.eye(INPUTS) + inputs.T @ inputs / NOISE_VARIANCE
    return torch.linalg.solve(precision, inputs.T @ targets / NOISE_VARIANCE), precision


def full_vb(model: nn.Module, step_size: float, rows: int = N, prior: float = PRECISION) -> FullVB:
    share = rows / N
    plain = Optimisation("adagrad", step_size, 0, prior * share, share)
    return FullVB(model, plain, generator(0, "noise"))  # type: ignore[arg-type]


@pytest.mark.parametrize("rows", [N, N // 4])
def test_at_the_posterior_of_a_regression_the_bound_is_the_evidence(rows: int) -> None:
    """With orthogonal inputs, whose posterior is diagonal; on all points, and on minibatches."""
    x, model = regression(orthogonal=True), Regression()
    still = full_vb(model, 0.0, rows)
    mean, precision = exact_posterior(x)
    layer = model.decoder.layer
    with torch.no_grad():
        layer.weight.copy_(mean)
        layer.get_parameter(LOG_VARIANCE).copy_(
            -precision.diagonal().log()[:, None].expand_as(mean)
        )
    parts = torch.split(x, rows)
    drawn = torch.stack([still.step(part) for _ in range(400) for part in parts]).view(400, -1)
    drawn = drawn.mean(1)  # every datapoint counts once
    known_z = kl_to_standard_normal(model.encoder(x)).mean()
    covariance = NOISE_VARIANCE * torch.eye(N) + x[:, :INPUTS] @ x[:, :INPUTS].T / PRECISION
    exact = MultivariateNormal(torch.zeros(N), covariance)
    evidence = exact.log_prob(x[:, INPUTS:].T).sum() / N  # type: ignore[no-untyped-call]
    error = drawn.std() / 400**0.5
    assert error < 0.01
    assert abs(drawn.mean() + known_z - evidence) < 4 * error


@pytest.mark.parametrize("orthogonal", [True, False])
def test_training_finds_the_diagonal_posterior_of_a_regression(orthogonal: bool) -> None:
    """The exact means, and the reciprocals of the diagonal of the exact precision."""
    x, model = regression(orthogonal), Regression()
    climbing, layer = full_vb(model, 0.2), model.decoder.layer
    log_variance = layer.get_parameter(LOG_VARIANCE)
    means, log_variances = torch.zeros(2, INPUTS, TARGETS)
    for update in range(1200):
        climbing.step(x)
        if update >= 400:
            means += layer.weight.detach() / 800
            log_variances += log_variance.detach() / 800
    mean, precision = exact_posterior(x)
    deviation = precision.diagonal()[:, None].rsqrt()
    assert ((means - mean).abs() < 0.1 * deviation).all()
    expected = -precision.diagonal().log()[:, None].expand_as(mean)
    torch.testing.assert_close(log_variances, expected, rtol=0, atol=0.15)


def test_with_z_unknown_too_the_bound_stays_below_the_evidence_by_little() -> None:
    """One pixel, one latent variable, one weight w: log p(X) is an integral over w.

    q(θ) takes one of the two signs that the posterior of w gives the same mass, and so loses
    log 2 at least.
    """
    x = torch.randn(N, 1, generator=torch.Generator().manual_seed(0))
    x *= 1.5 / x.std()
    model = LinearModel(1, 1, torch.Generator().manual_seed(0))
    climbing = full_vb(model, 0.1, prior=1.0)
    bounds = torch.stack([climbing.step(x) for _ in range(1200)])[600:]
    w = torch.linspace(-8, 8, 1601)[:, None]
    with torch.no_grad():
        spread = (w.square() + model.decoder.log_variance.exp()).sqrt()
        bias = model.decoder.mean.bias
        log_px = DiagonalGaussian(bias, 2 * spread.log()[..., None]).log_prob(x[None]).sum(1)
        log_prior = standard_normal_log_prob(w)
    evidence = torch.logsumexp(log_px + log_prior, 0) + math.log(0.01)
    lost = evidence - N * bounds.mean()
    assert math.log(2) < lost < math.log(2) + 2.5


def test_a_row_meets_a_draw_of_the_weights() -> None:
    """Means and covariance of a layer's outputs are those of z W with W drawn; then hooks go."""
    model = LinearModel(3, 2, torch.Generator().manual_seed(0))
    full_vb(model, 0.1)
    layer = model.decoder.mean
    with torch.no_grad():
        layer.get_parameter(LOG_VARIANCE).copy_(torch.tensor([[0.0, -1.0, -2.0], [-3.0, 0.5, 1.0]]))
    z = torch.tensor([1.5, -0.5])
    with torch.no_grad(), weights_drawn(model.decoder, generator(0, "noise")):
        drawn = model.decoder(z.expand(20_000, 2)).mean
    plain = model.decoder(z).mean
    variance = z.square() @ layer.get_parameter(LOG_VARIANCE).exp()
    assert ((drawn.mean(0) - plain).abs() < 5 * (variance / 20_000).sqrt()).all()
    torch.testing.assert_close(drawn.T.cov(), variance.diag(), rtol=0.05, atol=0.05)
    assert model.decoder(z).mean.equal(plain)


def test_without_variance_a_step_is_that_of_aevb_with_its_prior() -> None:
    sizes, rough = Architecture(12, 7, 3, "bernoulli"), Initialisation(0.5, 0.5, 0.5)
    x = torch.rand(6, 12, generator=torch.Generator().manual_seed(0))
    moved = []
    for kind in (AEVB, FullVB):
        model = initialised(sizes, rough, generator(0, "initialisation"))
        optimisation = Optimisation("adagrad", 0.1, 0, 0.5, 0.25)
        learner = kind(model, optimisation, generator(0, "noise"))
        if isinstance(learner, FullVB):
            for layer in weighted_layers(model.decoder):
                layer.get_parameter(LOG_VARIANCE).data.fill_(-80.0)
        learner.step(x)
        moved.append({k: p.detach() for k, p in model.named_parameters() if "weight_l" not in k})
    for name, value in moved[0].items():
        torch.testing.assert_close(moved[1][name], value, rtol=0, atol=1e-3, msg=name)


def test_the_divergence_of_the_weights_is_zero_at_the_prior_alone() -> None:
    model = initialised(
        Architecture(12, 7, 3, "bernoulli"), Initialisation(0.0), generator(0, "initialisation")
    )
    full_vb(model, 0.1, prior=4.0)
    for layer in weighted_layers(model.decoder):
        layer.get_parameter(LOG_VARIANCE).data.fill_(-math.log(4.0))
    assert kl_of_weights(model.decoder, 4.0).item() == pytest.approx(0, abs=1e-9)
    assert kl_of_weights(model.decoder, 1.0).item() > 1


def test_a_posterior_needs_a_prior() -> None:
    model = Model(Architecture(12, 7, 3, "bernoulli"))
    with pytest.raises(ValueError, match="prior"):
        LEARNERS["full-vb"](model, Optimisation(), generator(0, "noise"))
