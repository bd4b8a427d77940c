"""What is evaluated at a run's log points: fresh estimates on fixed images.

A measure returns `(rows,)` for each column of the curve: one value per datapoint, in nats. A scalar
is a column without a standard error.
"""

import torch
from torch import Generator, Tensor

from aevb.data import Dataset
from aevb.inference.hmc import Joint
from aevb.inference.likelihood import (
    appendix_d,
    importance_sampled,
    marginal_loglik,
    sample_posterior,
    starting_points,
)
from aevb.learners.aevb import lower_bound
from aevb.learners.full_vb import weights_drawn
from aevb.model.bound import kl_to_standard_normal
from aevb.model.networks import Model
from aevb.model.randomness import generator, normal
from aevb.training.loop import Row, Training
from aevb.training.run import Run

FIRST_MARGINAL_LOGLIK = 100_000  # samples; the first log point is evaluated too
IN_SECONDS = ("marginal_loglik", "predictive_loglik", "rate_and_distortion")  # measures
EVALUATED_TRAINING_POINTS = 5_000
EVALUATION_ROWS = 1_000
LOGLIK_ROWS = 1_000
ACTIVE = 0.01
PREDICTIVE_DRAWS = 200


def lower_bounds(
    model: Model, points: Tensor, dataset: Dataset, noise: Generator
) -> dict[str, Tensor]:
    """Estimates of the bound (estimator B, L = 1), for Figure 2.

    Returns:
        `train`, of at most 5,000 training points; `test`; and `validation`, if the data set has
        it: the paper's test curves on MNIST seem to be of the validation images.
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
    """The training points to evaluate: 5,000 random ones, the same for every run.

    The first ones would not do: MNIST's first 10,000 are 0.5 to 1.5 nats easier than all 50,000.
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
    """As `lower_bounds`, and also for `TEST_SUBSETS`: the paper may have evaluated one of them."""
    values = lower_bounds(model, points, dataset, noise)
    return values | {name: values["test"][rows] for name, rows in TEST_SUBSETS.items()}


def marginal_logliks(
    model: Model, points: Tensor, dataset: Dataset, noise: Generator
) -> dict[str, Tensor]:
    """Marginal log likelihoods of the first 1000 training and test points, for Figure 3.

    Returns:
        `train` and `test` by the paper's estimator; `train_accurate` and `test_accurate` by
        importance sampling.
    """
    values = {}
    for split, images in {"train": points, "test": dataset.test.to(points.device)}.items():
        joint = Joint(model.decoder, images[:LOGLIK_ROWS])
        start = starting_points(joint, noise)
        samples = sample_posterior(joint, start, noise)
        values[split] = appendix_d(samples).double()
        values[f"{split}_accurate"] = importance_sampled(joint, samples, noise).double()
    return values


def predictive_logliks(
    model: Model, points: Tensor, dataset: Dataset, noise: Generator
) -> dict[str, Tensor]:
    """Log likelihoods of the first 1000 training and test points under a posterior of the weights.

    Returns:
        `train` and `test`: log p(x) under the means of the weights; `train_predictive` and
        `test_predictive`: log of the mean of p(x) over weights from the posterior. All are by
        importance sampling.
    """
    values = {}
    for split, images in {"train": points, "test": dataset.test.to(points.device)}.items():
        joint = Joint(model.decoder, images[:LOGLIK_ROWS])
        samples = sample_posterior(joint, starting_points(joint, noise), noise)
        values[split] = importance_sampled(joint, samples, noise).double()
        # A draw of z meets a draw of the weights, so the mean is over both.
        with weights_drawn(model.decoder, noise):
            predictive = importance_sampled(joint, samples, noise, n_samples=PREDICTIVE_DRAWS)
        values[f"{split}_predictive"] = predictive.double()
    return values


@torch.no_grad()
def rates_and_distortions(
    model: Model, points: Tensor, dataset: Dataset, noise: Generator
) -> dict[str, Tensor]:
    """As `lower_bounds`, and what the bound of the test images is made of.

    Returns:
        Also `test_rate`, the KL of every test image; the distortion is −(`test` + `test_rate`).
        `test_loglik`, log p(x) of the first 1000 test images, by importance sampling from q(z|x)
        with 200 draws. `active_units`, how many means of q(z|x) vary over the test images, with
        a variance above 0.01 (Burda et al. 2015).
    """
    values = lower_bounds(model, points, dataset, noise)
    test = dataset.test.to(points.device)
    parts = [model.encoder(rows) for rows in torch.split(test, EVALUATION_ROWS)]
    values["test_rate"] = torch.cat([kl_to_standard_normal(q) for q in parts]).double()
    loglik = marginal_loglik(model, test[:LOGLIK_ROWS], noise, n_samples=200, chunk=5)
    values["test_loglik"] = loglik.double()
    means = torch.cat([q.mean for q in parts])
    values["active_units"] = (means.var(0) > ACTIVE).sum().double()
    return values


MEASURES = {
    "lower_bound": lower_bounds,
    "lower_bound_by_subset": lower_bounds_by_subset,
    "marginal_loglik": marginal_logliks,
    "predictive_loglik": predictive_logliks,
    "rate_and_distortion": rates_and_distortions,
}


def evaluate(training: Training, run: Run, dataset: Dataset) -> Row | None:
    """The columns of the curve at a log point, each with its standard error.

    The noise depends on the seed and the number of samples, not on earlier evaluations. During
    the warm-up nothing moves, and the estimates of the first log point are repeated.

    Returns:
        None if the point is left out. The measures `IN_SECONDS` are left out between the first
        log point and 100,000 samples.
    """
    if training.rows:
        if run.measure in IN_SECONDS and training.samples < FIRST_MARGINAL_LOGLIK:
            return None
        if not any(ascent.moving for ascent in training.learner.ascents.values()):
            running = ("samples", "train_running")
            return {k: value for k, value in training.rows[-1].items() if k not in running}
    noise = generator(run.seed, f"evaluation at {training.samples}", training.points.device)
    values = MEASURES[run.measure](training.learner.model, training.points, dataset, noise)
    row: Row = {}
    for column, per_point in values.items():
        row[column] = per_point.mean().item()
        if per_point.ndim:
            row[f"{column}_se"] = per_point.std().item() / len(per_point) ** 0.5
    return row
