"""The learners against hand-written updates, finite differences and exact linear-Gaussian answers.

Two kinds of networks: those of the paper (`stack`), and linear ones (`LinearModel`), for which the
bound, its gradient and the best reachable likelihood are known exactly.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import pytest
import torch
from linear_gaussian import LinearModel, example
from torch import Tensor
from torch.distributions import Bernoulli, Normal

from aevb.learners import Learner
from aevb.learners.aevb import AEVB, lower_bound
from aevb.learners.optimiser import Ascent, Optimisation
from aevb.learners.wake_sleep import WakeSleep
from aevb.model.distributions import DiagonalGaussian
from aevb.model.linear_gaussian import LinearGaussian, maximum_likelihood
from aevb.model.networks import (
    Architecture,
    Initialisation,
    Model,
    initialised,
    parameter_shapes,
)
from aevb.model.randomness import Streams, generator

Likelihood = Literal["bernoulli", "gaussian"]
Estimator = Literal["A", "B"]
LIKELIHOODS: tuple[Likelihood, ...] = ("bernoulli", "gaussian")
ALGORITHMS = ("aevb", "wake-sleep")
PIXELS, HIDDEN = 12, 7
PLAIN = Optimisation(warmup=0, prior=0.0)
ROUGH = Initialisation(std=0.5, encoder_log_variance_std=0.5, decoder_output_bias_std=0.5)


def noise(seeds: Sequence[int], nz: Sequence[int]) -> Streams:
    return Streams([generator(seed, "noise") for seed in seeds], nz)


def images(rows: int, seed: int = 0) -> Tensor:
    return torch.rand(1, rows, PIXELS, generator=torch.Generator().manual_seed(seed))


def architecture(nz: int, likelihood: Likelihood) -> Architecture:
    return Architecture(PIXELS, HIDDEN, nz, likelihood)


def stack(seeds: Sequence[int], nz: Sequence[int], likelihood: Likelihood = "bernoulli") -> Model:
    """The paper's networks, small, with parameters that depend on each seed alone."""
    architectures = [architecture(n, likelihood) for n in nz]
    return initialised(architectures, ROUGH, [generator(s, "initialisation") for s in seeds])


def ascent(
    model: Model | LinearModel,
    network: str,
    optimisation: Optimisation,
    step_size: float,
    minibatch_share: float = 0.01,
) -> Ascent:
    own = {name: p for name, p in model.named_parameters() if name.startswith(network)}
    replicates = len(next(iter(own.values())))
    return Ascent(own, optimisation, [step_size] * replicates, minibatch_share)


def learner(
    algorithm: str,
    model: Model | LinearModel,
    streams: Streams,
    optimisation: Optimisation = PLAIN,
    step_size: float = 0.1,
) -> Learner:
    networks = model.as_model() if isinstance(model, LinearModel) else model
    if algorithm == "aevb":
        return AEVB(networks, ascent(model, "", optimisation, step_size), streams)
    encoder, decoder = (
        ascent(model, network, optimisation, step_size) for network in ("encoder", "decoder")
    )
    return WakeSleep(networks, encoder, decoder, streams)


def parameters_of(model: Model | LinearModel) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


# -- By hand -------------------------------------------------------------------------------------


class ByHand:
    """One replicate of the Bernoulli networks, its log densities from torch.distributions."""

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

    def climb(self, objective: Tensor, network: str) -> None:
        """First update of Adagrad with step size 0.1 on the parameters of `network`."""
        own = {name: p for name, p in self.p.items() if name.startswith(network)}
        gradients = torch.autograd.grad(objective, list(own.values()))
        for (name, p), g in zip(own.items(), gradients, strict=True):
            moved = p.detach() + 0.1 * g / (1e-8 + g**2).sqrt()
            self.p[name] = moved.requires_grad_()


def log_prob(distribution: Normal | Bernoulli, x: Tensor) -> Tensor:
    values: Tensor = distribution.log_prob(x)  # type: ignore[no-untyped-call]
    return values.sum(-1)


def assert_parameters(model: Model, replicate: int, by_hand: ByHand) -> None:
    for name, value in model.named_parameters():
        torch.testing.assert_close(
            value.detach()[replicate], by_hand.p[name].detach(), rtol=1e-9, atol=1e-9
        )


