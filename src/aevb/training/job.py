"""From a configuration to a curve: training, evaluation, checkpoints, models."""

import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import torch

from aevb import paths
from aevb.data import Dataset
from aevb.errors import ConfigurationError
from aevb.learners import Learner, backprop
from aevb.learners.aevb import AEVB
from aevb.learners.mcem import MCEM
from aevb.learners.optimiser import Ascent, Optimisation
from aevb.learners.wake_sleep import WakeSleep
from aevb.model.networks import Initialisation, initialised
from aevb.model.randomness import Streams, generator
from aevb.results import curves, models, provenance
from aevb.training import checkpoints, evaluation
from aevb.training.experiments import Run, architecture, command, end_of, samples_per_update
from aevb.training.loop import Diverged, Row, State, Training, last_log_point, train

# What is being done, the number of samples at which it ends, and the training.
Report = Callable[[str, int, Training], None]


def silent(_what: str, _end: int, _training: Training) -> None:
    """Report nothing."""


FIRST_MARGINAL_LOGLIK = 100_000

# What to do about a run that diverged.
SMALLER_STEPS = "try a smaller step size, with --set step_size and a --study of its own"

CPU = torch.device("cpu")


def start(
    runs: Sequence[Run],
    dataset: Dataset,
    device: torch.device = CPU,
    *,
    by_hand: bool = True,
) -> Training:
    """A stack of runs before its first update.

    The runs may differ in seed, Nz and step size alone. Without `by_hand` their gradients are
    autograd's, not those of `backprop`.

    Raises:
        ConfigurationError: if the data set has pixels of another kind than the runs ask for,
            another split, or fewer training points; if MCEM is to take minibatches; if the
            algorithm has no learner.
    """
    one = runs[0]
    if dataset.pixels != one.pixels:
        raise ConfigurationError(
            f"{one.name} is a run on {one.pixels} pixels; expected those, got {dataset.name} with "
            f"{dataset.pixels} pixels"
        )
    if dataset.split != one.split:
        raise ConfigurationError(
            f"{one.name} is a run on split {one.split} of {one.dataset}; got split {dataset.split}"
        )
    if one.n_train is not None and one.n_train > len(dataset.train):
        raise ConfigurationError(
            f"{one.name}: n_train is {one.n_train}, and {dataset.name} has {len(dataset.train)} "
            "training images; expected at most so many"
        )
    points = dataset.train[: one.n_train]
    if one.algorithm == "mcem" and one.minibatch != len(points):
        raise ConfigurationError(
            f"minibatch is {one.minibatch}: mcem takes all training points at once, expected "
            f"--set minibatch={len(points)}"
        )
    architectures = [architecture(run, dataset.train.shape[1]) for run in runs]
    initialisation = Initialisation(
        one.init_std, one.init_encoder_log_variance_std, one.init_decoder_output_bias_std
    )
    seeds = [generator(run.seed, "initialisation") for run in runs]
    model = initialised(architectures, initialisation, seeds).to(device)
    by_hand = by_hand and backprop.serves(model)

    def streams(purpose: str) -> Streams:
        return Streams(
            [generator(run.seed, purpose, device) for run in runs], [run.nz for run in runs]
        )

    def ascent(network: str) -> Ascent:
        return Ascent(
            {name: p for name, p in model.named_parameters() if name.startswith(network)},
            Optimisation(one.optimiser, one.warmup, one.prior),
            [run.step_size for run in runs],
            one.minibatch / len(points),
        )

    learner: Learner
    if one.algorithm == "mcem":
        learner = MCEM(model, ascent("decoder"), streams("noise"), len(points))
    elif one.algorithm == "wake-sleep":
        learner = (backprop.BackpropWakeSleep if by_hand else WakeSleep)(
            model,
            ascent("encoder"),
            ascent("decoder"),
            streams("noise"),
            sleep_first=one.sleep_first,
            clip_dreams=one.clip_dreams,
        )
    elif one.algorithm == "aevb":
        if by_hand and one.n_samples == 1 and one.estimator == "B":
            learner = backprop.BackpropAEVB(model, ascent(""), streams("noise"))
        else:
            learner = AEVB(
                model,
                ascent(""),
                streams("noise"),
                n_samples=one.n_samples,
                estimator=one.estimator,
            )
    else:
        raise ConfigurationError(f"{one.algorithm} has no learner: add its line to {__file__}")
    return Training(
        learner,
        architectures,
        points.to(device),
        one.minibatch,
        None if one.algorithm == "mcem" else streams("minibatches"),
        one.products,
    )


MEASURES = {
    "lower_bound": evaluation.lower_bounds,
    "lower_bound_by_subset": evaluation.lower_bounds_by_subset,
    "marginal_loglik": evaluation.marginal_logliks,
}


