"""HMC against what Hamilton's equations promise and against densities with known moments."""

from collections.abc import Sequence

import pytest
import torch
from linear_gaussian import LinearModel, example
from torch import Tensor

from aevb.inference.hmc import (
    TARGET_ACCEPTANCE,
    Differentiable,
    Joint,
    Point,
    adapted,
    kinetic_energy,
    leapfrog,
    log_likelihood_gradients,
    transition,
)
from aevb.model.distributions import standard_normal_log_prob
from aevb.model.networks import (
    Architecture,
    Initialisation,
    Model,
    initialised,
)
from aevb.model.randomness import Streams, generator

pytestmark = pytest.mark.usefixtures("double_precision")

COVARIANCE = torch.tensor([[1.0, 0.9, 0.0], [0.9, 1.0, 0.3], [0.0, 0.3, 2.0]], dtype=torch.float64)
MEAN = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
ONE_STEP = (1, 1, 1)


def noise(seeds: Sequence[int] = (0,), nz: int = 3) -> Streams:
    return Streams([generator(seed, "noise") for seed in seeds], [nz] * len(seeds))


def correlated(z: Tensor) -> Tensor:
    error = z - MEAN
    precision: Tensor = torch.linalg.inv(COVARIANCE)
    return -0.5 * (error @ precision * error).sum(-1)


def quartic(z: Tensor) -> Tensor:
    """Not quadratic: no step size follows it exactly."""
    return -0.25 * z.pow(4).sum(-1) - 0.5 * z.square().sum(-1) + z[..., 0] * z[..., 1]


def bernoulli_model(seeds: Sequence[int], n_pixels: int = 12) -> Model:
    architectures = [Architecture(n_pixels, 7, 3, "bernoulli")] * len(seeds)
    generators = [generator(seed, "start") for seed in seeds]
    return initialised(architectures, Initialisation(std=0.5), generators)


def images(rows: int, n_pixels: int = 12) -> Tensor:
    return torch.rand(1, rows, n_pixels, generator=torch.Generator().manual_seed(0))


def energy(point: Point, momentum: Tensor) -> Tensor:
    return kinetic_energy(momentum) - point.log_prob


# -- Leapfrog ------------------------------------------------------------------------------------


def test_leapfrog_leads_back_when_the_momentum_is_reversed() -> None:
    density = Differentiable(quartic)
    start, momentum = density.at(noise().latents(50)), noise([1]).latents(50)
    step = 0.05 + 0.1 * noise([2]).uniform(50, 1)
    end, end_momentum = leapfrog(density, start, momentum, step, 10)
    assert (end.z - start.z).abs().max() > 0.5
    back, back_momentum = leapfrog(density, end, -end_momentum, step, 10)
    torch.testing.assert_close(back.z, start.z, rtol=0, atol=1e-10)
    torch.testing.assert_close(back_momentum, -momentum, rtol=0, atol=1e-10)


def test_the_energy_error_is_of_second_order_in_the_step() -> None:
    """Over the same time, half the step makes a quarter of the error."""
    density = Differentiable(quartic)
    start, momentum = density.at(noise().latents(200)), noise([1]).latents(200)
    before = energy(start, momentum)
    errors = []
    for n_steps in (50, 100):
        step = torch.full(ONE_STEP, 1.0 / n_steps)
        errors.append((energy(*leapfrog(density, start, momentum, step, n_steps)) - before).abs())
    ratio = errors[0].sum() / errors[1].sum()
    assert ratio.item() == pytest.approx(4, rel=0.02)


def test_leapfrog_preserves_volume() -> None:
    density = Differentiable(quartic)
    step = torch.full(ONE_STEP, 0.1)

    def flow(state: Tensor) -> Tensor:
        z, momentum = state.view(2, 1, 1, 3)
        end, end_momentum = leapfrog(density, density.at(z), momentum, step, 5)
        return torch.cat([end.z, end_momentum]).flatten()

    state, h = noise([3]).normal(6)[0], 1e-6
    columns = [(flow(state + h * unit) - flow(state - h * unit)) / (2 * h) for unit in torch.eye(6)]
    assert torch.stack(columns).det().item() == pytest.approx(1, abs=1e-6)


