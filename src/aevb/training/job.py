"""A run on this machine: its data, its progress and its files."""

import time
from collections.abc import Callable
from typing import Any

import torch

from aevb import data, paths
from aevb.data import Dataset
from aevb.errors import ConfigurationError
from aevb.learners.backprop import fast_learner
from aevb.model.networks import initialised
from aevb.model.randomness import generator
from aevb.results import curves, provenance
from aevb.results.curves import Curve
from aevb.training import checkpoints, evaluation, loop
from aevb.training.evaluation import evaluate
from aevb.training.experiments import budget_samples, stopping_point
from aevb.training.log_points import last_log_point
from aevb.training.loop import Diverged, Training
from aevb.training.names import command
from aevb.training.run import Run

# What to do about a run that diverged.
SMALLER_STEPS = "try a smaller step size, with --set step_size and a --study of its own"

CPU = torch.device("cpu")


def start(run: Run, dataset: Dataset, device: torch.device = CPU, *, fast: bool = True) -> Training:
    """A run before its first update.

    Args:
        run: what to train.
        dataset: as loaded.
        device: where to compute.
        fast: use the hand-written gradients of `learners.backprop` where they apply.

    Raises:
        ConfigurationError: if the data set does not fit the run.
    """
    _check_data(run, dataset)
    points = dataset.train[: run.n_train]
    sizes = run.architecture(points.shape[1])
    model = initialised(sizes, run.initialisation, generator(run.seed, "initialisation")).to(device)
    options = {name: getattr(run, name) for name in run.learner.options}
    kind = fast_learner(run.learner, model, options) if fast else run.learner
    noise = generator(run.seed, "noise", device)
    return Training(
        kind(model, run.optimisation(len(points)), noise, **options),
        points.to(device),
        run.minibatch,
        generator(run.seed, "minibatches", device),
        run.products,
    )


def _check_data(run: Run, dataset: Dataset) -> None:
    if dataset.pixels != run.pixels:
        raise ConfigurationError(
            f"{run.name} is a run on {run.pixels} pixels; expected those, got {dataset.name} with "
            f"{dataset.pixels} pixels"
        )
    if dataset.split != run.split:
        raise ConfigurationError(
            f"{run.name} is a run on split {run.split} of {run.dataset}; got split {dataset.split}"
        )
    if run.n_train is not None and run.n_train > len(dataset.train):
        raise ConfigurationError(
            f"{run.name}: n_train is {run.n_train}, and {dataset.name} has {len(dataset.train)} "
            "training images; expected at most that many"
        )
    if run.likelihood == "bernoulli":
        for split, images in dataset.splits.items():
            if len(images) and not 0 <= images.min() <= images.max() <= 1:
                raise ConfigurationError(
                    f"{run.name}: the {split} images of {dataset.name} go from "
                    f"{images.min():.3g} to {images.max():.3g}; expected grey levels from 0 to 1, "
                    "or --set likelihood=gaussian"
                )
    n_points = len(dataset.train[: run.n_train])
    if run.learner.takes_all_points and run.minibatch != n_points:
        raise ConfigurationError(
            f"minibatch is {run.minibatch}: {run.algorithm} takes all training points at once, "
            f"expected --set minibatch={n_points}"
        )


