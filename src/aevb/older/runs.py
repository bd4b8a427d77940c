"""Experiments by name, and their files in results/older: curve, manifest, tables and pictures."""

import math
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image
from torch import Tensor

from aevb import data, paths
from aevb.data import Dataset
from aevb.errors import ConfigurationError
from aevb.files import atomic
from aevb.older import grey
from aevb.older.experiments import EXPERIMENTS, Experiment
from aevb.results import curves, provenance
from aevb.training import loop
from aevb.training.log_points import last_log_point
from aevb.training.loop import Row, Training

EVALUATED_PER_DECADE = 4
FIRST_EVALUATED = 100_000  # samples


def folder() -> Path:
    """Where the published files are."""
    return paths.published() / "older"


def parse(name: str) -> tuple[str, int]:
    """The experiment and the seed of a name such as rbm-pcd-seed0.

    Raises:
        ConfigurationError: if there is no such experiment.
    """
    found = re.fullmatch(r"(.+)-seed(\d+)", name)
    if not found or found[1] not in {*EXPERIMENTS, "grey"}:
        raise ConfigurationError(
            f"{name!r}: expected a name such as rbm-pcd-seed0; "
            f"there are {', '.join(EXPERIMENTS)} and grey"
        )
    return found[1], int(found[2])


def write(name: str) -> Path:
    """Run an experiment and write its files; returns that of the curve.

    Raises:
        ConfigurationError: if there is no such experiment.
        FileNotFoundError: if it starts from a model that is not here.
        Diverged: if the training diverged.
    """
    base, seed = parse(name)
    if base == "grey":
        return _write_grey(name, seed)
    experiment = EXPERIMENTS[base](seed)
    before, seconds_before = _model_before(experiment)
    dataset = data.load("mnist", pixels="binary")
    training = experiment.start(dataset, before)
    seconds = train(experiment, training, dataset, seconds_before)
    report = experiment.finish(training, dataset)
    parameters = {k: v.detach() for k, v in training.learner.model.named_parameters()}
    local = _local(name)
    local.parent.mkdir(parents=True, exist_ok=True)
    with atomic(local) as temporary:
        torch.save({"parameters": parameters, "seconds": seconds}, temporary)
    for what, images in report.pictures.items():
        _write_picture(folder() / f"{name}-{what}.png", images)
    for what, table in report.tables.items():
        with atomic(folder() / f"{name}-{what}.csv") as temporary:
            table.to_csv(temporary, index=False, float_format="%.7g")
    manifest = {
        **_manifest(name, experiment.configuration(), dataset),
        "samples": training.samples,
        "kind": experiment.kind,
        "training_seconds": round(seconds, 1),
        "results": report.numbers,
    }
    target = folder() / f"{name}.csv"
    curves.write(target, training.rows, manifest)
    return target


def train(
    experiment: Experiment, training: Training, dataset: Dataset, seconds_before: float = 0.0
) -> float:
    """Train to the end, with a row at the log points that are evaluated.

    `seconds` of a row, and the value returned, are processor seconds of the training alone: other
    work on the machine does not lengthen them.

    Args:
        experiment: which.
        training: before its first update; changed in place.
        dataset: to evaluate on.
        seconds_before: seconds that made the model it starts from.
    """
    end = last_log_point(experiment.samples, training.samples_per_update)
    trained, clock = seconds_before, time.process_time()

    def evaluate(training: Training) -> Row | None:
        nonlocal trained, clock
        trained += time.process_time() - clock
        samples = training.samples
        every = 20 // EVALUATED_PER_DECADE
        is_due = samples >= FIRST_EVALUATED and round(20 * math.log10(samples)) % every == 0
        is_first = not training.rows
        row = None
        if is_due or is_first or samples == end:
            row = {"seconds": trained, **experiment.evaluate(training, dataset)}
        clock = time.process_time()
        return row

    loop.train(training, experiment.samples, evaluate)
    return trained


def _manifest(name: str, configuration: Mapping[str, Any], dataset: Dataset) -> dict[str, Any]:
    return {
        "name": name,
        "command": f"aevb older {name}",
        "configuration": configuration,
        "configuration_sha256": provenance.digest(configuration),
        **provenance.maker(torch.device("cpu")),
        "data_sha256": dataset.checksums,
        "unit": "nats per datapoint",
    }


def _write_grey(name: str, seed: int) -> Path:
    dataset = data.load("mnist")
    table = grey.densities(dataset, seed)
    target = folder() / f"{name}.csv"
    with atomic(target) as temporary:
        table.to_csv(temporary, index=False, float_format="%.7g")
    manifest = _manifest(name, grey.configuration(seed), dataset)
    manifest["samples"] = len(dataset.train)
    manifest["versions"] |= grey.versions()
    curves.write_manifest(target, manifest)
    return target


def _local(name: str) -> Path:
    return paths.local() / "older" / f"{name}.pt"


def _model_before(experiment: Experiment) -> tuple[dict[str, Tensor], float]:
    """The model that an experiment starts from, and the seconds that it took."""
    if not experiment.needs:
        return {}, 0.0
    name = f"{experiment.needs}-seed{experiment.seed}"
    file = _local(name)
    if not file.is_file():
        raise FileNotFoundError(f"no model at {file}: `aevb older {name}` makes it")
    stored = torch.load(file, weights_only=True)
    return stored["parameters"], stored["seconds"]


def _write_picture(target: Path, images: Tensor) -> None:
    """Images in rows of ten, as a PNG in which ink is dark."""
    tiles = images.view(-1, 10, 28, 28).transpose(1, 2).reshape(-1, 280)
    pixels = (255 * (1 - tiles)).round().to(torch.uint8).numpy()
    with atomic(target) as temporary:
        Image.fromarray(pixels).save(temporary, format="png")


def picture(name: str, what: str = "samples") -> np.ndarray[Any, Any]:
    """The pictures of an experiment, as grey levels of the paper: 255 is white."""
    return np.asarray(Image.open(folder() / f"{name}-{what}.png"))


def table(name: str, what: str = "") -> pd.DataFrame:
    """The curve of an experiment, or another table of it.

    Raises:
        FileNotFoundError: if it has not been made, with what makes it.
    """
    file = folder() / (f"{name}-{what}.csv" if what else f"{name}.csv")
    if not file.is_file():
        raise FileNotFoundError(f"no table at {file}: `aevb older {name}` makes it")
    return pd.read_csv(file)


def manifest(name: str) -> dict[str, Any]:
    """The manifest of an experiment; `results` are what it measured at its end."""
    return curves.read_manifest(folder() / f"{name}.csv")


def seeds(experiment: str) -> list[str]:
    """Names of the published runs of an experiment, in the order of their seeds."""
    found = [path.stem for path in folder().glob(f"{experiment}-seed*.json")]
    return sorted(found, key=lambda name: parse(name)[1])
