"""Annealed importance sampling against sums that can be done."""

import pytest
import torch

from aevb.inference.annealing import log_partition
from aevb.model.randomness import generator, normal
from aevb.older.rbm import RBM, FromBiases

BETAS = [k / 300 for k in range(301)]


def states(n: int) -> torch.Tensor:
    return torch.cartesian_prod(*[torch.tensor([0.0, 1.0])] * n)


def machine(scale: float) -> RBM:
    g = generator(0, "machine")
    rbm = RBM(8, 5)
    for parameter in rbm.parameters():
        parameter.copy_(scale * normal(g, *parameter.shape))
    return rbm


def brute_force(rbm: RBM) -> float:
    return torch.logsumexp(rbm.log_unnormalised(states(8)).double(), 0).item()


@pytest.mark.parametrize("scale", [0.0, 0.5, 1.5])
def test_it_finds_the_sum_over_all_states(scale: float) -> None:
    rbm = machine(scale)
    base = torch.linspace(-1, 1, 8)
    found = log_partition(FromBiases(rbm, base), BETAS, 500, generator(0, "noise"))
    assert abs(found.log_z - brute_force(rbm)) < 4 * found.error + 1e-4
    assert found.error < 0.1
    assert 300 < found.effective_chains <= 500 + 1e-6


def test_its_error_is_the_spread_of_repeated_estimates() -> None:
    path = FromBiases(machine(1.5), torch.zeros(8))
    betas = [k / 20 for k in range(21)]
    found = [log_partition(path, betas, 50, generator(seed, "noise")) for seed in range(100)]
    spread = torch.tensor([one.log_z for one in found]).std().item()
    claimed = torch.tensor([one.error for one in found]).mean().item()
    assert 0.7 < claimed / spread < 1.4


def test_one_jump_gives_importance_sampling_which_is_worse() -> None:
    path = FromBiases(machine(1.5), torch.zeros(8))
    jump = log_partition(path, [0.0, 1.0], 500, generator(0, "noise"))
    annealed = log_partition(path, BETAS, 500, generator(0, "noise"))
    assert jump.effective_chains < annealed.effective_chains / 4


def test_every_step_leaves_its_density_as_it_is() -> None:
    path = FromBiases(machine(1.0), torch.zeros(8))
    v = states(8)
    state = path._state(v)
    log_f = path.log_ratio(state, 0.0, 0.6)  # base is uniform
    p = torch.softmax(log_f, 0)
    noise = generator(0, "noise")
    draws = torch.multinomial(p, 40_000, replacement=True, generator=noise)
    moved = path.move(path._state(v[draws]), 0.6, noise).v
    assert torch.allclose(moved.mean(0).double(), p @ v.double(), atol=0.012)
    assert torch.allclose(
        (moved.T @ moved / len(moved)).double(), v.T.double() @ (p[:, None] * v), atol=0.012
    )


@pytest.mark.parametrize(
    ("betas", "chains", "message"),
    [([0.0, 1.0], 1, "2 or more"), ([0.0, 0.5], 9, "0 to 1"), ([0.0, 0.7, 0.5, 1.0], 9, "rise")],
)
def test_wrong_settings_are_refused(betas: list[float], chains: int, message: str) -> None:
    path = FromBiases(machine(1.0), torch.zeros(8))
    with pytest.raises(ValueError, match=message):
        log_partition(path, betas, chains, generator(0, "noise"))
