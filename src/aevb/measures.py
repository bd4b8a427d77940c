"""What is evaluated at a run's log points: fresh estimates, per datapoint, on fixed images."""

import torch
from torch import Tensor

from aevb.data import Dataset
from aevb.hmc import Joint
from aevb.learners.aevb import lower_bound
from aevb.likelihood import appendix_d, importance_sampled, sample_posterior, starting_points
from aevb.networks import Model
from aevb.randomness import Streams

EVALUATED_TRAINING_POINTS = 10_000
EVALUATION_ROWS = 1_000


def lower_bounds(
    model: Model, points: Tensor, dataset: Dataset, streams: Streams
) -> dict[str, Tensor]:
    """Fresh estimates of the bound (estimator B, L = 1), for Figure 2.

    Returns:
        `(replicates, rows)`, nats: of the first 10,000 training points (`train`), all test points
        (`test`), the first 1000 of them (`test_first1000`), and, where the data set has them, the
        `validation` points, which the paper's test curves on MNIST seem to be of.
    """
    train_bounds = _lower_bounds(model, points[:EVALUATED_TRAINING_POINTS], streams)
    test_bounds = _lower_bounds(model, dataset.test.to(points.device), streams)
    values = {"train": train_bounds, "test": test_bounds, "test_first1000": test_bounds[:, :1000]}
    if len(dataset.validation):
        validation = dataset.validation.to(points.device)
        values["validation"] = _lower_bounds(model, validation, streams)
    return values


@torch.no_grad()
def _lower_bounds(model: Model, images: Tensor, streams: Streams) -> Tensor:
    parts = [
        lower_bound(model, rows.expand(len(model.nz), *rows.shape), streams)
        for rows in torch.split(images, EVALUATION_ROWS)
    ]
    return torch.cat(parts, 1).double()


TEST_HALVES = {"test_first5000": slice(5000), "test_last5000": slice(-5000, None)}


def lower_bounds_by_subset(
    model: Model, points: Tensor, dataset: Dataset, streams: Streams
) -> dict[str, Tensor]:
    """As `lower_bounds`, of every set of images that the paper's test curve may be on.

    Returns:
        `(replicates, rows)`, nats: what `lower_bounds` gives, and of the two halves of the test
        points (`test_first5000`, `test_last5000`).
    """
    values = lower_bounds(model, points, dataset, streams)
    return values | {name: values["test"][:, rows] for name, rows in TEST_HALVES.items()}


def marginal_logliks(
    model: Model, points: Tensor, dataset: Dataset, streams: Streams
) -> dict[str, Tensor]:
    """Marginal log likelihoods of the first 1000 training and test points, for Figure 3.

    Returns:
        `(replicates, rows)`, nats: by the paper's estimator (`train`, `test`) and by importance
        sampling (`train_accurate`, `test_accurate`).
    """
    values = {}
    for split, images in {"train": points, "test": dataset.test.to(points.device)}.items():
        joint = Joint(model.decoder, images[:1000].expand(len(model.nz), -1, -1))
        samples = sample_posterior(joint, starting_points(joint, streams), streams)
        values[split] = appendix_d(samples).double()
        values[f"{split}_accurate"] = importance_sampled(joint, samples, streams).double()
    return values
