"""A stream of random numbers depends on its seed and its purpose, and on nothing else."""

import itertools

import pytest
import torch
from torch import Tensor

from aevb.model.randomness import Streams, generator

PURPOSES = ("initialisation", "minibatches", "noise", "evaluation at 100", "evaluation at 10000")
DRAWS = {
    "latents": lambda streams: streams.latents(7),
    "normal": lambda streams: streams.normal(7, 3),
    "uniform": lambda streams: streams.uniform(7, 3),
    "indices": lambda streams: streams.indices(7, 1000),
}


def draw(kind: str, streams: Streams) -> Tensor:
    values: Tensor = DRAWS[kind](streams)
    return values


def stack(*seeds: int, nz: int = 4) -> Streams:
    return Streams([generator(seed, "noise") for seed in seeds], [nz] * len(seeds))


def test_the_same_seed_and_purpose_give_the_same_numbers() -> None:
    a, b = (torch.randn(100, generator=generator(5, "noise")) for _ in range(2))
    assert torch.equal(a, b)


def test_streams_of_different_purposes_and_seeds_start_from_different_states() -> None:
    keys = list(itertools.product(range(200), PURPOSES))
    assert len({generator(*key).initial_seed() for key in keys}) == len(keys)


def test_streams_of_different_purposes_and_seeds_are_uncorrelated() -> None:
    n = 10_000
    draws = torch.stack(
        [torch.randn(n, generator=generator(s, p)) for s in range(3) for p in PURPOSES]
    )
    correlations = torch.corrcoef(draws) - torch.eye(len(draws))
    assert correlations.abs().max() < 5 / n**0.5


def test_another_purpose_does_not_advance_a_stream() -> None:
    undisturbed, disturbed = (generator(0, "noise") for _ in range(2))
    torch.randn(1000, generator=generator(0, "evaluation at 100"))
    torch.randn(1000)
    assert torch.equal(torch.randn(9, generator=undisturbed), torch.randn(9, generator=disturbed))


@pytest.mark.parametrize("kind", DRAWS)
def test_a_run_draws_the_same_alone_and_in_a_stack(kind: str) -> None:
    together = stack(0, 1, 2)
    alone = [stack(seed) for seed in (0, 1, 2)]
    for _ in range(3):
        values = draw(kind, together)
        for r in range(3):
            assert torch.equal(values[r], draw(kind, alone[r])[0])


@pytest.mark.parametrize("kind", DRAWS)
def test_replicates_with_the_same_seed_draw_the_same_and_others_differ(kind: str) -> None:
    values = draw(kind, stack(0, 0, 1))
    assert torch.equal(values[0], values[1])
    assert not torch.equal(values[0], values[2])


def test_a_run_of_smaller_nz_draws_the_same_alone_and_padded() -> None:
    together = Streams([generator(0, "noise"), generator(1, "noise")], [2, 5])
    small = Streams([generator(0, "noise")], [2])
    large = Streams([generator(1, "noise")], [5])
    for _ in range(3):
        z = together.latents(6)
        assert z.shape == (2, 6, 5)
        assert torch.equal(z[0, :, :2], small.latents(6)[0])
        assert torch.equal(z[1], large.latents(6)[0])
        assert not z[0, :, 2:].any()


def test_latents_and_normal_are_standard_normal() -> None:
    streams = stack(0, 1)
    for values in (streams.latents(20_000), streams.normal(20_000, 4)):
        assert values.shape == (2, 20_000, 4)
        assert values.mean((1, 2)).abs().max() < 4 / 80_000**0.5
        assert (values.var((1, 2)) - 1).abs().max() < 4 * (2 / 80_000) ** 0.5
        assert values.abs().max() > 3.5


def test_uniform_covers_zero_to_one() -> None:
    values = stack(0, 1).uniform(20_000)
    assert values.min() >= 0
    assert values.max() < 1
    assert ((values.mean(1) - 0.5).abs() < 4 * (1 / 12 / 20_000) ** 0.5).all()
    assert ((values.var(1) - 1 / 12).abs() < 0.002).all()


def test_indices_are_uniform_with_replacement() -> None:
    n = 10
    counts = torch.bincount(stack(0).indices(20_000, n)[0], minlength=n)
    assert len(counts) == n
    chi_squared = ((counts - 2000) ** 2 / 2000).sum()
    assert chi_squared < 30  # 9 degrees of freedom: 1 in 2000
    assert len(set(stack(0).indices(n, n)[0].tolist())) < n