def test_the_end_point_carries_its_own_log_density_and_gradient() -> None:
    density = Differentiable(quartic)
    step = torch.full(ONE_STEP, 0.1)
    end, _ = leapfrog(density, density.at(noise().latents(5)), noise([1]).latents(5), step, 3)
    again = density.at(end.z)
    assert torch.equal(end.log_prob, again.log_prob)
    assert torch.equal(end.gradient, again.gradient)


# -- Transitions ---------------------------------------------------------------------------------


def run(
    density: Differentiable, step: float, *, rows: int, transitions: int, keep_from: int = 0
) -> tuple[Tensor, Tensor]:
    """Kept samples `(transitions, 1, rows, 3)` and mean acceptance probability.

    Chains start from a Gaussian that is as wide as the target, but round.
    """
    streams = noise()
    point = density.at(MEAN + streams.latents(rows))
    kept, rates = [], []
    for i in range(transitions):
        point, acceptance = transition(density, point, torch.full(ONE_STEP, step), 5, streams)
        if i >= keep_from:
            kept.append(point.z)
            rates.append(acceptance.mean())
    return torch.stack(kept), torch.stack(rates).mean()


# At the larger step many proposals are rejected: without the rejections it would be wrong.
@pytest.mark.parametrize(("step", "low", "high"), [(0.2, 0.9, 1.0), (0.5, 0.5, 0.9)])
def test_samples_have_the_moments_of_a_correlated_gaussian(
    step: float, low: float, high: float
) -> None:
    z, rate = run(Differentiable(correlated), step, rows=2000, transitions=60, keep_from=59)
    assert low < rate < high
    z = z[0, 0]  # 2000 independent chains
    error = (COVARIANCE.diagonal() / 2000).sqrt()
    assert ((z.mean(0) - MEAN).abs() < 4 * error).all()
    variances = COVARIANCE.diagonal()
    spread = ((variances[:, None] * variances + COVARIANCE**2) / 2000).sqrt()
    assert ((torch.cov(z.T) - COVARIANCE).abs() < 4 * spread).all()


def test_a_wrong_gradient_costs_acceptances_but_not_correctness() -> None:
    """The Metropolis rule sees the density itself: only that decides what is sampled."""

    class Wrong(Differentiable):
        def at(self, z: Tensor) -> Point:
            point = super().at(z)
            return point._replace(gradient=0.8 * point.gradient)

    z, rate = run(Wrong(correlated), 0.2, rows=2000, transitions=100, keep_from=99)
    right_rate = run(Differentiable(correlated), 0.2, rows=2000, transitions=20)[1]
    assert rate < right_rate - 0.03
    z = z[0, 0]
    assert ((z.mean(0) - MEAN).abs() < 4 * (COVARIANCE.diagonal() / 2000).sqrt()).all()
    torch.testing.assert_close(torch.cov(z.T), COVARIANCE, rtol=0, atol=0.2)


def test_diverging_proposals_are_rejected() -> None:
    density = Differentiable(quartic)
    start = density.at(noise().latents(20))
    step = torch.full(ONE_STEP, 50.0)
    moved, acceptance = transition(density, start, step, 10, noise([1]))
    assert torch.equal(moved.z, start.z)
    assert torch.equal(acceptance, torch.zeros(1, 20))
    infinite = Differentiable(lambda z: torch.where(z[..., 0] > 0, torch.nan, 1.0) * quartic(z))
    start = infinite.at(-noise().latents(200).abs())
    moved, _ = transition(infinite, start, torch.full(ONE_STEP, 0.3), 3, noise([1]))
    assert (moved.z[..., 0] <= 0).all()
    assert (moved.z != start.z).any()
    assert moved.log_prob.isfinite().all()


def test_a_rejected_chain_keeps_everything_and_an_accepted_one_nothing() -> None:
    density = Differentiable(correlated)
    start = density.at(noise().latents(500))
    moved, _ = transition(density, start, torch.full(ONE_STEP, 0.5), 5, noise([1]))
    stayed = (moved.z == start.z).all(-1)
    assert 0 < stayed.sum() < 500
    again = density.at(moved.z)
    torch.testing.assert_close(moved.log_prob, again.log_prob)
    torch.testing.assert_close(moved.gradient, again.gradient)


