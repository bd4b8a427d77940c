"""What is evaluated at a run's log points: fresh estimates on fixed images.

Each measure returns, by column of the curve, one value per datapoint, in nats.
"""

import torch
from torch import Generator, Tensor

from aevb.data import Dataset
from aevb.inference.hmc import Joint
from aevb.inference.likelihood import (
    appendix_d,
    importance_sampled,
    sample_posterior,
    starting_points,
)
from aevb.learners.aevb import lower_bound
from aevb.model.networks import Model
from aevb.model.randomness import generator, normal

EVALUATED_TRAINING_POINTS = 5_000
EVALUATION_ROWS = 1_000


def lower_bounds(
    model: Model, points: Tensor, dataset: Dataset, noise: Generator
) -> dict[str, Tensor]:
    """Fresh estimates of the bound (estimator B, L = 1), for Figure 2.

    Returns:
        `(rows,)`, nats: of 5,000 training points, all where there are fewer (`train`);
        of all test points (`test`); and, where the data set has them, of the `validation` points,
        which the paper's test curves on MNIST seem to be of.
    """
    values = {
        "train": _lower_bounds(model, evaluated(points), noise),
        "test": _lower_bounds(model, dataset.test.to(points.device), noise),
    }
    if len(dataset.validation):
        validation = dataset.validation.to(points.device)
        values["validation"] = _lower_bounds(model, validation, noise)
    return values


def evaluated(points: Tensor) -> Tensor:
    """The training points that are evaluated: 5,000 random ones, the same for every run.

    Not the first ones: MNIST's first 10,000 are 0.5 to 1.5 nats easier than all 50,000.
    """
    if len(points) <= EVALUATED_TRAINING_POINTS:
        return points
    order = torch.randperm(len(points), generator=generator(0, "evaluated training points"))
    return points[order[:EVALUATED_TRAINING_POINTS].to(points.device)]


@torch.no_grad()
def _lower_bounds(model: Model, images: Tensor, noise: Generator) -> Tensor:
    parts = [
        lower_bound(model, rows, normal(noise, 1, len(rows), model.nz))
        for rows in torch.split(images, EVALUATION_ROWS)
    ]
    return torch.cat(parts).double()


TEST_SUBSETS = {
    "test_first1000": slice(1000),
    "test_first5000": slice(5000),
    "test_last5000": slice(-5000, None),
}


def lower_bounds_by_subset(
    model: Model, points: Tensor, dataset: Dataset, noise: Generator
) -> dict[str, Tensor]:
    """As `lower_bounds`, of every set of images that the paper's test curve may be on.

    Returns:
        `(rows,)`, nats: what `lower_bounds` gives, of the first 1000 test points
        (`test_first1000`) and of their halves (`test_first5000`, `test_last5000`).
    """
    values = lower_bounds(model, points, dataset, noise)
    return values | {name: values["test"][rows] for name, rows in TEST_SUBSETS.items()}


def marginal_logliks(
    model: Model, points: Tensor, dataset: Dataset, noise: Generator
) -> dict[str, Tensor]:
    """Marginal log likelihoods of the first 1000 training and test points, for Figure 3.

    Returns:
        `(rows,)`, nats: by the paper's estimator (`train`, `test`) and by importance
        sampling (`train_accurate`, `test_accurate`).
    """
    values = {}
    for split, images in {"train": points, "test": dataset.test.to(points.device)}.items():
        joint = Joint(model.decoder, images[:1000])
        start = starting_points(joint, noise)
        samples = sample_posterior(joint, start, noise)
        values[split] = appendix_d(samples).double()
        values[f"{split}_accurate"] = importance_sampled(joint, samples, noise).double()
    return values