def evaluate(training: Training, runs: Sequence[Run], dataset: Dataset) -> list[Row] | None:
    """What the runs' `measure` asks for, for every run of a stack, at a log point.

    The noise depends on the seed and the number of samples seen, not on earlier evaluations. As
    long as nothing has moved, through the warm-up, the estimates of the first log point stand.

    Returns:
        A row for each run, see `measures`; None where the point is passed over: marginal
        likelihoods, which take seconds, between the first log point and 100,000 samples.
    """
    marginal = runs[0].measure == "marginal_loglik"
    if marginal and training.rows[0] and training.samples < FIRST_MARGINAL_LOGLIK:
        return None
    moved = any(ascent.moving for ascent in training.learner.ascents.values())
    own = ("samples", "train_running")
    if training.rows[0] and not moved:
        return [{k: v for k, v in rows[-1].items() if k not in own} for rows in training.rows]
    streams = Streams(
        [
            generator(run.seed, f"evaluation at {training.samples}", training.points.device)
            for run in runs
        ],
        [run.nz for run in runs],
    )
    values = MEASURES[runs[0].measure](training.learner.model, training.points, dataset, streams)
    rows: list[Row] = [{} for _ in runs]
    for column, per_point in values.items():
        errors = per_point.std(1) / per_point.shape[1] ** 0.5
        for row, mean, error in zip(rows, per_point.mean(1).tolist(), errors.tolist(), strict=True):
            row[column], row[f"{column}_se"] = mean, error
    return rows


def run_to(
    runs: Sequence[Run],
    budget: float,
    dataset: Dataset,
    *,
    device: torch.device = CPU,
    report: Report = silent,
    stop_requested: Callable[[], bool] = lambda: False,
    seconds_between_checkpoints: float = 60.0,
) -> None:
    """Train a stack of runs to `budget` samples each, continuing from their checkpoints.

    Writes each run's curve, manifest and checkpoint under results/local.

    Args:
        runs: of one data set and algorithm; they may differ in seed, Nz and step size.
        budget: samples of each run, from its beginning.
        dataset: as loaded.
        device: where to compute; the CPU by default.
        report: called every 20,000 samples, or every update if that is more, with what is being
            done, the number of samples at which that ends, and the training.
        stop_requested: asked as often.
        seconds_between_checkpoints: how often a checkpoint is written between log points.

    Raises:
        ConfigurationError: if no command makes one of the runs, or the data set is not theirs
            (`start`); if the runs differ in more than these, or are not all different; if
            another process trains one of them; if their checkpoints are not at the same number of
            samples, or one was made with other settings, of other data or on another kind of
            device; if a curve that is longer than this budget's, or was made with other settings,
            has lost its checkpoint; if likelihoods of several Nz are asked for.
        Stopped: when a stop was requested and the checkpoints are written.
        Diverged: when the runs have diverged; their curves up to there are written.
    """
    for run in runs:
        command(run, 1)  # a curve that no command makes again must not be begun
    if dataset.name != runs[0].dataset:
        raise ConfigurationError(
            f"{runs[0].name} is a run on {runs[0].dataset}; expected that data set, got "
            f"{dataset.name}"
        )
    first = asdict(runs[0])
    for run in runs[1:]:
        if wrong := [
            f"{name} is {first[name]} and {value}"
            for name, value in asdict(run).items()
            if value != first[name] and name not in ("seed", "nz", "step_size")
        ]:
            raise ConfigurationError(
                f"{runs[0].name} and {run.name} cannot train as one stack, whose runs differ in "
                f"seed, nz and step size alone: {', '.join(wrong)}; train each with a command of "
                "its own"
            )
    if twice := [run.name for k, run in enumerate(runs) if run in runs[:k]]:
        raise ConfigurationError(f"{', '.join(twice)}: given twice; expected once")
    if runs[0].measure == "marginal_loglik" and len({run.nz for run in runs}) != 1:
        raise ConfigurationError(
            "measure marginal_loglik: the estimators read runs of one nz together; expected a "
            "stack of one nz, train each with a command of its own"
        )
    with ExitStack() as held:
        for run in sorted(runs, key=lambda run: run.name):
            held.enter_context(checkpoints.alone(run))
        _run_to(runs, budget, dataset, device, report, stop_requested, seconds_between_checkpoints)