def test_a_shared_step_size_adapts_to_the_target_acceptance() -> None:
    """Over chains whose posteriors differ in width, as those of different images do."""
    rates = adapted_rates(rows_of_step=1, factor=1.25)
    assert rates.mean().item() == pytest.approx(TARGET_ACCEPTANCE, abs=0.04)
    rates = adapted_rates(rows_of_step=1, factor=1.05)
    assert rates.mean().item() == pytest.approx(TARGET_ACCEPTANCE, abs=0.01)


def test_step_sizes_of_their_own_follow_the_widths_of_the_chains() -> None:
    """Every chain is near its target half of the time; in the other half, its step is too long."""
    rates = adapted_rates(rows_of_step=400, factor=1.25)
    assert 0.6 < rates.mean() < TARGET_ACCEPTANCE
    assert (rates.mean(0) > 0.4).all()


def adapted_rates(rows_of_step: int, factor: float) -> Tensor:
    """Acceptance probabilities `(transitions, 400)` after 100 transitions from a step of 0.01."""
    width = torch.linspace(0.3, 1.5, 400)[None, :, None]
    density, streams = Differentiable(lambda z: -0.5 * (z / width).square().sum(-1)), noise()
    point, step = density.at(streams.latents(400)), torch.full((1, rows_of_step, 1), 0.01)
    rates = []
    for _ in range(200):
        point, acceptance = transition(density, point, step, 5, streams)
        step = adapted(step, acceptance, factor)
        rates.append(acceptance[0])
    assert step.shape == (1, rows_of_step, 1)
    return torch.stack(rates[100:])


def test_a_step_grows_by_the_factor_at_the_target_and_shrinks_below() -> None:
    acceptance = torch.tensor([[1.0, 0.8], [1.0, 0.7]])
    shared = adapted(torch.ones(2, 1, 1), acceptance)
    torch.testing.assert_close(shared.flatten(), torch.tensor([1.25, 0.8]))
    own = adapted(torch.ones(2, 2, 1), acceptance)
    torch.testing.assert_close(own[..., 0], torch.tensor([[1.25, 0.8], [1.25, 0.8]]))


# -- The joint density of a decoder --------------------------------------------------------------


def autograd_joint(model: Model | LinearModel, x: Tensor) -> Differentiable:
    return Differentiable(lambda z: standard_normal_log_prob(z) + model.decoder(z).log_prob(x))


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_the_joint_density_is_that_of_autograd(likelihood: str) -> None:
    """2500 rows are three chunks."""
    if likelihood == "bernoulli":
        model: Model | LinearModel = bernoulli_model([0])
        x = images(2500)
    else:
        model = LinearModel(1, 5, 3, torch.Generator().manual_seed(0))
        x = example(3).sample(2500, torch.Generator().manual_seed(0))[None]
    networks = model.as_model() if isinstance(model, LinearModel) else model
    joint, z = Joint(networks.decoder, x), noise().latents(2500)
    expected = autograd_joint(model, x).at(z)
    for mine, theirs in zip(joint.at(z), expected, strict=True):
        torch.testing.assert_close(mine, theirs)
    torch.testing.assert_close(joint.log_prob(z), expected.log_prob)
    with torch.no_grad():  # the gradient asks for what it needs
        torch.testing.assert_close(joint.gradient(z), expected.gradient)


def test_the_gradient_by_the_weights_is_that_of_autograd() -> None:
    model, x, z = bernoulli_model([0, 1]), images(20).expand(2, 20, 12), noise([0, 1]).latents(20)
    weights = list(model.decoder.parameters())
    mine = log_likelihood_gradients(model.decoder(z), x, weights)
    theirs = torch.autograd.grad(model.decoder(z).log_prob(x).sum(), weights)
    for a, b in zip(mine, theirs, strict=True):
        torch.testing.assert_close(a, b)


def test_two_seeds_sample_together_as_they_do_alone() -> None:
    def sampled(seeds: Sequence[int]) -> Point:
        joint = Joint(bernoulli_model(seeds).decoder, images(30).expand(len(seeds), 30, 12))
        streams = noise(seeds)
        point = joint.at(streams.latents(30))
        step = torch.full((len(seeds), 1, 1), 0.3)
        for _ in range(20):
            point, acceptance = transition(joint, point, step, 5, streams)
            step = adapted(step, acceptance)
        return point

    together = sampled([0, 1])
    for r in range(2):
        for a, b in zip(together, sampled([r]), strict=True):
            torch.testing.assert_close(a[r], b[0])
