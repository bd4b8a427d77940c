"""The learners against hand-written updates, finite differences and exact linear-Gaussian answers.

Two kinds of networks: those of the paper (`small`), and linear ones (`LinearModel`), for which the
bound, its gradient and the best reachable likelihood are known exactly.
"""

from itertools import pairwise
from typing import Any

import pytest
import torch
from linear_gaussian import LinearModel, example, linear_model
from torch import Tensor
from torch.distributions import Bernoulli, Normal

from aevb.learners import LEARNERS
from aevb.learners.aevb import AEVB, Estimator, lower_bound
from aevb.learners.learner import Learner
from aevb.learners.optimiser import Optimisation
from aevb.learners.wake_sleep import WakeSleep
from aevb.model.distributions import DiagonalGaussian
from aevb.model.linear_gaussian import maximum_likelihood
from aevb.model.networks import Architecture, Initialisation, Model, initialised
from aevb.model.randomness import generator, normal, uniform

PIXELS, HIDDEN, NZ = 12, 7, 3
PLAIN = Optimisation(step_size=0.1, warmup=0)
ROUGH = Initialisation(std=0.5, encoder_log_variance_std=0.5, decoder_output_bias_std=0.5)

each_algorithm = pytest.mark.parametrize("algorithm", ["aevb", "wake-sleep"])
each_likelihood = pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])


def images(rows: int) -> Tensor:
    return torch.rand(rows, PIXELS, generator=torch.Generator().manual_seed(0))


def small(likelihood: str = "bernoulli") -> Model:
    """The paper's networks, small."""
    sizes = Architecture(PIXELS, HIDDEN, NZ, likelihood)
    return initialised(sizes, ROUGH, generator(0, "initialisation"))


def learner(
    algorithm: str,
    model: Model,
    optimisation: Optimisation = PLAIN,
    **options: Any,
) -> Learner:
    return LEARNERS[algorithm](model, optimisation, generator(0, "noise"), **options)


def parameters_of(model: Model) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


# -- By hand -------------------------------------------------------------------------------------


class ByHand:
    """The Bernoulli networks, their log densities from torch.distributions."""

    def __init__(self, parameters: dict[str, Tensor]) -> None:
        self.p = {name: value.clone().requires_grad_() for name, value in parameters.items()}

    def layer(self, name: str, x: Tensor) -> Tensor:
        return x @ self.p[f"{name}.weight"] + self.p[f"{name}.bias"]

    def q(self, x: Tensor) -> Normal:
        h = torch.tanh(self.layer("encoder.hidden", x))
        variance = torch.exp(self.layer("encoder.log_variance", h))
        return Normal(self.layer("encoder.mean", h), variance.sqrt())

    def p_x(self, z: Tensor) -> Bernoulli:
        h = torch.tanh(self.layer("decoder.hidden", z))
        return Bernoulli(logits=self.layer("decoder.logits", h), validate_args=False)

    def maximise(self, objective: Tensor, network: str) -> None:
        """First update of Adagrad with step size 0.1 on the parameters of `network`."""
        own = {name: p for name, p in self.p.items() if name.startswith(network)}
        gradients = torch.autograd.grad(objective, list(own.values()))
        for (name, p), g in zip(own.items(), gradients, strict=True):
            moved = p.detach() + 0.1 * g / (1e-8 + g**2).sqrt()
            self.p[name] = moved.requires_grad_()


def log_prob(distribution: Normal | Bernoulli, x: Tensor) -> Tensor:
    values: Tensor = distribution.log_prob(x)  # type: ignore[no-untyped-call]
    return values.sum(-1)


def assert_parameters(model: Model, by_hand: ByHand) -> None:
    for name, value in model.named_parameters():
        torch.testing.assert_close(value, by_hand.p[name], rtol=1e-9, atol=1e-9)


@pytest.mark.usefixtures("double_precision")
def test_an_aevb_step_is_algorithm_1_by_hand() -> None:
    model, x = small(), images(6)
    hand = ByHand(parameters_of(model))
    returned = learner("aevb", model).step(x)
    q = hand.q(x)
    z = q.loc + q.scale * normal(generator(0, "noise"), 6, NZ)
    variance = q.scale**2
    kl = -0.5 * (1 + variance.log() - q.loc**2 - variance).sum(-1)
    bound = log_prob(hand.p_x(z), x) - kl
    hand.maximise(bound.sum(), "")
    # Returned is the bound at the parameters before the update.
    torch.testing.assert_close(returned, bound.mean().detach())
    assert_parameters(model, hand)


