"""What the columns of a curve are evaluated on: which images of larger sets, and how many."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from aevb.data import Dataset
from aevb.inference.hmc import Joint
from aevb.inference.likelihood import (
    appendix_d,
    importance_sampled,
    sample_posterior,
    starting_points,
)
from aevb.model.networks import Architecture, Initialisation, Model, initialised
from aevb.model.randomness import Streams, generator
from aevb.training import evaluation

REPLICATES, NZ = 2, 2


def images(first: float, rows: int) -> Tensor:
    """Of one pixel, darker from one image to the next: `likelihood` tells all of them apart."""
    return first - torch.arange(rows)[:, None] / 2**14


@pytest.fixture
def dataset() -> Dataset:
    train, validation, test = images(1.0, 10_050), images(0.25, 30), images(0.875, 1_040)
    return Dataset("mnist", train, validation, test, (1, 1))


def model() -> Model:
    """Whatever z, the pixel has logits of its replicate, and q(z|x) is the prior."""
    stack = Model([Architecture(1, 2, NZ, "bernoulli")] * REPLICATES)
    logits = stack.decoder.get_parameter("logits.bias")
    with torch.no_grad():
        logits.copy_(torch.tensor([2.0**18, 2.0**19]).view_as(logits))
    return stack


def likelihood(pixels: Tensor) -> Tensor:
    """log p(x) of `model`, nats: 16 nats and 32 nats from one image to the next."""
    return (torch.tensor([[2.0**18], [2.0**19]]) * (pixels[:, 0] - 1)).double()


def streams() -> Streams:
    return Streams([generator(seed, "evaluation") for seed in range(REPLICATES)], [NZ] * REPLICATES)


def test_bounds_are_of_5000_training_points_and_of_all_others(dataset: Dataset) -> None:
    values = evaluation.lower_bounds(model(), dataset.train, dataset, streams())
    expected = {
        "train": evaluation.evaluated(dataset.train),
        "test": dataset.test,
        "validation": dataset.validation,
    }
    assert list(values) == list(expected)
    for column, pixels in expected.items():
        torch.testing.assert_close(values[column], likelihood(pixels), msg=column)


def test_the_training_points_that_are_evaluated_are_random_and_always_the_same(
    dataset: Dataset,
) -> None:
    torch.manual_seed(0)
    points = evaluation.evaluated(dataset.train)
    places = ((1 - points[:, 0]) * 2**14).round().int()  # see `images`
    assert torch.equal(dataset.train[places], points)
    assert len(set(places.tolist())) == evaluation.EVALUATED_TRAINING_POINTS == 5_000
    # About half of them are in each half of the points.
    assert 2_400 < (places < len(dataset.train) // 2).sum() < 2_600
    torch.manual_seed(1)
    assert torch.equal(evaluation.evaluated(dataset.train), points)
    assert torch.equal(evaluation.evaluated(dataset.train[:5_000]), dataset.train[:5_000])


def test_bounds_of_few_training_points_are_of_these(dataset: Dataset) -> None:
    without = replace(dataset, validation=dataset.validation[:0])
    values = evaluation.lower_bounds(model(), dataset.train[:50], without, streams())
    torch.testing.assert_close(values["train"], likelihood(dataset.train[:50]))
    assert "validation" not in values


def test_marginal_likelihoods_are_of_the_first_1000_training_and_test_points(
    dataset: Dataset,
) -> None:
    values = evaluation.marginal_logliks(model(), dataset.train, dataset, streams())
    assert list(values) == ["train", "train_accurate", "test", "test_accurate"]
    for split, pixels in {"train": dataset.train, "test": dataset.test}.items():
        expected = likelihood(pixels[:1000])
        for column in (split, f"{split}_accurate"):
            torch.testing.assert_close(values[column], expected, atol=10, rtol=0)
        papers, accurate = (
            (values[column] - expected).abs().mean() for column in (split, f"{split}_accurate")
        )
        assert accurate < 0.1 < papers


def test_likelihoods_are_read_by_appendix_d_with_the_papers_settings() -> None:
    architecture, pixels = Architecture(12, 7, NZ, "bernoulli"), torch.rand(40, 12)
    small = initialised([architecture], Initialisation(std=1.0), [generator(0, "start")])
    small.requires_grad_(False)
    mnist = Dataset("mnist", pixels[:20], pixels[:0], pixels[20:], (3, 4))

    def noise() -> Streams:
        return Streams([generator(0, "evaluation")], [NZ])

    found, streams = evaluation.marginal_logliks(small, mnist.train, mnist, noise()), noise()
    for split, x in {"train": mnist.train, "test": mnist.test}.items():
        joint = Joint(small.decoder, x[None])
        start = starting_points(joint, streams)
        samples = sample_posterior(joint, start, streams, n_samples=50, burn_in=5, leapfrogs=4)
        accurate = importance_sampled(joint, samples, streams, n_samples=200, inflation=1.2)
        assert torch.equal(found[split], appendix_d(samples, "scott").double())
        assert torch.equal(found[f"{split}_accurate"], accurate.double())
