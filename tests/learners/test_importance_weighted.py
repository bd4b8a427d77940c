"""IWAE, reweighted wake-sleep and a weight on the KL: known answers."""

from typing import Any

import pytest
import torch
from linear_gaussian import LinearModel, example, linear_model
from torch import Tensor

from aevb.learners import LEARNERS
from aevb.learners.aevb import Estimator, lower_bound
from aevb.learners.learner import Learner
from aevb.learners.optimiser import Optimisation
from aevb.model.networks import Architecture, Initialisation, Model, initialised
from aevb.model.randomness import generator, normal

pytestmark = pytest.mark.usefixtures("double_precision")

both = pytest.mark.parametrize("algorithm", ["iwae", "reweighted-wake-sleep"])


def learner(algorithm: str, model: Model, step_size: float = 0.1, **options: Any) -> Learner:
    plain = Optimisation(step_size=step_size, warmup=0)
    return LEARNERS[algorithm](model, plain, generator(0, "noise"), **options)


def small() -> Model:
    sizes, rough = Architecture(12, 7, 3, "bernoulli"), Initialisation(0.5, 0.5, 0.5)
    return initialised(sizes, rough, generator(0, "initialisation"))


def images() -> Tensor:
    return torch.rand(6, 12, generator=torch.Generator().manual_seed(0))


def moved(algorithm: str, **options: Any) -> dict[str, Tensor]:
    """Parameters after one update on the same images with the same noise."""
    model = small()
    learner(algorithm, model, **options).step(images())
    return {name: p.detach() for name, p in model.named_parameters()}


def linear(nz: int) -> LinearModel:
    """A decoder, with an encoder that is not the best for it."""
    model = LinearModel(5, nz, torch.Generator().manual_seed(1))
    with torch.no_grad():
        model.decoder.mean.weight.mul_(8)
    return model


def test_with_one_sample_iwae_is_aevb_with_estimator_a() -> None:
    iwae, aevb = moved("iwae"), moved("aevb", estimator="A")
    for name, value in aevb.items():
        torch.testing.assert_close(iwae[name], value, rtol=1e-12, atol=1e-12)


def test_with_one_sample_the_decoder_wakes_as_in_wake_sleep() -> None:
    reweighted, plain = moved("reweighted-wake-sleep"), moved("wake-sleep")
    for name in (name for name in plain if name.startswith("decoder")):
        torch.testing.assert_close(reweighted[name], plain[name], rtol=1e-12, atol=1e-12)


def test_the_decoder_has_the_same_gradient_under_both() -> None:
    """That of the importance-weighted bound is the weighted one of log p(x, z)."""
    iwae, reweighted = moved("iwae", n_samples=4), moved("reweighted-wake-sleep", n_samples=4)
    for name in (name for name in iwae if name.startswith("decoder")):
        torch.testing.assert_close(iwae[name], reweighted[name], rtol=1e-9, atol=1e-9)
    weight = "encoder.mean.weight"
    assert not torch.allclose(iwae[weight], reweighted[weight])


@both
def test_more_samples_raise_the_bound_towards_the_likelihood(algorithm: str) -> None:
    x = example(2).sample(1, torch.Generator().manual_seed(0))
    model = linear(2)
    means, errors = [], []
    for k in (1, 5, 50):
        still = learner(algorithm, model, 0.0, n_samples=k)
        drawn = torch.stack([still.step(x.expand(100, 5)) for _ in range(60)])
        means.append(drawn.mean().item())
        errors.append(drawn.std().item() / 60**0.5)
    exact = model.exact()
    assert means[0] == pytest.approx(
        exact.lower_bound(x, model.encoder(x)).item(), abs=4 * errors[0]
    )
    likelihood = exact.marginal_loglik(x).item()
    assert means[0] + 4 * errors[0] < means[1] < means[2] - 4 * errors[2]
    assert means[2] < likelihood + 4 * errors[2]
    assert likelihood - means[2] < 0.3 * (likelihood - means[0])


@both
@pytest.mark.parametrize("k", [1, 7])
def test_at_the_exact_posterior_the_bound_is_the_likelihood_without_noise(
    algorithm: str, k: int
) -> None:
    truth, x = example(1), example(1).sample(9, torch.Generator().manual_seed(0))
    returned = learner(algorithm, linear_model(truth), n_samples=k).step(x)
    torch.testing.assert_close(returned, truth.marginal_loglik(x).mean())


def test_the_encoder_of_reweighted_wake_sleep_climbs_towards_the_posterior() -> None:
    """With many samples its wake gradient is that of −KL(p(z|x) ‖ q(z|x)), in closed form."""
    x = example(1).sample(4, torch.Generator().manual_seed(0))
    model = linear(1)
    waking = learner("reweighted-wake-sleep", model, n_samples=20_000)
    seen: dict[str, Tensor] = {}
    waking.ascents["encoder"].update = seen.update  # type: ignore[method-assign, assignment]
    q, posterior = model.encoder(x), model.exact().posterior(x)
    squares = (posterior.mean - q.mean).square() + posterior.variance
    divergence = 0.5 * (q.log_variance + squares * torch.exp(-q.log_variance)).sum()
    names = dict(model.encoder.named_parameters(prefix="encoder"))
    exact = torch.autograd.grad(-divergence, list(names.values()))
    waking.wake(x)  # type: ignore[attr-defined]
    for name, gradient in zip(names, exact, strict=True):
        torch.testing.assert_close(seen[name], gradient.detach(), rtol=0.05, atol=0.1)


@pytest.mark.parametrize("estimator", ["A", "B"])
def test_a_weight_on_the_kl_turns_the_bound_into_distortion_and_rate(estimator: Estimator) -> None:
    """The weighted bound is linear in it, from log p(x|z) at zero to the bound at one."""
    model, x = small(), images()
    epsilon = normal(generator(0, "noise"), 1, 6, 3)
    none, half, whole = (lower_bound(model, x, epsilon, estimator, b) for b in (0.0, 0.5, 1.0))
    q = model.encoder(x)
    torch.testing.assert_close(none, model.decoder(q.sample(epsilon)).log_prob(x)[0])
    torch.testing.assert_close(half, (none + whole) / 2)
    assert whole.equal(lower_bound(model, x, epsilon, estimator))
    weighted = moved("aevb", estimator=estimator, beta=0.5)
    model, before = small(), dict(small().named_parameters())
    objective = lower_bound(model, x, epsilon, estimator, 0.5).sum()
    gradients = torch.autograd.grad(objective, list(model.parameters()))
    for (name, _), g in zip(model.named_parameters(), gradients, strict=True):
        expected = before[name].detach() + 0.1 * g / (1e-8 + g**2).sqrt()
        torch.testing.assert_close(weighted[name], expected)