@pytest.mark.usefixtures("double_precision")
def test_an_aevb_step_is_algorithm_1_by_hand() -> None:
    model, x = stack([0, 1], [3, 3]), images(6).expand(2, 6, PIXELS)
    by_hand = [ByHand({k: v[r] for k, v in parameters_of(model).items()}) for r in range(2)]
    bounds = learner("aevb", model, noise([0, 1], [3, 3])).step(x)
    for r, hand in enumerate(by_hand):
        q = hand.q(x[r])
        epsilon = noise([r], [3]).latents(6)[0]
        z = q.loc + q.scale * epsilon
        variance = q.scale**2
        kl = -0.5 * (1 + variance.log() - q.loc**2 - variance).sum(-1)
        bound = log_prob(hand.p_x(z), x[r]) - kl
        hand.climb(bound.sum(), "")
        # Returned is the bound at the parameters before the update.
        torch.testing.assert_close(bounds[r], bound.mean().detach())
        assert_parameters(model, r, hand)


@pytest.mark.usefixtures("double_precision")
def test_a_wake_sleep_step_is_a_wake_and_a_sleep_phase_by_hand() -> None:
    model, x = stack([0, 1], [3, 3]), images(6).expand(2, 6, PIXELS)
    by_hand = [ByHand({k: v[r] for k, v in parameters_of(model).items()}) for r in range(2)]
    bounds = learner("wake-sleep", model, noise([0, 1], [3, 3])).step(x)
    for r, hand in enumerate(by_hand):
        streams = noise([r], [3])
        q = hand.q(x[r])
        z = (q.loc + q.scale * streams.latents(6)[0]).detach()
        log_px_given_z = log_prob(hand.p_x(z), x[r])
        bound = log_px_given_z + log_prob(Normal(torch.zeros(3), 1.0), z) - log_prob(q, z)
        torch.testing.assert_close(bounds[r], bound.mean().detach())
        hand.climb(log_px_given_z.sum(), "decoder")
        # Sleep: the dream comes from the updated decoder.
        z = streams.latents(6)[0]
        dream = (streams.uniform(6, PIXELS)[0] < hand.p_x(z).probs).double()
        hand.climb(log_prob(hand.q(dream), z).sum(), "encoder")
        assert_parameters(model, r, hand)


