"""Studies beside the paper's curves: one setting changed, every seed that was run."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from aevb.comparison.pairs import difference, paper_line
from aevb.comparison.wording import nats
from aevb.results import curves
from aevb.results.curves import Curve
from aevb.training import experiments
from aevb.training.run import Run

Array = npt.NDArray[np.float64]

PLATEAU = 577.0  # nats: about what one Gaussian for each pixel of Frey Face gives
OFF_PLATEAU = PLATEAU + 15


def seeds(study: str, dataset: str, nz: int, algorithm: str) -> dict[str, Curve]:
    """The curves of a panel in a study, of all seeds, by name."""
    found = curves.seeds(study, f"{dataset}-nz{nz}-{algorithm}-seed0")
    return {curve.name: curve for curve in found}


def step_size(study: str, name: str) -> float:
    """The step size of a published run, which the rule selected or the study set."""
    size: float = curves.published(study, name).step_size
    return size


def values_at(
    study: str, dataset: str, nz: int, algorithm: str, samples: float, column: str
) -> list[float]:
    """A column at a number of samples, in nats, one entry per seed that reaches it."""
    values = [
        curve.value_at(samples, column) for curve in seeds(study, dataset, nz, algorithm).values()
    ]
    return [value for value in values if not math.isnan(value)]


def spread(values: Sequence[float], sign: str = "") -> str:
    """Mean of the seeds in nats, and their range where there are several."""
    if not values:
        return "–"
    if len(values) == 1:
        return f"{nats(values[0], sign)} (one seed)"
    low, high = min(values), max(values)
    return f"{nats(float(np.mean(values)), sign)} ({nats(low, sign)} to {nats(high, sign)})"


def first_points(run: Run) -> pd.DataFrame:
    """Ours minus the paper's at the first point of its train curve, a running average.

    Returns:
        One row for each run of this panel that differs from the published one in step size and
        warm-up alone: `warm-up`, `step`, `name`, and `gap` in nats. Step sizes of 0.1 are left out.
    """
    train = paper_line(run, "train")
    samples, bound = train.samples[0], train.values[0]
    rows: dict[tuple[int, float, str], float] = {}
    for warmup, stem in {100: "step-size-", 0: "warmup-0-step-size-"}.items():
        for study in ("figure2" if warmup else "warmup-0", f"{stem}0.01", f"{stem}0.02"):
            for name, curve in seeds(study, run.dataset, run.nz, run.algorithm).items():
                gap = float(curve.mean_running(0, samples)) - bound
                rows.setdefault((warmup, step_size(study, name), name), gap)
    found = pd.Series(rows).rename_axis(["warm-up", "step", "name"]).rename("gap").reset_index()
    return found[found.step < 0.1]


def by_step_size(run: Run, samples: float) -> pd.DataFrame:
    """All runs of a panel with the step sizes 0.01 and 0.02.

    Returns:
        `step`, `seed`, and ours minus the paper's at `samples` in nats: `gap` on train, `test`.
    """
    rows: list[tuple[Any, ...]] = []
    for study in ("figure2", "step-size-0.01", "step-size-0.02"):
        for name, curve in seeds(study, run.dataset, run.nz, run.algorithm).items():
            gap, on_test = (difference(curve, run, split, samples) for split in ("train", "test"))
            rows.append((step_size(study, name), name[-1], gap, on_test))
    return pd.DataFrame(rows, columns=["step", "seed", "gap", "test"]).dropna()


def from_paper(study: str, run: Run, samples: float) -> Array:
    """Ours minus the paper's, in nats, of every seed that reaches `samples`.

    Returns:
        `(seeds, 2)`: train and test.
    """
    return np.array(
        [
            [difference(curve, run, split, samples) for split in ("train", "test")]
            for curve in seeds(study, run.dataset, run.nz, run.algorithm).values()
            if curve.samples >= samples
        ]
    )


def plateau(nz: int, split: str) -> Array:
    """The paper's bounds of wake-sleep on Frey Face beyond two million samples, in nats."""
    theirs = paper_line(experiments.figure2_run("freyface", nz, "wake-sleep"), split)
    late: Array = theirs.values[(theirs.samples > 2e6) & (theirs.samples <= theirs.visible[1])]
    return late


def left_plateau(curve: Curve) -> float:
    """Samples at which a run of wake-sleep on Frey Face is off the plateau; NaN if it never is."""
    off = curve.table[curve.table.train_running > OFF_PLATEAU]
    return math.nan if off.empty else float(off.samples.iloc[0])
