"""Fresh runs compared with the published runs of the same seed."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from aevb import data, paths
from aevb.errors import DamagedFileError
from aevb.results import curves
from aevb.results.curves import Curve
from aevb.training import experiments, names


class Check(NamedTuple):
    """A limit on the difference between a fresh curve and the published one."""

    where: str  # it applies, in words
    first: float  # row, in samples
    last: float  # row, in samples
    delay: float  # a value may come earlier or later by this factor in samples
    tolerance: float  # nats


SAME_MACHINE = Check("on the same kind of machine", 0, math.inf, 1.0, 0.01)
# Another processor rounds differently. In the first rows, to a little beyond the warm-up, that
# changes a bound by at most 0.06 nats. Two seeds are 4 nats or more apart there, and any two
# settings that the book compares 0.6 or more.
_FIRST_ROWS: dict[data.Name, int] = {"mnist": 15_000, "freyface": 65_000}
EARLY = {
    dataset: Check(f"up to {last:,} samples, on another processor", 0, last, 1.0, 0.5)
    for dataset, last in _FIRST_ROWS.items()
}
# Later, training amplifies rounding until two runs differ as much as two seeds. They also leave a
# plateau at different times, and a curve rises by hundreds of nats in between.
_SEEDS_APART: dict[data.Name, float] = {"mnist": 10.0, "freyface": 150.0}
LATE = {
    dataset: Check("from 100,000 samples on, on another machine", 1e5, math.inf, 1.26, tolerance)
    for dataset, tolerance in _SEEDS_APART.items()
}

FAMILY = "family and model"

# In the first edition every seed had its own step size, and all seeds one split.
CHOSEN_BY_SEED = ("step_size", "split")
# Stands in place of a check where those differ.
NOT_COMPARED = "a first-edition curve with another step size or split"


def checks(seed: int = 0) -> pd.DataFrame:
    """How far fresh local runs are from the published runs of the same seed.

    Returns:
        A row for every check of every run that has both curves. `run`; `other_settings`, in words,
        empty if there are none; `check`, in words, and its `tolerance`; `largest_difference`, in
        nats, over all shared columns and rows of the check. The last is NaN if there are no such
        rows, or if the settings differ. The check is `NOT_COMPARED` for a first-edition curve with
        another step size or split.

    Raises:
        DamagedFileError: if a curve or its manifest cannot be read; if they do not belong
            together; see also `_shared_columns`.
    """
    rows: list[dict[str, Any]] = []
    for run in (run for runs in experiments.RUNS.values() for run in runs(seed)):
        ours = curves.find(run.study, run.name, paths.local())
        published = curves.find(run.study, run.name)
        if ours is None or published is None:
            continue
        settings = ours.configuration, published.configuration
        other = curves.other_settings(*settings)
        first_edition = curves.FIRST_EDITION in published.manifest
        if first_edition and other:
            other = curves.other_settings(*map(_shared_settings, settings))
            if not other:
                rows.append({"run": run.name, "other_settings": "", "check": NOT_COMPARED})
                continue
        columns = _shared_columns(ours, published)
        required = (
            [LATE[run.dataset]]
            if first_edition
            else _required(ours.manifest, published.manifest, run.dataset)
        )
        for check in required:
            part = ours.table[ours.table.samples.between(check.first, check.last)]
            rows.append(
                {
                    "run": run.name,
                    "other_settings": other,
                    "check": check.where,
                    "largest_difference": math.nan
                    if other
                    else largest_difference(part, published.table, columns, check.delay),
                    "tolerance": check.tolerance,
                }
            )
    header = ["run", "other_settings", "check", "largest_difference", "tolerance"]
    return pd.DataFrame(rows, columns=header)


def _shared_columns(ours: Curve, published: Curve) -> list[str]:
    """The columns of values that the curves share.

    Raises:
        DamagedFileError: if neither curve has all columns of the other.
    """
    a, b = ours.table.columns, published.table.columns
    shared = a.intersection(b)
    if len(shared) < min(len(a), len(b)):
        raise DamagedFileError(
            f"{ours.path} has the columns {', '.join(a)}, and {published.path} {', '.join(b)}: "
            "expected that one has all those of the other. Delete the first; "
            + curves.remedy("run", ours.path)
        )
    return list(shared.drop("samples"))


def _shared_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings that all seeds of the first edition shared."""
    return {k: v for k, v in settings.items() if k not in CHOSEN_BY_SEED}


def largest_difference(
    a: pd.DataFrame, b: pd.DataFrame, columns: Sequence[str], delay: float = 1.0
) -> float:
    """Largest distance of curve `a` from curve `b` over their common log points, in nats.

    The distance of a point is that from the range of values which `b` takes between
    samples / delay and samples · delay. With a delay of 1 it is the plain difference.

    Returns:
        Zero if one curve is a prefix of the other. NaN if they have no log point in common.
        Infinite if only one of them has a finite value somewhere, as after divergence.
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


def _required(a: Mapping[str, Any], b: Mapping[str, Any], dataset: data.Name) -> list[Check]:
    """The checks for two curves, from the machines that their manifests name."""
    makers = [{**m, **maker} for m in (a, b) for maker in m.get("makers", [{}])]
    hardware = pd.DataFrame([maker["hardware"] for maker in makers])
    # It tells processor generations of the same name apart. Older manifests lack it.
    if FAMILY in hardware and not hardware[FAMILY].replace("", None).notna().all():
        hardware = hardware.drop(columns=FAMILY)
    torch = {maker["versions"]["torch"] for maker in makers}
    precision = {maker["precision"] for maker in makers}
    # A field that only one has counts as a difference: one name may stand for two processors.
    same_hardware = (hardware.nunique(dropna=False) == 1).all()
    if same_hardware and len(torch) == len(precision) == 1:
        return [SAME_MACHINE]
    # Then random numbers and the rounding of factors are the same on any processor.
    alike = set(hardware.device) == {"cpu"} and len({t.partition("+")[0] for t in torch}) == 1
    if alike and len(precision) == 1:
        return [EARLY[dataset], LATE[dataset]]
    return [LATE[dataset]]


def problems(seed: int = 0) -> str:
    """The fresh runs that differ too much from the published ones, in words; else empty."""
    found = []
    for _, check in checks(seed).iterrows():
        if check.other_settings:
            run = names.parse(check.run)
            file = paths.curve(paths.local(), run.study, run.name)
            files = (paths.checkpoint(run.study, run.name), file)
            stale = " and ".join(str(file.relative_to(paths.root())) for file in files)
            found.append(
                f"{run.name}: the local run has other settings than the published one: "
                f"{check.other_settings}. Delete {stale} and repeat "
                f"`{names.command(run, curves.read(file).samples)}`; to keep other settings, "
                "give them a --study of their own"
            )
        elif math.isinf(check.largest_difference):
            found.append(
                f"{check.run} has no finite value where the published run of the same seed has "
                "one, or the reverse: one of them diverged"
            )
        elif check.largest_difference > check.tolerance:
            found.append(
                f"{check.run} differs from the published run of the same seed by "
                f"{check.largest_difference:.4f} nats; expected at most {check.tolerance:g} "
                f"{check.check}"
            )
    return "\n".join(dict.fromkeys(found))  # two checks may give the same line