@pytest.mark.usefixtures("double_precision")
def test_a_wake_sleep_step_is_a_wake_and_a_sleep_phase_by_hand() -> None:
    model, x = small(), images(6)
    hand, noise = ByHand(parameters_of(model)), generator(0, "noise")
    returned = learner("wake-sleep", model).step(x)
    q = hand.q(x)
    z = (q.loc + q.scale * normal(noise, 6, NZ)).detach()
    log_px_given_z = log_prob(hand.p_x(z), x)
    bound = log_px_given_z + log_prob(Normal(torch.zeros(NZ), 1.0), z) - log_prob(q, z)
    torch.testing.assert_close(returned, bound.mean().detach())
    hand.maximise(log_px_given_z.sum(), "decoder")
    # Sleep: the dream comes from the updated decoder.
    z = normal(noise, 6, NZ)
    dream = (uniform(noise, 6, PIXELS) < hand.p_x(z).probs).double()
    hand.maximise(log_prob(hand.q(dream), z).sum(), "encoder")
    assert_parameters(model, hand)


@pytest.mark.parametrize("sleep_first", [False, True])
def test_the_phases_come_in_the_order_asked_for(
    sleep_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    wake_sleep = learner("wake-sleep", small(), sleep_first=sleep_first)
    order: list[str] = []
    monkeypatch.setattr(wake_sleep.ascents["encoder"], "maximise", lambda _: order.append("sleep"))
    monkeypatch.setattr(wake_sleep.ascents["decoder"], "maximise", lambda _: order.append("wake"))
    assert wake_sleep.step(images(6)).shape == ()
    assert order == (["sleep", "wake"] if sleep_first else ["wake", "sleep"])


@pytest.mark.parametrize("clip", [False, True])
def test_clipped_dreams_lie_where_pixels_lie(clip: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    wake_sleep = learner("wake-sleep", small("gaussian"), clip_dreams=clip)
    assert isinstance(wake_sleep, WakeSleep)
    seen: list[Tensor] = []
    forward = wake_sleep.model.encoder.forward

    def observed(x: Tensor) -> DiagonalGaussian:
        seen.append(x)
        return forward(x)

    monkeypatch.setattr(wake_sleep.model.encoder, "forward", observed)
    wake_sleep.sleep(50)
    (dream,) = seen
    assert bool(((dream >= 0) & (dream <= 1)).all()) == clip


@pytest.mark.parametrize(("phase", "moves"), [("wake", "decoder"), ("sleep", "encoder")])
def test_a_phase_of_wake_sleep_moves_one_network_alone(phase: str, moves: str) -> None:
    model = small()
    before, wake_sleep = parameters_of(model), learner("wake-sleep", model)
    assert isinstance(wake_sleep, WakeSleep)
    if phase == "wake":
        wake_sleep.wake(images(6))
    else:
        wake_sleep.sleep(6)
    for name, value in model.named_parameters():
        assert torch.equal(value, before[name]) != name.startswith(moves)


@each_algorithm
@each_likelihood
def test_the_returned_bound_estimates_that_before_the_update(
    algorithm: str, likelihood: str
) -> None:
    model, x = small(likelihood), images(4000)
    epsilon = normal(generator(7, "noise"), 1, 4000, NZ)
    with torch.no_grad():
        before = lower_bound(model, x, epsilon)
    returned = learner(algorithm, model, Optimisation(step_size=0.5, warmup=0)).step(x)
    with torch.no_grad():
        after = lower_bound(model, x, epsilon)
    error = before.std().item() / 4000**0.5
    assert returned.shape == ()
    assert not returned.requires_grad
    assert returned.item() == pytest.approx(before.mean().item(), abs=6 * error)
    assert abs(after.mean().item() - before.mean().item()) > 12 * error


# -- Gradients -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("double_precision")
@each_likelihood
@pytest.mark.parametrize("estimator", ["A", "B"])
@pytest.mark.parametrize("n_samples", [1, 3])
def test_pathwise_gradient_is_that_of_finite_differences(
    likelihood: str, estimator: Estimator, n_samples: int
) -> None:
    """Of every parameter of encoder and decoder, under common noise, to seven digits."""
    model, x = small(likelihood), images(4)
    epsilon = normal(generator(0, "noise"), n_samples, 4, NZ)

    def bound() -> Tensor:
        return lower_bound(model, x, epsilon, estimator).sum()

    parameters = dict(model.named_parameters())
    gradients = torch.autograd.grad(bound(), list(parameters.values()))
    step = 1e-5
    for p, gradient in zip(parameters.values(), gradients, strict=True):
        differences = torch.zeros_like(p)
        with torch.no_grad():
            for i in range(p.numel()):
                centre = p.view(-1)[i].item()
                p.view(-1)[i] = centre + step
                above = bound()
                p.view(-1)[i] = centre - step
                differences.view(-1)[i] = (above - bound()) / (2 * step)
                p.view(-1)[i] = centre
        torch.testing.assert_close(gradient, differences, rtol=1e-7, atol=1e-7)


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("nz", [1, 2])
@pytest.mark.parametrize("estimator", ["A", "B"])
def test_mean_pathwise_gradient_is_the_exact_gradient(nz: int, estimator: Estimator) -> None:
    """Of the exact linear-Gaussian bound, within five standard errors for every parameter."""
    repeats = 1000
    x = example(2).sample(3, torch.Generator().manual_seed(0))
    model = LinearModel(5, nz, torch.Generator().manual_seed(1))
    with torch.no_grad():
        model.encoder.log_variance.fill_(-0.5)
        model.decoder.log_variance.fill_(0.4)
    parameters = dict(model.named_parameters())
    exact = model.exact().lower_bound(x, model.encoder(x)).sum()
    expected = torch.autograd.grad(exact, list(parameters.values()))
    noise = generator(0, "noise")
    draws = [
        torch.autograd.grad(
            lower_bound(model, x, normal(noise, 1, 3, nz), estimator).sum(),
            list(parameters.values()),
        )
        for _ in range(repeats)
    ]
    for name, values, gradient in zip(parameters, zip(*draws, strict=True), expected, strict=True):
        drawn = torch.stack(values)
        error = drawn.std(0) / repeats**0.5
        assert (error > 0).any() or estimator == "B", name
        assert ((drawn.mean(0) - gradient).abs() <= 5 * error + 1e-9).all(), name


@pytest.mark.usefixtures("double_precision")
def test_bounds_with_other_estimators_and_more_samples_agree_in_expectation() -> None:
    """With each other, and with the exact bound; L = 5 has a fifth of the variance of L = 1."""
    repeats = 4000
    model = LinearModel(5, 2, torch.Generator().manual_seed(1))
    x = example(2).sample(1, torch.Generator().manual_seed(0))
    exact = model.exact().lower_bound(x, model.encoder(x)).item()
    variances = {}
    settings: list[tuple[Estimator, int]] = [("A", 1), ("A", 5), ("B", 1), ("B", 5)]
    for seed, (estimator, n_samples) in enumerate(settings):
        epsilon = normal(generator(seed, "noise"), n_samples, repeats, 2)
        with torch.no_grad():
            bounds = lower_bound(model, x.expand(repeats, 5), epsilon, estimator)
        assert bounds.shape == (repeats,)
        error = bounds.std().item() / repeats**0.5
        assert bounds.mean().item() == pytest.approx(exact, abs=4 * error)
        variances[estimator, n_samples] = bounds.var().item()
    for estimator in ("A", "B"):
        ratio = variances[estimator, 1] / variances[estimator, 5]
        assert ratio == pytest.approx(5, rel=0.15)


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("estimator", ["A", "B"])
def test_with_several_samples_every_row_keeps_its_own_noise_and_image(
    estimator: Estimator,
) -> None:
    """L = 3 is the mean of three bounds with L = 1."""
    model, x = small(), images(4)
    epsilon = normal(generator(0, "noise"), 3, 4, NZ)
    several = lower_bound(model, x, epsilon, estimator)
    for row in range(4):
        single = [
            lower_bound(model, x[row : row + 1], epsilon[k : k + 1, row : row + 1], estimator)
            for k in range(3)
        ]
        torch.testing.assert_close(several[row], torch.cat(single).mean())


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("estimator", ["A", "B"])
@pytest.mark.parametrize("n_samples", [1, 3])
def test_an_aevb_step_climbs_the_bound_that_it_was_asked_to(
    estimator: Estimator, n_samples: int
) -> None:
    """Its move is Adagrad's along the summed gradient of that bound."""
    model, x = small(), images(6)
    before = parameters_of(model)
    bound = lower_bound(model, x, normal(generator(0, "noise"), n_samples, 6, NZ), estimator)
    gradients = torch.autograd.grad(bound.sum(), list(model.parameters()))
    aevb = learner("aevb", model, n_samples=n_samples, estimator=estimator)
    assert type(aevb) is AEVB
    torch.testing.assert_close(aevb.step(x), bound.detach().mean())
    for (name, p), g in zip(model.named_parameters(), gradients, strict=True):
        torch.testing.assert_close(p.detach(), before[name] + 0.1 * g / (1e-8 + g**2).sqrt())


# -- Linear-Gaussian, end to end -----------------------------------------------------------------

N_POINTS = 200
CHECKPOINTS = (0, 10, 30, 100, 300, 1000, 2000)


def gaussian_data() -> Tensor:
    """`(points, pixels)` from a linear-Gaussian model with two latent dimensions."""
    return example(2).sample(N_POINTS, torch.Generator().manual_seed(0))


@torch.no_grad()
def bound_and_likelihood(model: LinearModel, x: Tensor) -> tuple[float, float, float]:
    """Means over the data.

    Returns the exact bound, the exact marginal log likelihood, and how many standard errors the
    library's estimate of the bound (50 draws for every datapoint) lies from the exact bound.
    """
    q, exact = model.encoder(x), model.exact()
    epsilon = normal(generator(100, "noise"), 50, len(x), q.mean.shape[-1])
    estimates = torch.stack([lower_bound(model, x, e[None]).mean() for e in epsilon])
    bound = exact.lower_bound(x, q).mean()
    z_score = (estimates.mean() - bound) / (estimates.std() / 50**0.5)
    return bound.item(), exact.marginal_loglik(x).mean().item(), z_score.item()


def assert_reaches_maximum_likelihood(algorithm: str, nz: int, tolerance: float) -> None:
    x = gaussian_data()
    best = maximum_likelihood(x, nz).marginal_loglik(x).mean().item()
    model = LinearModel(5, nz, torch.Generator().manual_seed(1))
    climbing = learner(algorithm, model)
    for start, end in pairwise((0, *CHECKPOINTS)):
        for _ in range(start, end):
            climbing.step(x)
        bound, likelihood, z_score = bound_and_likelihood(model, x)
        assert bound <= likelihood <= best + 1e-9
        assert abs(z_score) < 4
        if end == 0:
            assert bound < best - 1
    assert best - likelihood < tolerance
    assert best - bound < 2 * tolerance


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize(("nz", "tolerance"), [(1, 0.001), (2, 0.005)])
def test_aevb_reaches_the_exact_maximum_likelihood(nz: int, tolerance: float) -> None:
    """Its decoder to 0.001 nats of probabilistic PCA for nz = 1, and to 0.005 nats for nz = 2.

    For nz = 2 the likelihood leaves a rotation of z free. The bound does not: of all rotations it
    is highest, and equal to the likelihood, where the columns of W are orthogonal, for there the
    posterior is diagonal as q is. Turning there takes the time that the wider tolerance stands for.
    """
    assert_reaches_maximum_likelihood("aevb", nz, tolerance)


@pytest.mark.usefixtures("double_precision")
def test_wake_sleep_reaches_the_exact_maximum_likelihood_when_its_encoder_can_be_exact() -> None:
    """To 0.002 nats: its two objectives differ, but have this fixed point in common.

    The sleep phase minimises KL(p(z|x) ‖ q(z|x)) over the decoder's own dreams. Where the family of
    encoders holds the posterior (nz = 1: linear mean, one variance), its optimum is q = p(z|x) for
    every x. The wake phase then climbs E_p(z|x)[∇ log p(x, z)], which is ∇ log p(x) (Fisher's
    identity): it stands still where the likelihood does. With a posterior outside the family, the
    two phases minimise different divergences and this argument fails.
    """
    assert_reaches_maximum_likelihood("wake-sleep", 1, tolerance=0.002)


@pytest.mark.usefixtures("double_precision")
def test_the_sleep_phase_finds_the_exact_posterior_without_any_data() -> None:
    """The decoder is held still; the encoder learns from dreams alone what Bayes' rule says."""
    x, truth = gaussian_data(), example(1)
    model = linear_model(truth)
    with torch.no_grad():
        for p in model.encoder.parameters():
            p.zero_()
    wake_sleep = learner("wake-sleep", model)
    assert isinstance(wake_sleep, WakeSleep)
    for _ in range(1000):
        wake_sleep.sleep(len(x))
    with torch.no_grad():
        q = model.encoder(x)
    assert truth.gap(x, q).mean() < 0.006
    best = truth.best_diagonal(x)
    torch.testing.assert_close(q.log_variance, best.log_variance, rtol=0, atol=0.05)
    torch.testing.assert_close(q.mean, best.mean, rtol=0, atol=0.2)


@pytest.mark.usefixtures("double_precision")
def test_at_the_exact_posterior_wake_sleep_reports_the_likelihood_without_any_noise() -> None:
    """There log p(x, z) − log q(z|x) is log p(x), whatever z was drawn."""
    x, truth = gaussian_data(), example(1)
    returned = learner("wake-sleep", linear_model(truth)).step(x)
    torch.testing.assert_close(returned, truth.marginal_loglik(x).mean())


@pytest.mark.usefixtures("double_precision")
def test_the_maximum_likelihood_is_a_stationary_point_of_the_bound() -> None:
    """There the bound is tight and its gradient zero, for every parameter of both networks."""
    x = gaussian_data()
    model = linear_model(maximum_likelihood(x, 2))
    bound = model.exact().lower_bound(x, model.encoder(x)).mean()
    torch.testing.assert_close(bound, model.exact().marginal_loglik(x).mean())
    for gradient in torch.autograd.grad(bound, list(model.parameters())):
        assert gradient.abs().max() < 1e-9
