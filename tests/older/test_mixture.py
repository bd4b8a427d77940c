"""The mixture of Bernoullis: EM against what it must do."""

from itertools import pairwise

import torch

from aevb.learners.optimiser import Optimisation
from aevb.model.distributions import Bernoulli
from aevb.model.randomness import generator, uniform
from aevb.older.mixture import EM, BernoulliMixture, started

MEANS = torch.tensor([[0.9] * 6 + [0.1] * 6, [0.1] * 6 + [0.9] * 6, [0.9, 0.1] * 6])
WEIGHTS = torch.tensor([0.5, 0.3, 0.2])


def images(n: int) -> torch.Tensor:
    g = generator(0, "images")
    k = torch.multinomial(WEIGHTS, n, replacement=True, generator=g)
    return (uniform(g, n, 12) < MEANS[k]).float()


def learner(x: torch.Tensor, components: int, pseudo_counts: float) -> EM:
    mixture = started(x, components, generator(1, "start")).to(x.dtype)
    noise = generator(0, "noise")
    return EM(mixture, Optimisation(), noise, pseudo_counts=pseudo_counts)


def test_loglik_is_the_sum_over_components() -> None:
    mixture = started(images(50), 3, generator(0, "start"))
    x = images(7)
    by_hand = torch.stack(
        [
            weight + Bernoulli(logits).log_prob(x)
            for weight, logits in zip(mixture.log_weights, mixture.logits, strict=True)
        ]
    ).logsumexp(0)
    assert torch.allclose(mixture.loglik(x), by_hand, atol=1e-5)


def test_probabilities_of_all_images_sum_to_one() -> None:
    mixture = started(images(50), 4, generator(0, "start"))
    every = torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * 12)
    assert abs(mixture.loglik(every).double().exp().sum().item() - 1) < 1e-4


def test_em_never_lowers_the_likelihood() -> None:
    x = images(2000).double()
    em = learner(x, 5, 1e-9)
    seen = [em.step(x).item() for _ in range(40)]
    assert all(later >= earlier - 1e-8 for earlier, later in pairwise(seen))
    assert seen[-1] > seen[0] + 0.5


def test_em_with_a_prior_never_lowers_likelihood_plus_prior() -> None:
    x = images(300)
    em = learner(x, 5, 2.0)

    def log_prior() -> float:
        mean = torch.sigmoid(em.mixture.logits)
        return 2.0 * (mean.log() + (1 - mean).log()).sum().item()

    seen = []
    for _ in range(30):
        before = log_prior()
        seen.append(len(x) * em.step(x).item() + before)
    assert all(later >= earlier - 0.01 for earlier, later in pairwise(seen))


def test_em_recovers_a_known_mixture() -> None:
    x = images(20_000)
    em = learner(x, 3, 0.1)
    for _ in range(60):
        em.step(x)
    order = em.mixture.log_weights.argsort(descending=True)
    assert torch.allclose(em.mixture.log_weights.exp()[order], WEIGHTS, atol=0.02)
    assert torch.allclose(torch.sigmoid(em.mixture.logits)[order], MEANS, atol=0.03)


def test_means_are_drawn_by_the_weights() -> None:
    mixture = BernoulliMixture(3, 12)
    mixture.log_weights.copy_(WEIGHTS.log())
    mixture.logits.copy_(torch.logit(MEANS))
    drawn = mixture.means(5000, generator(0, "draws"))
    shares = [(drawn - mean).abs().amax(1).lt(1e-6).float().mean().item() for mean in MEANS]
    assert torch.allclose(torch.tensor(shares), WEIGHTS, atol=0.03)