class Job:
    """A run on this machine.

    Args:
        run: what to train.
        dataset: as loaded; loaded here if not given.
        device: where to compute.

    Attributes:
        training: the run under way; `train` continues it from the checkpoint.
        curve: the file of the curve.
        makers: the hardware and versions that computed the run, each `from` which sample on.
        seconds: time spent, in all processes.

    Raises:
        ConfigurationError: if no command makes the run again, or the data set does not fit it.
    """

    def __init__(
        self, run: Run, dataset: Dataset | None = None, device: torch.device = CPU
    ) -> None:
        command(run, 1)  # raises if no command makes the run again
        self.run, self.device = run, device
        self.dataset = dataset or data.load(run.dataset, run.split, run.pixels)
        if self.dataset.name != run.dataset:
            raise ConfigurationError(
                f"{run.name} is a run on {run.dataset}; expected that data set, got "
                f"{self.dataset.name}"
            )
        self.training = start(run, self.dataset, device)
        self.curve = paths.curve(paths.local(), run.study, run.name)
        # Noted now: the source may change while the run goes on.
        precision = f"float32, products of {run.products}"
        self._maker = {"precision": precision, **provenance.maker(device)}
        self.makers = [{"from": 0, **self._maker}]
        self.seconds = 0.0
        self._clock = time.monotonic()  # `seconds` counts up to this moment
        self._resumed_at = 0  # samples at which this process continued the run
        self._curve_ends = 0  # length of the local curve; a shorter one must not replace it

    def train(
        self,
        budget: str | float,
        *,
        report: Callable[[int, Training], None] = lambda _end, _training: None,
        stop_requested: Callable[[], bool] = lambda: False,
        seconds_between_checkpoints: float = loop.SECONDS_BETWEEN_CHECKPOINTS,
    ) -> None:
        """Train to `budget` samples, continuing from the run's checkpoint.

        Writes the run's curve, manifest and checkpoint under results/local.

        Args:
            budget: samples from the run's beginning, or `quick` or `paper`.
            report: called every 20,000 samples, or every update if that is more. It gets the
                samples at which the training ends, and the training.
            stop_requested: called as often as `report`.
            seconds_between_checkpoints: how often a checkpoint is written between log points.

        Raises:
            ConfigurationError: if another process trains the run; if its checkpoint is of other
                settings, other data or another kind of device; if its curve has no checkpoint, and
                is longer than the budget or of other settings.
            Stopped: if a stop was requested, after a checkpoint.
            Diverged: if the run has diverged, after its curve up to there is written.
        """
        samples = budget_samples(self.run, budget)
        end = last_log_point(samples, self.run.samples_per_update)
        with checkpoints.locked(self.run):
            self._resume(end)
            try:
                loop.train(
                    self.training,
                    samples,
                    lambda training: evaluate(training, self.run, self.dataset),
                    checkpoint=lambda _: self._save(),
                    report=lambda training: report(end, training),
                    stop_requested=stop_requested,
                    seconds_between_checkpoints=seconds_between_checkpoints,
                )
            except Diverged:
                raise Diverged(
                    f"{self.run.name} diverged: the {self.run.learner.objective} is "
                    f"{self.training.rows[-1]['train_running']:.6g} nats at "
                    f"{self.training.samples:,} samples; {SMALLER_STEPS}"
                ) from None

    def _resume(self, end: int) -> None:
        """Continue from the checkpoint, if there is one, on the way to `end` samples."""
        checkpoint = checkpoints.load(self.run, self.device)
        self._curve_ends = checkpoints.curve_length(self.run, checkpoint, end, self.dataset)
        if checkpoint is not None:
            with checkpoints.reading(self.run):
                self.training.load(checkpoint["training"])
                self.makers, self.seconds = checkpoint["makers"], checkpoint["seconds"]
        self._resumed_at, self._clock = self.training.samples, time.monotonic()
        if not checkpoints.is_written(self.run, self.training.rows):
            self._save()

    def _save(self) -> None:
        """Write the checkpoint, then the curve and its manifest."""
        now = time.monotonic()
        self.seconds, self._clock = self.seconds + now - self._clock, now
        if self.training.samples > self._resumed_at:
            self._add_maker()
        content = {
            "training": self.training.state(),
            "seconds": self.seconds,
            "makers": self.makers,
            "data_sha256": self.dataset.checksums,
        }
        checkpoints.save(self.run, content)
        rows = self.training.rows
        if rows and rows[-1]["samples"] >= self._curve_ends:
            curves.write(self.curve, rows, self._manifest())

    def _add_maker(self) -> None:
        """Note what computes now, if something else computed before."""
        if any(self.makers[-1][key] != value for key, value in self._maker.items()):
            self.makers = [*self.makers, {"from": self._resumed_at, **self._maker}]

    def _manifest(self) -> dict[str, Any]:
        samples = int(self.training.rows[-1]["samples"])
        last = {key: value for key, value in self.makers[-1].items() if key != "from"}
        return {
            "name": self.run.name,
            "command": command(self.run, samples),
            "configuration": self.run.configuration,
            "configuration_sha256": provenance.digest(self.run.configuration),
            "samples": samples,
            "wall_seconds": round(self.seconds, 1),
            "samples_per_second": round(self.training.samples / self.seconds),
            **last,
            **({"makers": self.makers} if len(self.makers) > 1 else {}),
            **({"diverged": True} if self.training.has_diverged() else {}),
            "data_sha256": self.dataset.checksums,
            "unit": "nats per datapoint",
        }


def train(
    run: Run, samples: str | float, dataset: Dataset | None = None, *, threads: int = 1
) -> Curve:
    """Train a run and return its curve, which is written under results/local.

        >>> run = aevb.figure2_run("mnist", nz=20, algorithm="aevb")
        >>> aevb.train(run, 1e5).table.tail()

    Args:
        run: what to train.
        samples: where to stop, counted from the run's beginning; continues a shorter run.
        dataset: as loaded; loaded here if not given.
        threads: CPU threads. Two runs side by side are faster than one on two threads.

    Raises:
        ConfigurationError, Diverged: see `Job`.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        job = Job(run, dataset)
        job.train(samples)
    finally:
        torch.set_num_threads(before)
    return curves.read(job.curve)


def needs_training(run: Run, budget: str | float) -> bool:
    """Whether the local curve is missing or ends before the budget."""
    end = stopping_point(run, budget)
    if (file := checkpoints.curve_file(run)) is None:
        return True
    if run.measure in evaluation.IN_SECONDS and end < evaluation.FIRST_MARGINAL_LOGLIK:
        end = run.samples_per_update  # the only log point before that
    return bool(curves.read_manifest(file)["samples"] < end)