def _run_to(
    runs: Sequence[Run],
    budget: float,
    dataset: Dataset,
    device: torch.device,
    report: Report,
    stop_requested: Callable[[], bool],
    seconds_between_checkpoints: float,
) -> None:
    precision = f"float32, products of {runs[0].products}"
    # Now: the source may change while the run goes on.
    maker = {"precision": precision, **provenance.maker(device)}
    saved = [checkpoints.load(run, device) for run in runs]
    end = last_log_point(budget, samples_per_update(runs[0]))
    longest = {
        run: checkpoints.kept(run, checkpoint, end, dataset)
        for run, checkpoint in zip(runs, saved, strict=True)
    }
    states = [s for s in saved if s is not None]
    stand = [0 if s is None else s["training"]["samples"] for s in saved]
    if len(set(stand)) != 1:
        where = ", ".join(f"{run.name} at {n:,}" for run, n in zip(runs, stand, strict=True))
        raise ConfigurationError(
            "runs can train as one stack only from the same number of samples, and their "
            f"checkpoints are at different ones: {where}; train each with a command of its own"
        )
    training = start(runs, dataset, device)
    if states:
        training.load([s["training"] for s in states])
    seconds = max((s["seconds"] for s in states), default=0.0)
    clock = time.monotonic()

    def save(training: Training) -> None:
        elapsed = seconds + time.monotonic() - clock
        contents: list[dict[str, Any]] = [
            {
                "training": training.state(r),
                "seconds": elapsed,
                "makers": _makers(saved[r], maker, training.samples),
                "data_sha256": dataset.checksums,
                "diverged": training.has_diverged(),
            }
            for r in range(len(runs))
        ]
        # All checkpoints first: a stack goes on only if they are at the same number of samples.
        for run, content in zip(runs, contents, strict=True):
            checkpoints.save(run, content)
        for run, content in zip(runs, contents, strict=True):
            rows = content["training"]["rows"]
            if rows and rows[-1]["samples"] >= longest[run]:
                manifest = _manifest(run, dataset, content)
                curves.write(paths.curve(paths.local(), run.study, run.name), rows, manifest)

    if not all(
        checkpoints.is_written(run, rows) for run, rows in zip(runs, training.rows, strict=True)
    ):
        save(training)
    try:
        train(
            training,
            budget,
            lambda t: evaluate(t, runs, dataset),
            checkpoint=save,
            report=partial(report, "training", end),
            stop_requested=stop_requested,
            seconds_between_checkpoints=seconds_between_checkpoints,
        )
    except Diverged:
        names = ", ".join(run.name for run in runs)
        raise Diverged(
            f"{names} diverged: the {runs[0].objective} is "
            f"{training.rows[0][-1]['train_running']:.6g} nats at {training.samples:,} samples; "
            f"{SMALLER_STEPS}"
        ) from None


def export(run: Run) -> Path:
    """Write the model of a run's checkpoint, in half precision, under results/local/models.

    Returns:
        The file.

    Raises:
        FileNotFoundError: if the run has no checkpoint on this machine, or no log point yet.
        ConfigurationError: if its curve goes further than the checkpoint: then the manifest is of
            another training than the parameters; or if these are not finite.
    """
    checkpoint, curve = checkpoints.load(run), paths.curve(paths.local(), run.study, run.name)
    if checkpoint is None:
        stands = curves.read(curve).samples if curve.exists() else 0
        makes = command(run, max(stands, 100_000))
        raise FileNotFoundError(f"{run.name} has no checkpoint here; `{makes}` makes it")
    target = paths.model(paths.local(), run.study, run.name)
    state: State = checkpoint["training"]  # a run that was stopped is past its last log point
    manifest = curves.read_manifest(curve)
    if manifest["samples"] > state["samples"]:
        makes = command(run, manifest["samples"])
        raise ConfigurationError(
            f"{curve} goes to {manifest['samples']:,} samples, and the checkpoint of {run.name} "
            f"stands at {state['samples']:,}: one was lost. Continue the run first, with `{makes}`"
        )
    if not all(values.isfinite().all() for values in state["parameters"].values()):
        raise ConfigurationError(
            f"{run.name} in study {run.study} diverged: its parameters are not finite at "
            f"{state['samples']:,} samples, and nothing can be drawn from them: {SMALLER_STEPS}"
        )
    models.write(target, state["parameters"], manifest | {"samples": state["samples"]})
    return target


def is_short_of(run: Run, budget: str | float) -> bool:
    """Whether the run's curve on this machine, if there is one, ends before the budget does."""
    end = end_of(run, budget)
    if (file := checkpoints.curve(run)) is None:
        return True
    if run.measure == "marginal_loglik" and end < FIRST_MARGINAL_LOGLIK:
        end = samples_per_update(run)  # the only log point before that
    return bool(curves.read_manifest(file)["samples"] < end)


def _makers(
    saved: dict[str, Any] | None, now: dict[str, Any], samples: int
) -> list[dict[str, Any]]:
    """What made a run up to `samples`: each from a number of samples on."""
    if saved is None:
        return [{"from": 0, **now}]
    before: list[dict[str, Any]] = saved["makers"]
    nothing_made = samples == saved["training"]["samples"]
    if nothing_made or all(before[-1][key] == value for key, value in now.items()):
        return before
    return [*before, {"from": saved["training"]["samples"], **now}]


def _manifest(run: Run, dataset: Dataset, content: dict[str, Any]) -> dict[str, Any]:
    state: State = content["training"]
    makers: list[dict[str, Any]] = content["makers"]
    last = {key: value for key, value in makers[-1].items() if key != "from"}
    return {
        "name": run.name,
        "command": command(run, state["rows"][-1]["samples"]),
        "configuration": run.configuration,
        "configuration_sha256": provenance.digest(run.configuration),
        "samples": state["rows"][-1]["samples"],
        "wall_seconds": round(content["seconds"], 1),
        "samples_per_second": round(state["samples"] / content["seconds"]),
        **last,
        **({"makers": makers} if len(makers) > 1 else {}),
        **({"diverged": True} if content.get("diverged") else {}),
        "data_sha256": dataset.checksums,
        "unit": "nats per datapoint",
    }
