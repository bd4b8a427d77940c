"""The RBM and the deep belief network, on machines whose states can be listed."""

import pytest
import torch

from aevb.learners.optimiser import Optimisation
from aevb.model.randomness import generator, normal
from aevb.older import rbm as rbms
from aevb.older.dbn import DBN, GreedyTop
from aevb.older.rbm import RBM, ContrastiveDivergence

PLAIN = Optimisation(step_size=0.05, warmup=0)


def states(n: int) -> torch.Tensor:
    return torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * n)


LINES = states(3)
BOTH = torch.cat([LINES.repeat_interleave(3, 1), LINES.repeat(1, 3)])
PATTERNS = BOTH.unique(dim=0)  # type: ignore[no-untyped-call]


def machine(pixels: int, hidden: int, scale: float = 1.0) -> RBM:
    g = generator(0, f"{pixels} {hidden}")
    rbm = RBM(pixels, hidden)
    for parameter in rbm.parameters():
        parameter.copy_(scale * normal(g, *parameter.shape))
    return rbm


def log_z(rbm: RBM) -> torch.Tensor:
    return torch.logsumexp(rbm.log_unnormalised(states(len(rbm.visible_bias))), 0)


def loglik(rbm: RBM, v: torch.Tensor) -> torch.Tensor:
    return rbm.log_unnormalised(v) - log_z(rbm)


def test_the_sum_over_hidden_units_is_a_product() -> None:
    rbm, v, h = machine(4, 3), states(4), states(3)
    energy = v @ rbm.visible_bias + (h @ rbm.hidden_bias)[:, None] + (v @ rbm.weight @ h.T).T
    assert torch.allclose(torch.logsumexp(energy, 0), rbm.log_unnormalised(v), atol=1e-5)
    both = torch.logsumexp(energy.flatten(), 0)
    assert torch.allclose(both, log_z(rbm.upside_down()), atol=1e-5)


def test_the_gibbs_chain_ends_in_the_machines_own_distribution() -> None:
    rbm, v = machine(5, 3), states(5)
    p = loglik(rbm, v).exp()
    end = rbm.gibbs(torch.zeros(40_000, 5), generator(0, "chain"), steps=50)
    assert torch.allclose(end.mean(0), p @ v, atol=0.012)
    assert torch.allclose(end.T @ end / len(end), v.T @ (p[:, None] * v), atol=0.012)


def expected(rbm: RBM, v: torch.Tensor, p: torch.Tensor) -> dict[str, torch.Tensor]:
    """Expectations of v h', v and h, for pixels of probabilities p."""
    h = torch.sigmoid(rbm.hidden_logits(v))
    return {
        "weight": (v * p[:, None]).T @ h,
        "visible_bias": p @ v,
        "hidden_bias": p @ h,
    }


class Recorder:
    """In the place of an `Ascent`: keeps the gradients."""

    def __init__(self) -> None:
        self.gradients: dict[str, torch.Tensor] = {}

    def update(self, gradients: dict[str, torch.Tensor]) -> None:
        self.gradients = gradients


@pytest.mark.parametrize("persistent", [False, True])
def test_with_a_long_chain_the_update_is_the_gradient_of_the_likelihood(persistent: bool) -> None:
    rbm = machine(5, 3)
    x = states(5)[[3, 9, 20]].repeat(20_000, 1)
    learner = ContrastiveDivergence(
        rbm, PLAIN, generator(0, "noise"), schedule=((0, 40),), persistent=persistent
    )
    learner.ascents["model"] = recorder = Recorder()  # type: ignore[assignment]
    learner.step(x)
    p = loglik(rbm, v := states(5)).exp()
    for name, exact in expected(rbm, x[:3], torch.full((3,), 1 / 3)).items():
        gradient = exact - expected(rbm, v, p)[name]
        assert torch.allclose(recorder.gradients[name] / len(x), gradient, atol=0.015), name


