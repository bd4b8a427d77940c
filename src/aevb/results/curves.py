"""The curve file, ours and the paper's: columns, writing, reading.

A curve is a tidy CSV, one row per log point, and a JSON manifest of the same name beside it. Every
value is in nats per datapoint, higher is better; results/README.md explains each column.
"""

import json
import math
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aevb import paths
from aevb.errors import DamagedFileError
from aevb.files import atomic, reading

# Our column for each split of a figure as it is drawn, and the paper's column of values.
COLUMNS = {
    "figure2": {"train": "train_running", "test": "test"},
    "figure3": {"train": "train", "test": "test"},
}
PAPER_COLUMN = {"figure2": "lower_bound", "figure3": "marginal_loglik"}

# What to do where published results are missing: the package alone does not hold them.
CHECKOUT = "run this in a checkout of the project, which has them under results/"


# What every manifest of a curve has; results/README.md explains these fields and the others.
FIELDS = {
    "name",
    "samples",
    "configuration",
    "configuration_sha256",
    "data_sha256",
}


def as_text(rows: Sequence[dict[str, float]]) -> str:
    """A curve as its file has it."""
    text: str = pd.DataFrame(rows).to_csv(index=False, float_format="%.7g", lineterminator="\n")
    return text


def write(target: Path, rows: Sequence[dict[str, float]], manifest: dict[str, Any]) -> None:
    """Write a curve and its manifest, each whole or not at all."""
    with atomic(target) as temporary:
        temporary.write_text(as_text(rows))
    write_manifest(target, manifest)


def write_manifest(target: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest beside the curve file `target`."""
    with atomic(target.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(manifest, indent=2) + "\n")


def read(source: Path) -> pd.DataFrame:
    """Read a curve, whose rows were written in the order of `samples`.

    Raises:
        FileNotFoundError: naming the file and what gives it.
        DamagedFileError: the same, where it cannot be read.
    """
    if not source.exists():
        raise FileNotFoundError(f"no curve at {source}: {remedy('run', source)}")
    with reading(source, f"delete it; {remedy('run', source)}"):
        curve = pd.read_csv(source)
        if "samples" not in curve or curve.empty or len(curve.columns) < 2:
            raise ValueError("expected a column samples, one of values, and a row")
        if words := curve.columns.difference(curve.select_dtypes("number").columns).to_list():
            raise ValueError(f"not only numbers in {', '.join(words)}")
        if not (curve.samples.is_monotonic_increasing and curve.samples.is_unique):
            raise ValueError("samples do not rise from row to row")
        return curve


def remedy(verb: str, source: Path) -> str:
    """What to do where `source` is missing: a published file, or one that `aevb <verb>` makes."""
    if not source.is_relative_to(paths.local()):
        return f"{CHECKOUT}; there `git checkout` restores them"
    command = f"aevb {verb} {source.stem} --study {source.parent.name}"
    return f"`{command}`, with the settings of that study, makes it"


def other_settings(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """How a configuration differs from another, in words; empty if it does not."""
    pairs = {key: (ours.get(key), theirs.get(key)) for key in {**ours, **theirs}}
    return ", ".join(f"{key} is {a}, not {b}" for key, (a, b) in pairs.items() if a != b)


def read_manifest(source: Path) -> dict[str, Any]:
    """Read the manifest beside the curve file `source`.

    Raises:
        FileNotFoundError: naming the file and what gives it.
        DamagedFileError: the same, where it cannot be read.
    """
    file = source.with_suffix(".json")
    if not file.exists():
        raise FileNotFoundError(f"no manifest at {file}: {remedy('run', source)}")
    with reading(file, f"delete it; {remedy('run', source)}"):
        manifest: dict[str, Any] = json.loads(file.read_text())
        if missing := FIELDS.difference(manifest):
            raise ValueError(f"no {', '.join(sorted(missing))}")
        return manifest | {"configuration": configuration(manifest)}


# What tells a manifest of the first edition, whose runs chose their step sizes themselves.
FIRST_EDITION = "step_size_selection"


def configuration(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration in a manifest; of the first edition, in today's settings."""
    if FIRST_EDITION not in manifest:
        return dict(manifest["configuration"])
    later = {"hidden_layers": 1, "pixels": "grey", "sleep_first": False, "clip_dreams": False}
    then = {**later, **manifest["configuration"]}
    gone = ("step_sizes", "selection_window")
    step_size = manifest[FIRST_EDITION]["step_size"]
    return {k: v for k, v in then.items() if k not in gone} | {"step_size": step_size, "split": 0}


def read_both(source: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Read a curve and its manifest, which must be of each other.

    Raises:
        FileNotFoundError: naming the file and what gives it.
        DamagedFileError: if one cannot be read, or the manifest is of another curve or of another
            length of this one.
    """
    curve, manifest = read(source), read_manifest(source)
    samples, study = curve.samples.iloc[-1], source.parent.name
    says = (manifest["configuration"].get("study"), manifest["name"], manifest["samples"])
    if says != (study, source.stem, samples):
        raise DamagedFileError(
            f"{source} ends at {samples:,} samples, and by its manifest it is {says[1]} of study "
            f"{says[0]}, to {says[2]:,}: expected both as `aevb run` wrote them. Give the files "
            f"back their names, or delete them; {remedy('run', source)}"
        )
    return curve, manifest


def step_size(source: Path) -> float:
    """The step size of the run of the curve file `source`."""
    return float(read_manifest(source)["configuration"]["step_size"])


def paper_figure(name: str) -> pd.DataFrame:
    """`figure2` or `figure3` of the paper as numbers; results/paper/README.md has the columns.

    Raises:
        FileNotFoundError: outside a checkout of the project.
    """
    source = paths.paper() / f"{name}.csv"
    if not source.exists():
        raise FileNotFoundError(f"no curves of the paper at {source}: {CHECKOUT}")
    return _never_changing(source).copy()


@cache
def _never_changing(source: Path) -> pd.DataFrame:
    """A file that a table of comparisons asks for hundreds of times."""
    return pd.read_csv(source)


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
