"""HMC against what Hamilton's equations promise and against densities with known moments."""

import pytest
import torch
from differentiable import Differentiable
from linear_gaussian import LinearModel, example
from torch import Generator, Tensor

from aevb.inference.hmc import (
    TARGET_ACCEPTANCE,
    Joint,
    Point,
    adapted,
    kinetic_energy,
    leapfrog,
    log_likelihood_gradients,
    transition,
)
from aevb.model.distributions import standard_normal_log_prob
from aevb.model.networks import Architecture, Initialisation, Model, initialised
from aevb.model.randomness import generator, normal, uniform

pytestmark = pytest.mark.usefixtures("double_precision")

COVARIANCE = torch.tensor([[1.0, 0.9, 0.0], [0.9, 1.0, 0.3], [0.0, 0.3, 2.0]], dtype=torch.float64)
PRECISION: Tensor = torch.linalg.inv(COVARIANCE)
MEAN = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


def noise(seed: int = 0) -> Generator:
    return generator(seed, "noise")


def z_and_momentum(rows: int) -> tuple[Tensor, Tensor]:
    return normal(noise(0), rows, 3), normal(noise(1), rows, 3)


def shared(step_size: float) -> Tensor:
    """One step size for all chains."""
    return torch.full((1, 1), step_size)


def correlated(z: Tensor) -> Tensor:
    error = z - MEAN
    return -0.5 * (error @ PRECISION * error).sum(-1)


def quartic(z: Tensor) -> Tensor:
    """Not quadratic: no step size follows it exactly."""
    return -0.25 * z.pow(4).sum(-1) - 0.5 * z.square().sum(-1) + z[..., 0] * z[..., 1]


CORRELATED, QUARTIC = Differentiable(correlated), Differentiable(quartic)


# -- Leapfrog ------------------------------------------------------------------------------------


def test_leapfrog_leads_back_when_the_momentum_is_reversed() -> None:
    z, momentum = z_and_momentum(50)
    step = 0.05 + 0.1 * uniform(noise(2), 50, 1)
    end, end_momentum = leapfrog(QUARTIC, QUARTIC.evaluate(z), momentum, step, 10)
    assert (end.z - z).abs().max() > 0.5
    back, back_momentum = leapfrog(QUARTIC, end, -end_momentum, step, 10)
    torch.testing.assert_close(back.z, z, rtol=0, atol=1e-10)
    torch.testing.assert_close(back_momentum, -momentum, rtol=0, atol=1e-10)


def test_the_energy_error_is_of_second_order_in_the_step() -> None:
    """Over the same time, half the step makes a quarter of the error."""
    z, momentum = z_and_momentum(200)
    start = QUARTIC.evaluate(z)

    def error(leapfrogs: int) -> Tensor:
        end, end_momentum = leapfrog(QUARTIC, start, momentum, shared(1 / leapfrogs), leapfrogs)
        kinetic = kinetic_energy(end_momentum) - kinetic_energy(momentum)
        return (kinetic - (end.log_prob - start.log_prob)).abs().sum()

    assert (error(50) / error(100)).item() == pytest.approx(4, rel=0.02)


def test_leapfrog_preserves_volume() -> None:
    def flow(state: Tensor) -> Tensor:
        z, momentum = state.view(2, 1, 3)
        end, end_momentum = leapfrog(QUARTIC, QUARTIC.evaluate(z), momentum, shared(0.1), 5)
        return torch.cat([end.z, end_momentum]).flatten()

    state, h = normal(noise(3), 6), 1e-6
    columns = [(flow(state + h * unit) - flow(state - h * unit)) / (2 * h) for unit in torch.eye(6)]
    assert torch.stack(columns).det().item() == pytest.approx(1, abs=1e-6)


def test_the_end_point_carries_its_own_log_density_and_gradient() -> None:
    z, momentum = z_and_momentum(5)
    end, _ = leapfrog(QUARTIC, QUARTIC.evaluate(z), momentum, shared(0.1), 3)
    again = QUARTIC.evaluate(end.z)
    assert torch.equal(end.log_prob, again.log_prob)
    assert torch.equal(end.gradient, again.gradient)


# -- Transitions ---------------------------------------------------------------------------------


def last_samples(density: Differentiable, step: float, transitions: int) -> tuple[Tensor, float]:
    """Where 2000 independent chains end, `(2000, 3)`, and their mean acceptance probability.

    Chains start from a Gaussian that is as wide as the target, but round.
    """
    stream, rates = noise(), []
    point = density.evaluate(MEAN + normal(stream, 2000, 3))
    for _ in range(transitions):
        point, acceptance = transition(density, point, shared(step), 5, stream)
        rates.append(acceptance.mean().item())
    return point.z, sum(rates) / len(rates)


def assert_has_the_moments(z: Tensor) -> None:
    """Of the correlated Gaussian, within four standard errors."""
    variances = COVARIANCE.diagonal()
    assert ((z.mean(0) - MEAN).abs() < 4 * (variances / len(z)).sqrt()).all()
    spread = ((variances[:, None] * variances + COVARIANCE**2) / len(z)).sqrt()
    assert ((torch.cov(z.T) - COVARIANCE).abs() < 4 * spread).all()


# At the larger step many proposals are rejected: without the rejections it would be wrong.
@pytest.mark.parametrize(("step", "low", "high"), [(0.2, 0.9, 1.0), (0.5, 0.5, 0.9)])
def test_samples_have_the_moments_of_a_correlated_gaussian(
    step: float, low: float, high: float
) -> None:
    z, rate = last_samples(CORRELATED, step, 60)
    assert low < rate < high
    assert_has_the_moments(z)


