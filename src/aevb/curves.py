"""The curve file: its columns, writing, reading, and comparing with the paper and with other runs.

A curve is a tidy CSV, one row per log point, and a JSON manifest of the same name beside it. Every
value is in nats per datapoint, higher is better; results/README.md explains each column.
"""

import json
import math
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aevb import paths

# Our column for each split of a figure as it is drawn, and the paper's column of values.
COLUMNS = {
    "figure2": {"train": "train_running", "test": "test"},
    "figure3": {"train": "train", "test": "test"},
}
PAPER_COLUMN = {"figure2": "lower_bound", "figure3": "marginal_loglik"}

# What to do where published results are missing: the package alone does not hold them.
CHECKOUT = "run this in a checkout of the project, which has them under results/"


@contextmanager
def atomic(target: Path) -> Iterator[Path]:
    """A temporary path beside `target`, renamed to it on success and removed on any failure."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield temporary
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write(target: Path, rows: Sequence[dict[str, float]], manifest: dict[str, Any]) -> None:
    """Write a curve and its manifest, each whole or not at all."""
    with atomic(target) as temporary:
        pd.DataFrame(rows).to_csv(temporary, index=False, float_format="%.7g")
    with atomic(target.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(manifest, indent=2) + "\n")


def read(source: Path) -> pd.DataFrame:
    """Read a curve, in the order of `samples`.

    Raises:
        FileNotFoundError: naming the file and the command that makes it.
    """
    if not source.exists():
        raise FileNotFoundError(f"no curve at {source}; `aevb run {source.stem}` makes it")
    return pd.read_csv(source)


def read_manifest(source: Path) -> dict[str, Any]:
    """Read the manifest beside the curve file `source`."""
    manifest: dict[str, Any] = json.loads(source.with_suffix(".json").read_text())
    return manifest


def publish(study: str) -> list[Path]:
    """Copy this machine's curves of a study to where published ones lie, with manifest and model.

    A curve that ends before the published one of its name is left where it is.

    Returns:
        The published curves that were written.

    Raises:
        FileNotFoundError: if this machine has no curve of the study.
    """
    sources = sorted((paths.local() / "curves" / study).glob("*.csv"))
    if not sources:
        raise FileNotFoundError(
            f"no curve of {study} in {paths.local()}; `make train` makes those of the figures"
        )
    written = []
    for source in sources:
        target = paths.curve(paths.published(), study, source.stem)
        if target.exists() and read(source).samples.max() < read(target).samples.max():
            continue
        model = paths.model(paths.local(), study, source.stem)
        for own, public in {
            source: target,
            source.with_suffix(".json"): target.with_suffix(".json"),
            model: paths.model(paths.published(), study, source.stem),
        }.items():
            if own.exists():
                with atomic(public) as temporary:
                    shutil.copyfile(own, temporary)
        written.append(target)
    return written


def paper_figure(name: str) -> pd.DataFrame:
    """`figure2` or `figure3` of the paper as numbers; results/paper/README.md has the columns.

    Raises:
        FileNotFoundError: outside a checkout of the project.
    """
    source = paths.paper() / f"{name}.csv"
    if not source.exists():
        raise FileNotFoundError(f"no curves of the paper at {source}: {CHECKOUT}")
    return pd.read_csv(source)


def identity(figure: str, run: Any) -> dict[str, Any]:
    """The settings of a run that tell the curves of the paper's figure apart."""
    names = {"figure2": ("dataset", "nz", "algorithm"), "figure3": ("n_train", "algorithm")}
    return {name: getattr(run, name) for name in names[figure]}


def compared(run: Any) -> dict[str, tuple[str, str]]:
    """What of a run of the paper's figures stands beside the paper's curves.

    Figure 2's test curves on MNIST are found to be of the validation images (the chapter `unsaid`).
    There `validation` is like the paper's, and `test`, all 10,000 test images, is shown beside it.

    Returns:
        By the name of our split, our column and the paper's split.
    """
    columns = COLUMNS[run.study]
    pairs = {split: (column, split) for split, column in columns.items()}
    if run.study == "figure2" and run.dataset == "mnist":
        pairs = {"train": pairs["train"], "validation": ("validation", "test"), **pairs}
    return pairs


def paper_curve(paper: pd.DataFrame, **which: object) -> pd.DataFrame:
    """One curve of `paper_figure`, in the order of `samples`.

    Args:
        paper: all curves of the figure.
        which: the value of every column that tells curves apart, such as `algorithm="aevb"`.
    """
    for column, value in which.items():
        paper = paper[paper[column] == value]
    return paper.sort_values("samples")


def value_at(samples: float, curve: pd.DataFrame, column: str, *, leap: float = math.inf) -> float:
    """A curve's value at `samples`, linear in log10(samples).

    Args:
        samples: where.
        curve: in the order of `samples`.
        column: of the values.
        leap: NaN where the curve goes by more than this from the point at or before to the next,
            and these are further apart than by a factor of 3 in samples.

    Returns:
        The value; NaN outside the curve.
    """
    if curve.empty:
        return math.nan
    x, y = curve["samples"].to_numpy(), curve[column].to_numpy()
    after = int(np.searchsorted(x, samples, side="right"))
    if 0 < after < len(x):
        leaps = abs(y[after] - y[after - 1]) > leap
        if leaps and x[after] > 3 * x[after - 1]:
            return math.nan
    return float(np.interp(np.log10(samples), np.log10(x), y, left=math.nan, right=math.nan))


def largest_difference(
    a: pd.DataFrame, b: pd.DataFrame, columns: Sequence[str], delay: float = 1.0
) -> float:
    """Largest distance of one curve from another over their common log points, in nats.

    A point of `a` is as far from `b` as from the range of values that `b` takes between
    samples / delay and samples · delay; with a delay of 1, from its value there. NaN where the
    curves have no point in common. Infinite where one has a number and the other has none, as a
    run that diverged. Of two runs with the same seed on the same kind of machine the shorter is a
    prefix of the longer, and this is zero.
    """
    distances = []
    for _, row in a[a.samples.isin(b.samples)].iterrows():
        near = b[b.samples.between(row.samples / delay, row.samples * delay)]
        x, values = (part[list(columns)].to_numpy(float) for part in (row, near))
        low, high = values.min(0), values.max(0)  # NaN where one is
        equal = (x == low) & (x == high) | np.isnan(x) & np.isnan(values).all(0)
        with np.errstate(invalid="ignore"):
            apart = np.maximum(low - x, x - high).clip(min=0)
        distances.append(
            np.where(equal, 0.0, np.nan_to_num(apart, nan=math.inf, posinf=math.inf)).max()
        )
    return float(max(distances, default=math.nan))
