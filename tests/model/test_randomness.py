"""Random numbers depend on their seed and their purpose, and on nothing else."""

import itertools

import torch

from aevb.model.randomness import generator, indices, normal, uniform

PURPOSES = ("initialisation", "minibatches", "noise", "evaluation at 100", "evaluation at 10000")


def test_the_same_seed_and_purpose_give_the_same_numbers() -> None:
    a, b = (normal(generator(5, "noise"), 100) for _ in range(2))
    assert torch.equal(a, b)


def test_generators_of_different_purposes_and_seeds_start_from_different_states() -> None:
    keys = list(itertools.product(range(200), PURPOSES))
    assert len({generator(*key).initial_seed() for key in keys}) == len(keys)


def test_generators_of_different_purposes_and_seeds_are_uncorrelated() -> None:
    n = 10_000
    draws = torch.stack([normal(generator(s, p), n) for s in range(3) for p in PURPOSES])
    correlations = torch.corrcoef(draws) - torch.eye(len(draws))
    assert correlations.abs().max() < 5 / n**0.5


def test_draws_for_another_purpose_change_nothing() -> None:
    undisturbed, disturbed = (generator(0, "noise") for _ in range(2))
    normal(generator(0, "evaluation at 100"), 1000)
    torch.randn(1000)
    for draw in (normal, uniform, indices):
        assert torch.equal(draw(undisturbed, 7, 3), draw(disturbed, 7, 3))


def test_normal_numbers_are_standard_normal() -> None:
    values = normal(generator(0, "noise"), 20_000, 4)
    assert values.shape == (20_000, 4)
    assert values.mean().abs() < 4 / 80_000**0.5
    assert (values.var() - 1).abs() < 4 * (2 / 80_000) ** 0.5
    assert values.abs().max() > 3.5


def test_uniform_numbers_cover_zero_to_one() -> None:
    values = uniform(generator(0, "noise"), 2000, 10)
    assert values.shape == (2000, 10)
    assert 0 <= values.min() < 0.001
    assert 0.999 < values.max() < 1
    assert (values.mean() - 0.5).abs() < 4 * (1 / 12 / 20_000) ** 0.5
    assert (values.var() - 1 / 12).abs() < 0.002


def test_indices_are_uniform_with_replacement() -> None:
    order, n = generator(0, "minibatches"), 10
    counts = torch.bincount(indices(order, 20_000, n), minlength=n)
    assert len(counts) == n
    chi_squared = ((counts - 2000) ** 2 / 2000).sum()
    assert chi_squared < 30  # 9 degrees of freedom: 1 in 2000
    assert len(set(indices(order, n, n).tolist())) < n