def test_the_number_of_steps_follows_the_schedule() -> None:
    schedule = ((0, 1), (2, 5), (3, 25))
    learner = ContrastiveDivergence(
        machine(5, 3, 0.1), PLAIN, generator(0, "noise"), schedule=schedule
    )
    seen = []
    for _ in range(5):
        seen.append(learner.steps)
        learner.step(states(5))
    assert seen == [1, 1, 5, 25, 25]


def test_persistent_chains_go_on_and_others_start_at_the_data() -> None:
    x = torch.ones(20, 5)
    for persistent in (False, True):
        learner = ContrastiveDivergence(
            machine(5, 3, 0.0), PLAIN, generator(0, "noise"), persistent=persistent
        )
        learner.step(x)
        assert ("chains" in learner.memory) == persistent
        if persistent:
            first = learner.memory["chains"].clone()
            assert 0 < first.mean() < 1  # a machine without weights forgets at once
            learner.step(x)
            assert not torch.equal(first, learner.memory["chains"])


def trained(learner: ContrastiveDivergence, updates: int) -> None:
    for _ in range(updates):
        learner.step(PATTERNS.repeat(4, 1))


def first_layer(updates: int) -> RBM:
    rbm = rbms.started(PATTERNS, 8, generator(0, "start"))
    noise = generator(0, "noise")
    trained(ContrastiveDivergence(rbm, PLAIN, noise, persistent=True), updates)
    return rbm


def exact(dbn: DBN, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Log p(v) of a network, and its bound, by listing all h₁."""
    h = states(dbn.lower.weight.shape[1])
    log_h = dbn.top.log_unnormalised(h) - log_z(dbn.top)
    pixels, units = dbn.lower.visible_logits(h), dbn.lower.hidden_logits(v)
    softplus = torch.nn.functional.softplus
    log_joint = v @ pixels.T - softplus(pixels).sum(1) + log_h
    log_q = units @ h.T - softplus(units).sum(1, keepdim=True)
    return torch.logsumexp(log_joint, 1), (log_q.exp() * (log_joint - log_q)).sum(1)


def test_contrastive_divergence_learns_bars_and_stripes() -> None:
    before = loglik(first_layer(0), PATTERNS).mean().item()
    after = loglik(first_layer(1500), PATTERNS).mean().item()
    assert after > before + 0.5
    assert after <= -torch.tensor(float(len(PATTERNS))).log().item()


def test_the_greedy_bound_starts_at_the_likelihood_of_the_first_layer_and_rises() -> None:
    first = first_layer(1500)
    dbn = DBN(first, first.upside_down())
    log_px, bound = exact(dbn, PATTERNS)
    assert torch.allclose(log_px, loglik(first, PATTERNS), atol=1e-4)
    assert torch.allclose(bound, log_px, atol=1e-4)
    lower = {name: p.clone() for name, p in first.named_parameters()}
    small = Optimisation(step_size=0.02, warmup=0)
    trained(GreedyTop(dbn, small, generator(0, "noise"), persistent=True), 1400)
    later_log_px, later_bound = exact(dbn, PATTERNS)
    assert later_bound.mean() > bound.mean() + 0.005
    assert (later_bound <= later_log_px + 1e-4).all()
    assert all(torch.equal(p, lower[name]) for name, p in first.named_parameters())


def test_the_estimated_bound_is_the_exact_one_and_not_above_the_likelihood() -> None:
    dbn = DBN(machine(6, 4), machine(4, 3))
    v = states(6)[::7]
    noise = generator(0, "noise")
    found = torch.stack([dbn.log_ratio(v, noise) for _ in range(4000)]) - log_z(dbn.top)
    log_px, bound = exact(dbn, v)
    assert torch.allclose(found.mean(0), bound, atol=0.1)
    assert (bound < log_px).all()
    weighted = torch.logsumexp(found, 0) - torch.tensor(4000.0).log()
    assert torch.allclose(weighted, log_px, atol=0.1)