def test_a_wrong_gradient_costs_acceptances_but_not_correctness() -> None:
    """The Metropolis rule sees the density itself: only that decides what is sampled."""

    class Wrong(Differentiable):
        def evaluate(self, z: Tensor) -> Point:
            point = super().evaluate(z)
            return point._replace(gradient=0.8 * point.gradient)

    z, rate = last_samples(Wrong(correlated), 0.2, 100)
    assert rate < last_samples(CORRELATED, 0.2, 20)[1] - 0.03
    assert_has_the_moments(z)


def test_diverging_proposals_are_rejected() -> None:
    start = QUARTIC.evaluate(normal(noise(), 20, 3))
    moved, acceptance = transition(QUARTIC, start, shared(50.0), 10, noise(1))
    assert torch.equal(moved.z, start.z)
    assert not acceptance.any()


def test_proposals_without_a_density_are_rejected() -> None:
    half = Differentiable(lambda z: torch.where(z[..., 0] > 0, torch.nan, 1.0) * quartic(z))
    start = half.evaluate(-normal(noise(), 200, 3).abs())
    moved, _ = transition(half, start, shared(0.3), 3, noise(1))
    assert (moved.z[..., 0] <= 0).all()
    assert (moved.z != start.z).any()
    assert moved.log_prob.isfinite().all()


def test_a_rejected_chain_keeps_everything_and_an_accepted_one_nothing() -> None:
    start = CORRELATED.evaluate(normal(noise(), 500, 3))
    moved, _ = transition(CORRELATED, start, shared(0.5), 5, noise(1))
    assert 0 < (moved.z == start.z).all(-1).sum() < 500
    for ours, again in zip(moved, CORRELATED.evaluate(moved.z), strict=True):
        torch.testing.assert_close(ours, again)


# -- Step sizes ----------------------------------------------------------------------------------


def adapted_rates(step: Tensor, factor: float) -> Tensor:
    """Acceptance probabilities, `(100, 400)`, after 100 transitions.

    Of chains whose targets differ in width, as those of different images do.
    """
    width = torch.linspace(0.3, 1.5, 400)[:, None]
    density, stream = Differentiable(lambda z: -0.5 * (z / width).square().sum(-1)), noise()
    point, rates = density.evaluate(normal(stream, 400, 3)), []
    for _ in range(200):
        point, acceptance = transition(density, point, step, 5, stream)
        step = adapted(step, acceptance, factor)
        rates.append(acceptance)
    return torch.stack(rates[100:])


@pytest.mark.parametrize(("factor", "error"), [(1.25, 0.04), (1.05, 0.01)])
def test_a_shared_step_size_adapts_to_the_target_acceptance(factor: float, error: float) -> None:
    rates = adapted_rates(shared(0.01), factor)
    assert rates.mean().item() == pytest.approx(TARGET_ACCEPTANCE, abs=error)


def test_step_sizes_of_their_own_follow_the_widths_of_the_chains() -> None:
    """Every chain is near its target half of the time; in the other half, its step is too long."""
    rates = adapted_rates(torch.full((400, 1), 0.01), factor=1.25)
    assert 0.6 < rates.mean() < TARGET_ACCEPTANCE
    assert (rates.mean(0) > 0.4).all()


@pytest.mark.parametrize(
    ("acceptance", "steps", "expected"),
    [
        ([1.0, 0.8], [1.0], [1.25]),
        ([1.0, 0.7], [1.0], [0.8]),
        ([1.0, 0.7], [1.0, 2.0], [1.25, 1.6]),
    ],
)
def test_a_step_grows_by_the_factor_at_the_target_and_shrinks_below(
    acceptance: list[float], steps: list[float], expected: list[float]
) -> None:
    found = adapted(torch.tensor(steps)[:, None], torch.tensor(acceptance))
    torch.testing.assert_close(found, torch.tensor(expected)[:, None])


# -- The joint density of a decoder --------------------------------------------------------------


def bernoulli_model() -> Model:
    sizes = Architecture(n_pixels=12, n_hidden=7, nz=3, likelihood="bernoulli")
    return initialised(sizes, Initialisation(std=0.5), generator(0, "start"))


def images(rows: int) -> Tensor:
    return torch.rand(rows, 12, generator=Generator().manual_seed(0))


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_the_joint_density_is_that_of_autograd(likelihood: str) -> None:
    """2500 rows are three chunks."""
    model, x = bernoulli_model(), images(2500)
    if likelihood == "gaussian":
        model = LinearModel(5, 3, Generator().manual_seed(0))
        x = example(3).sample(2500, Generator().manual_seed(0))
    joint, z = Joint(model.decoder, x), normal(noise(), 2500, 3)
    by_autograd = Differentiable(
        lambda z: standard_normal_log_prob(z) + model.decoder(z).log_prob(x)
    )
    expected = by_autograd.evaluate(z)
    for ours, theirs in zip(joint.evaluate(z), expected, strict=True):
        torch.testing.assert_close(ours, theirs)
    torch.testing.assert_close(joint.log_prob(z), expected.log_prob)
    with torch.no_grad():  # the gradient asks for what it needs
        torch.testing.assert_close(joint.gradient(z), expected.gradient)
    assert all(p.requires_grad for p in model.parameters())


def test_the_gradient_by_the_weights_is_that_of_autograd() -> None:
    model, x, z = bernoulli_model(), images(20), normal(noise(), 20, 3)
    weights = list(model.decoder.parameters())
    ours = log_likelihood_gradients(model.decoder(z), x, weights)
    theirs = torch.autograd.grad(model.decoder(z).log_prob(x).sum(), weights)
    torch.testing.assert_close(ours, theirs)
