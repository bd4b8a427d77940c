"""What the columns of a curve are evaluated on: which images of larger sets, and how many."""

from dataclasses import replace

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
from aevb.model.randomness import generator
from aevb.training import evaluation

NZ, LOGIT = 2, 2.0**18


def images(first: float, rows: int) -> Tensor:
    """Of one pixel, darker from one image to the next: `likelihood` tells all of them apart."""
    return first - torch.arange(rows)[:, None] / 2**14


DATASET = Dataset("mnist", images(1.0, 10_050), images(0.25, 30), images(0.875, 10_040), (1, 1))


def model() -> Model:
    """Whatever z, the pixel has the same logit, and q(z|x) is the prior."""
    constant = Model(Architecture(1, 2, NZ, "bernoulli"))
    with torch.no_grad():
        constant.decoder.get_parameter("logits.bias").fill_(LOGIT)
    return constant


def likelihood(pixels: Tensor) -> Tensor:
    """log p(x) of `model`, nats: 16 nats from one image to the next."""
    return (LOGIT * (pixels[:, 0] - 1)).double()


def noise() -> torch.Generator:
    return generator(0, "evaluation")


def test_bounds_are_of_5000_training_points_and_of_all_others() -> None:
    values = evaluation.lower_bounds(model(), DATASET.train, DATASET, noise())
    expected = {
        "train": evaluation.evaluated(DATASET.train),
        "test": DATASET.test,
        "validation": DATASET.validation,
    }
    assert list(values) == list(expected)
    for column, pixels in expected.items():
        torch.testing.assert_close(values[column], likelihood(pixels), msg=column)


def test_the_training_points_that_are_evaluated_are_random_and_always_the_same() -> None:
    torch.manual_seed(0)
    train = DATASET.train
    points = evaluation.evaluated(train)
    places = ((1 - points[:, 0]) * 2**14).round().int()  # see `images`
    assert torch.equal(train[places], points)
    assert len(set(places.tolist())) == evaluation.EVALUATED_TRAINING_POINTS == 5_000
    # About half of them are in each half of the points.
    assert 2_400 < (places < len(train) // 2).sum() < 2_600
    torch.manual_seed(1)
    assert torch.equal(evaluation.evaluated(train), points)
    assert torch.equal(evaluation.evaluated(train[:5_000]), train[:5_000])


def test_bounds_of_few_training_points_are_of_these() -> None:
    without = replace(DATASET, validation=DATASET.validation[:0])
    values = evaluation.lower_bounds(model(), DATASET.train[:50], without, noise())
    torch.testing.assert_close(values["train"], likelihood(DATASET.train[:50]))
    assert "validation" not in values


def test_bounds_by_subset_are_those_of_the_parts_of_the_test_set() -> None:
    whole = evaluation.lower_bounds(model(), DATASET.train, DATASET, noise())
    parts = evaluation.lower_bounds_by_subset(model(), DATASET.train, DATASET, noise())
    test = whole["test"]
    expected = {
        **whole,
        "test_first1000": test[:1000],
        "test_first5000": test[:5000],
        "test_last5000": test[-5000:],
    }
    torch.testing.assert_close(parts, expected, rtol=0, atol=0)


def test_marginal_likelihoods_are_of_the_first_1000_training_and_test_points() -> None:
    values = evaluation.marginal_logliks(model(), DATASET.train, DATASET, noise())
    assert list(values) == ["train", "train_accurate", "test", "test_accurate"]
    for split, pixels in {"train": DATASET.train, "test": DATASET.test}.items():
        expected = likelihood(pixels[:1000])
        errors = {}
        for column in (split, f"{split}_accurate"):
            torch.testing.assert_close(values[column], expected, atol=10, rtol=0)
            errors[column] = (values[column] - expected).abs().mean()
        assert errors[f"{split}_accurate"] < 0.1 < errors[split]


def test_likelihoods_are_read_by_appendix_d_with_the_papers_settings() -> None:
    sizes, pixels = Architecture(12, 7, NZ, "bernoulli"), torch.rand(40, 12, generator=noise())
    small = initialised(sizes, Initialisation(std=1.0), generator(0, "start"))
    mnist = Dataset("mnist", pixels[:20], pixels[:0], pixels[20:], (3, 4))
    found, same = evaluation.marginal_logliks(small, mnist.train, mnist, noise()), noise()
    for split, x in {"train": mnist.train, "test": mnist.test}.items():
        joint = Joint(small.decoder, x)
        start = starting_points(joint, same)
        samples = sample_posterior(joint, start, same, n_samples=50, burn_in=5, leapfrogs=4)
        accurate = importance_sampled(joint, samples, same, n_samples=200, inflation=1.2)
        assert torch.equal(found[split], appendix_d(samples, "scott").double())
        assert torch.equal(found[f"{split}_accurate"], accurate.double())
