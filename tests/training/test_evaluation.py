"""What the columns of a curve are evaluated on: which images of larger sets, and how many."""

import math
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
from aevb.learners.full_vb import FullVB
from aevb.learners.optimiser import Optimisation
from aevb.model.bound import kl_to_standard_normal
from aevb.model.networks import Architecture, Initialisation, Model, initialised
from aevb.model.randomness import generator
from aevb.training import evaluation, job
from aevb.training.run import Run

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


def test_rates_and_distortions_say_what_the_bound_is_made_of() -> None:
    """With two of three latent dimensions in use, and a posterior that is known: q(z|x)."""
    sizes = Architecture(12, 7, 3, "bernoulli")
    small = initialised(sizes, Initialisation(std=0.0), generator(0, "start"))
    with torch.no_grad():
        small.encoder.hidden.weight.normal_(generator=generator(0, "hidden"))
        small.encoder.mean.weight[:, :2] = 0.3
        small.encoder.mean.weight[:, 2] = 1e-4
    pixels = torch.rand(90, 12, generator=noise())
    mnist = Dataset("mnist", pixels[:20], pixels[:0], pixels[20:], (3, 4))
    values = evaluation.rates_and_distortions(small, mnist.train, mnist, noise())
    assert list(values) == ["train", "test", "test_rate", "test_loglik", "active_units"]
    q = small.encoder(mnist.test)
    torch.testing.assert_close(values["test_rate"], kl_to_standard_normal(q).double())
    # The decoder ignores z: log p(x|z) = log p(x) = −12 ln 2, and the bound loses the rate.
    known = torch.full((70,), -12 * math.log(2), dtype=torch.float64)
    torch.testing.assert_close(values["test"] + values["test_rate"], known)
    assert values["test_loglik"].mean().item() == pytest.approx(-12 * math.log(2), abs=0.1)
    assert values["active_units"] == 2


def test_a_column_of_one_number_has_no_standard_error() -> None:
    run = Run(study="x", n_hidden=8, nz=2, measure="rate_and_distortion")
    pixels = torch.rand(90, 12, generator=noise())
    mnist = Dataset("mnist", pixels[:20], pixels[:0], pixels[20:], (3, 4))
    row = evaluation.evaluate(job.start(run, mnist), run, mnist)
    assert row is not None
    assert "test_rate_se" in row
    assert "active_units_se" not in row


def test_predictive_likelihoods_average_over_the_weights() -> None:
    """With all weights at zero, the logit of every pixel is then Gaussian given z: a known mean."""
    sizes = Architecture(1, 2, 2, "bernoulli")
    small = initialised(sizes, Initialisation(std=0.0), generator(0, "start"))
    FullVB(small, Optimisation(weight_decay=1.0), noise())
    pixels = torch.ones(1000, 1)
    mnist = Dataset("mnist", pixels, pixels[:0], pixels, (1, 1))
    with torch.no_grad():
        small.decoder.get_parameter("hidden.weight_log_variance").fill_(-60.0)
        small.decoder.get_parameter("logits.weight_log_variance").fill_(3.0)
        small.decoder.get_parameter("hidden.bias").fill_(30.0)  # h = 1
        small.decoder.get_parameter("logits.bias").fill_(1.5)
    values = evaluation.predictive_logliks(small, mnist.train, mnist, noise())
    assert list(values) == ["train", "train_predictive", "test", "test_predictive"]
    logit = 1.5 + (2 * math.exp(3.0)) ** 0.5 * torch.randn(100_000, generator=noise())
    expected = torch.sigmoid(logit).mean().log().item()
    for split in ("train", "test"):
        mean = torch.sigmoid(torch.tensor(1.5)).log().item()
        assert values[split].mean().item() == pytest.approx(mean, abs=0.01)
        assert values[f"{split}_predictive"].mean().item() == pytest.approx(expected, abs=0.01)