@pytest.mark.parametrize("sleep_first", [False, True])
def test_the_phases_come_in_the_order_asked_for(
    sleep_first: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = stack([0], [3])
    encoder, decoder = (ascent(model, network, PLAIN, 0.1) for network in ("encoder", "decoder"))
    order: list[str] = []
    monkeypatch.setattr(encoder, "climb", lambda _: order.append("encoder"))
    monkeypatch.setattr(decoder, "climb", lambda _: order.append("decoder"))
    x = images(6)
    bound = WakeSleep(model, encoder, decoder, noise([0], [3]), sleep_first=sleep_first).step(x)
    assert order == (["encoder", "decoder"] if sleep_first else ["decoder", "encoder"])
    assert bound.shape == (1,)


@pytest.mark.parametrize("clip", [False, True])
def test_clipped_dreams_lie_where_pixels_lie(clip: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    model = stack([0], [3], likelihood="gaussian")
    encoder, decoder = (ascent(model, network, PLAIN, 0.1) for network in ("encoder", "decoder"))
    seen: list[Tensor] = []
    forward = model.encoder.forward

    def observed(x: Tensor) -> DiagonalGaussian:
        seen.append(x)
        return forward(x)

    monkeypatch.setattr(model.encoder, "forward", observed)
    WakeSleep(model, encoder, decoder, noise([0], [3]), clip_dreams=clip).sleep(50)
    (dream,) = seen
    assert bool(((dream >= 0) & (dream <= 1)).all()) == clip


@pytest.mark.parametrize(("phase", "moves"), [("wake", "decoder"), ("sleep", "encoder")])
def test_a_phase_of_wake_sleep_moves_one_network_alone(phase: str, moves: str) -> None:
    model = stack([0], [3])
    encoder, decoder = (ascent(model, network, PLAIN, 0.1) for network in ("encoder", "decoder"))
    before = parameters_of(model)
    one = WakeSleep(model, encoder, decoder, noise([0], [3]))
    if phase == "wake":
        one.wake(images(6))
    else:
        one.sleep(6)
    for name, value in model.named_parameters():
        assert torch.equal(value, before[name]) != name.startswith(moves)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_returned_bound_estimates_that_before_the_update(
    algorithm: str, likelihood: Likelihood
) -> None:
    model, x = stack([0], [3], likelihood), images(4000)
    with torch.no_grad():
        before = lower_bound(model, x, noise([7], [3]))
    returned = learner(algorithm, model, noise([0], [3]), step_size=0.5).step(x)
    with torch.no_grad():
        after = lower_bound(model, x, noise([7], [3]))
    error = before.std().item() / 4000**0.5
    assert returned.shape == (1,)
    assert not returned.requires_grad
    assert returned.item() == pytest.approx(before.mean().item(), abs=6 * error)
    assert abs(after.mean().item() - before.mean().item()) > 12 * error


# -- Stacks --------------------------------------------------------------------------------------


def trained(
    algorithm: str,
    seeds: Sequence[int],
    nz: Sequence[int],
    likelihood: Likelihood,
    optimisation: Optimisation,
) -> tuple[Model, list[Tensor]]:
    model = stack(seeds, nz, likelihood)
    one = learner(algorithm, model, noise(seeds, nz), optimisation, step_size=0.02)
    data = images(200)[0]
    order = Streams([generator(seed, "minibatches") for seed in seeds], nz)
    bounds = [one.step(data[order.indices(10, 200)]) for _ in range(30)]
    return model, bounds


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_two_seeds_train_together_as_they_do_alone(algorithm: str, likelihood: Likelihood) -> None:
    """To 1e-6, not bit for bit: baddbmm takes other kernels for other stacks of small matrices.

    At the sizes of the paper, with equal nz and on one CPU thread, it was bit for bit.
    """
    optimisation = Optimisation(warmup=5)
    together, bounds = trained(algorithm, [0, 1], [3, 3], likelihood, optimisation)
    for r in range(2):
        alone, bounds_alone = trained(algorithm, [r], [3], likelihood, optimisation)
        torch.testing.assert_close(
            torch.stack(bounds)[:, r], torch.stack(bounds_alone)[:, 0], rtol=1e-6, atol=1e-6
        )
        for name, value in alone.named_parameters():
            stacked = together.get_parameter(name)[r]
            torch.testing.assert_close(stacked, value[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("rule", ["adagrad", "adam"])
def test_padding_never_moves_and_changes_nothing(
    algorithm: str, likelihood: Likelihood, rule: Literal["adagrad", "adam"]
) -> None:
    """Models of nz = 2 and 5 in one stack train as alone; padding stays zero in both learners."""
    optimisation = Optimisation(rule, warmup=5)
    together, bounds = trained(algorithm, [0, 1], [2, 5], likelihood, optimisation)
    for r, nz in enumerate((2, 5)):
        alone, bounds_alone = trained(algorithm, [r], [nz], likelihood, optimisation)
        torch.testing.assert_close(
            torch.stack(bounds)[:, r], torch.stack(bounds_alone)[:, 0], rtol=1e-5, atol=1e-4
        )
        shapes = parameter_shapes(architecture(nz, likelihood))
        for name, value in together.named_parameters():
            own = tuple(slice(n) for n in shapes[name])
            torch.testing.assert_close(
                value[r][own], alone.get_parameter(name)[0], rtol=1e-4, atol=1e-4
            )
            padding = torch.ones_like(value[r], dtype=torch.bool)
            padding[own] = False
            assert padding.any() == (nz == 2 and name in PADDED)
            assert not value[r][padding].any()


PADDED = {
    "encoder.mean.weight",
    "encoder.mean.bias",
    "encoder.log_variance.weight",
    "encoder.log_variance.bias",
    "decoder.hidden.weight",
}


@pytest.mark.parametrize("algorithm", ALGORITHMS)
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_padding_has_no_gradient_even_where_its_weights_are_not_zero(
    algorithm: str, likelihood: Likelihood
) -> None:
    model = stack([0, 1], [2, 5], likelihood)
    with torch.no_grad():
        for name in PADDED:
            model.get_parameter(name)[0, :, 2:] = 1.0
        model.decoder.hidden.weight[0] = 1.0
    one = learner(algorithm, model, noise([0, 1], [2, 5]))
    for _ in range(3):
        one.step(images(6).expand(2, 6, PIXELS))
    for moved in one.ascents.values():
        for name, squares in moved.accumulators["squares"].items():
            if name in PADDED:
                by_nz = squares[0] if name == "decoder.hidden.weight" else squares[0].T
                assert (by_nz[:2] > 1e-8).all()
                assert (by_nz[2:] == 1e-8).all()


# -- Gradients -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("estimator", ["A", "B"])
@pytest.mark.parametrize("n_samples", [1, 3])
def test_pathwise_gradient_is_that_of_finite_differences(
    likelihood: Likelihood, estimator: Estimator, n_samples: int
) -> None:
    """Of every parameter of encoder and decoder, under common noise, to seven digits."""
    model, x = stack([0], [2], likelihood), images(4)

    def bound() -> Tensor:
        streams = noise([0], [2])
        return lower_bound(model, x, streams, n_samples=n_samples, estimator=estimator).sum()

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
    repeats = 4000
    x = example(2).sample(3, torch.Generator().manual_seed(0))
    one = LinearModel(1, 5, nz, torch.Generator().manual_seed(1))
    with torch.no_grad():
        one.encoder.log_variance.fill_(-0.5)
        one.decoder.log_variance.fill_(0.4)
    q = one.encoder(x[None])
    exact = one.exact().lower_bound(x, DiagonalGaussian(q.mean[0], q.log_variance[0])).sum()
    parameters = dict(one.named_parameters())
    expected = torch.autograd.grad(exact, list(parameters.values()))

    # As many replicates with the same parameters: the gradient of each is one draw.
    many = LinearModel(repeats, 5, nz, torch.Generator())
    load = {name: p.detach().expand(repeats, *p.shape[1:]) for name, p in parameters.items()}
    many.load_state_dict(load)
    # One stream serves all: its rows are independent draws.
    epsilon = torch.randn(repeats, 3, nz, generator=generator(0, "noise"))

    class Drawn(Streams):
        def latents(self, rows: int) -> Tensor:
            assert rows == 3
            return epsilon

    bound = lower_bound(
        many.as_model(), x.expand(repeats, 3, 5), Drawn([], []), estimator=estimator
    )
    draws = torch.autograd.grad(bound.sum(), list(many.parameters()))
    for name, values, gradient in zip(parameters, draws, expected, strict=True):
        error = values.std(0, keepdim=True) / repeats**0.5
        assert (error > 0).any() or estimator == "B", name
        assert ((values.mean(0, keepdim=True) - gradient).abs() <= 5 * error + 1e-9).all(), name


@pytest.mark.usefixtures("double_precision")
def test_bounds_with_other_estimators_and_more_samples_agree_in_expectation() -> None:
    """With each other, and with the exact bound; L = 5 has a fifth of the variance of L = 1."""
    repeats = 4000
    model = LinearModel(1, 5, 2, torch.Generator().manual_seed(1))
    x = example(2).sample(1, torch.Generator().manual_seed(0))
    q = model.encoder(x[None])
    exact = model.exact().lower_bound(x, DiagonalGaussian(q.mean[0], q.log_variance[0])).item()
    variances = {}
    settings: list[tuple[Estimator, int]] = [("A", 1), ("A", 5), ("B", 1), ("B", 5)]
    for seed, (estimator, n_samples) in enumerate(settings):
        with torch.no_grad():
            rows = x.expand(1, repeats, 5)
            bounds = lower_bound(
                model.as_model(),
                rows,
                noise([seed], [2]),
                n_samples=n_samples,
                estimator=estimator,
            )
        assert bounds.shape == (1, repeats)
        error = bounds.std().item() / repeats**0.5
        assert bounds.mean().item() == pytest.approx(exact, abs=4 * error)
        variances[estimator, n_samples] = bounds.var().item()
    for estimator in ("A", "B"):
        ratio = variances[estimator, 1] / variances[estimator, 5]
        assert ratio == pytest.approx(5, rel=0.15)


@pytest.mark.usefixtures("double_precision")
def test_with_several_samples_every_row_keeps_its_own_noise_and_image() -> None:
    """L = 3 is the mean of three bounds with L = 1, drawn from one stream in turn."""
    model, x = stack([0, 1], [2, 3]), images(4).expand(2, 4, PIXELS)
    several = lower_bound(model, x, noise([0, 1], [2, 3]), n_samples=3)
    epsilon = noise([0, 1], [2, 3]).latents(12)
    for row in range(4):
        for r, nz in enumerate((2, 3)):
            single = [
                _bound_by_hand(model, r, x[r, row], epsilon[r, sample * 4 + row, :nz])
                for sample in range(3)
            ]
            torch.testing.assert_close(several[r, row], torch.stack(single).mean())


def _bound_by_hand(model: Model, replicate: int, x: Tensor, epsilon: Tensor) -> Tensor:
    hand = ByHand({name: p[replicate] for name, p in parameters_of(model).items()})
    q = hand.q(x[None])
    nz = len(epsilon)
    q = Normal(q.loc[:, :nz], q.scale[:, :nz])
    z = q.loc + q.scale * epsilon
    kl = -0.5 * (1 + (q.scale**2).log() - q.loc**2 - q.scale**2).sum(-1)
    padded = torch.nn.functional.pad(z, (0, max(model.nz) - nz))
    return (log_prob(hand.p_x(padded), x) - kl)[0]


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("estimator", ["A", "B"])
@pytest.mark.parametrize("n_samples", [1, 3])
def test_an_aevb_step_climbs_the_bound_that_it_was_asked_to(
    estimator: Estimator, n_samples: int
) -> None:
    """Its move is Adagrad's along the summed gradient of that bound."""
    model, x = stack([0], [3]), images(6)
    before = parameters_of(model)
    bound = lower_bound(model, x, noise([0], [3]), n_samples=n_samples, estimator=estimator)
    gradients = torch.autograd.grad(bound.sum(), list(model.parameters()))
    returned = AEVB(
        model,
        ascent(model, "", PLAIN, 0.1),
        noise([0], [3]),
        n_samples=n_samples,
        estimator=estimator,
    ).step(x)
    torch.testing.assert_close(returned, bound.detach().mean(1))
    for (name, p), g in zip(model.named_parameters(), gradients, strict=True):
        torch.testing.assert_close(p.detach(), before[name] + 0.1 * g / (1e-8 + g**2).sqrt())


# -- Linear-Gaussian, end to end -----------------------------------------------------------------

SEEDS = (0, 1)
N_POINTS = 200
CHECKPOINTS = (0, 10, 30, 100, 300, 1000, 2000)


def gaussian_data() -> Tensor:
    """`(1, points, pixels)` from a linear-Gaussian model with two latent dimensions."""
    return example(2).sample(N_POINTS, torch.Generator().manual_seed(0))[None]


def linear_model(truth: LinearGaussian) -> LinearModel:
    """Networks with the decoder `truth` and the best encoder for it."""
    pixels, nz = truth.weight.shape
    model = LinearModel(1, pixels, nz, torch.Generator())
    # The best mean is linear in x: its values at 0 and at the unit vectors are the parameters.
    at_zero, at_units = (truth.best_diagonal(x) for x in (torch.zeros(pixels), torch.eye(pixels)))
    with torch.no_grad():
        model.encoder.mean.weight[0] = at_units.mean - at_zero.mean
        model.encoder.mean.bias[0, 0] = at_zero.mean
        model.encoder.log_variance[0, 0] = at_zero.log_variance
        model.decoder.mean.weight[0] = truth.weight.T
        model.decoder.mean.bias[0, 0] = truth.bias
        model.decoder.log_variance.fill_(truth.variance.log().item())
    return model


def bound_and_likelihood(model: LinearModel, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Means over the data, for each seed.

    Returns the exact bound, the exact marginal log likelihood, and how many standard errors the
    library's estimate of the bound (50 draws for every datapoint) lies from the exact bound.
    """
    with torch.no_grad():
        repeated = x.expand(len(SEEDS), *x.shape[1:])
        q = model.encoder(repeated)
        draws = [
            lower_bound(
                model.as_model(), repeated, noise([100 + k, 200 + k], [q.mean.shape[-1]] * 2)
            )
            for k in range(50)
        ]
        estimates = torch.stack(draws).mean(-1)
        bounds, likelihoods = [], []
        for r in range(len(SEEDS)):
            exact = model.exact(r)
            q_r = DiagonalGaussian(q.mean[r], q.log_variance[r])
            bounds.append(exact.lower_bound(x[0], q_r).mean())
            likelihoods.append(exact.marginal_loglik(x[0]).mean())
    bound = torch.stack(bounds)
    z_score = (estimates.mean(0) - bound) / (estimates.std(0) / 50**0.5)
    return bound, torch.stack(likelihoods), z_score


def assert_reaches_maximum_likelihood(algorithm: str, nz: int, tolerance: float) -> None:
    x = gaussian_data()
    best = maximum_likelihood(x[0], nz).marginal_loglik(x[0]).mean()
    model = LinearModel(len(SEEDS), 5, nz, torch.Generator().manual_seed(1))
    streams = noise(SEEDS, [nz] * len(SEEDS))
    one = learner(algorithm, model, streams, Optimisation(warmup=0, prior=0.0), step_size=0.1)
    repeated = x.expand(len(SEEDS), *x.shape[1:])
    for start, end in pairwise((0, *CHECKPOINTS)):
        for _ in range(start, end):
            one.step(repeated)
        bound, likelihood, z_score = bound_and_likelihood(model, x)
        assert (bound <= likelihood).all()
        assert (likelihood <= best + 1e-9).all()
        assert z_score.abs().max() < 4
        if end == 0:
            assert (bound < best - 1).all()
    assert (best - likelihood).max() < tolerance
    assert (best - bound).max() < 2 * tolerance


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
    x = gaussian_data()
    truth = example(1)
    model = linear_model(truth)
    with torch.no_grad():
        for p in model.encoder.parameters():
            p.zero_()
    encoder, decoder = (
        ascent(model, network, PLAIN, step)
        for network, step in (("encoder", 0.1), ("decoder", 0.0))
    )
    one = WakeSleep(model.as_model(), encoder, decoder, noise([0], [1]))
    for _ in range(1000):
        one.step(x)
    with torch.no_grad():
        q = model.encoder(x)
    gap = truth.gap(x[0], DiagonalGaussian(q.mean[0], q.log_variance[0]))
    assert gap.mean() < 0.006
    best = truth.best_diagonal(x[0])
    torch.testing.assert_close(q.log_variance[0], best.log_variance, rtol=0, atol=0.05)
    torch.testing.assert_close(q.mean[0], best.mean, rtol=0, atol=0.2)


@pytest.mark.usefixtures("double_precision")
def test_at_the_exact_posterior_wake_sleep_reports_the_likelihood_without_any_noise() -> None:
    """There log p(x, z) − log q(z|x) is log p(x), whatever z was drawn."""
    x, truth = gaussian_data(), example(1)
    model = linear_model(truth)
    returned = learner("wake-sleep", model, noise([0], [1])).step(x)
    torch.testing.assert_close(returned, truth.marginal_loglik(x).mean(1))


@pytest.mark.usefixtures("double_precision")
def test_the_maximum_likelihood_is_a_stationary_point_of_the_bound() -> None:
    """There the bound is tight and its gradient zero, for every parameter of both networks."""
    x = gaussian_data()
    model = linear_model(maximum_likelihood(x[0], 2))
    q = model.encoder(x)
    bound = model.exact().lower_bound(x[0], DiagonalGaussian(q.mean[0], q.log_variance[0])).mean()
    torch.testing.assert_close(bound, model.exact().marginal_loglik(x[0]).mean())
    for gradient in torch.autograd.grad(bound, list(model.parameters())):
        assert gradient.abs().max() < 1e-9
