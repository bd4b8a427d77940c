"""Fresh runs against the published runs of the same seed, of which they should be prefixes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from aevb import curves, experiments, paths

# How far a fresh run may be from the published run of the same seed, in nats: by rounding alone on
# the same kind of machine; elsewhere as far as another seed may be, and two log points earlier or
# later, since training amplifies rounding and a curve leaves a plateau when it will. From 100,000
# samples on: before that a curve rises by hundreds of nats.
SAME_MACHINE_TOLERANCE = 0.01
TOLERANCE = {"mnist": 10.0, "freyface": 150.0}
DELAY = 1.26
COMPARED_FROM = 100_000


def compared(seed: int = 0) -> pd.DataFrame:
    """How far fresh local runs are from the published runs of the same seed.

    Returns:
        One row per run that has both: `run`, `other_settings` (in words; empty if they are the
        same), `same_machine` (kind of processor, threads, precision and PyTorch version agree),
        `largest_difference`, in nats over all columns and all common log points from 100,000
        samples on, see `largest_difference` (NaN if there is none, and with other settings),
        the `tolerance` for it, and the `step_sizes` that the two selected.
    """
    rows = []
    for run in (run for runs in experiments.RUNS.values() for run in runs(seed)):
        files = [
            paths.curve(root, run.study, run.name) for root in (paths.local(), paths.published())
        ]
        if not all(file.exists() for file in files):
            continue
        ours, published = (curves.read(file) for file in files)
        a, b = (curves.read_manifest(file) for file in files)
        same = _same_machine(a, b)
        other = _other_settings(a["configuration"], b["configuration"])
        columns = list(published.columns.intersection(ours.columns).drop("samples"))
        rows.append(
            {
                "run": run.name,
                "other_settings": other,
                "same_machine": same,
                "largest_difference": math.nan
                if other
                else largest_difference(
                    ours[ours.samples >= COMPARED_FROM], published, columns, 1 if same else DELAY
                ),
                "tolerance": SAME_MACHINE_TOLERANCE if same else TOLERANCE[run.dataset],
                "step_sizes": tuple(m["step_size_selection"]["step_size"] for m in (a, b)),
            }
        )
    columns = ["run", "other_settings", "same_machine"]
    columns += ["largest_difference", "tolerance", "step_sizes"]
    return pd.DataFrame(rows, columns=columns)


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


def _same_machine(a: Mapping[str, Any], b: Mapping[str, Any]) -> bool:
    """Whether two manifests tell of numbers that should agree bit for bit."""
    makers = [{**one, **maker} for one in (a, b) for maker in one.get("makers", [{}])]
    hardware = pd.DataFrame([maker["hardware"] for maker in makers])
    others = {(maker["versions"]["torch"], maker["precision"]) for maker in makers}
    # What only one of them tells can differ: processors of one name may have other instructions.
    return bool((hardware.nunique(dropna=False) == 1).all()) and len(others) == 1


def _other_settings(ours: Mapping[str, Any], published: Mapping[str, Any]) -> str:
    default = "its default"  # of a setting that came later, which a configuration leaves out
    pairs = {
        key: (ours.get(key, default), published.get(key, default)) for key in {**ours, **published}
    }
    return ", ".join(f"{key} is {a}, not {b}" for key, (a, b) in pairs.items() if a != b)


def not_the_published(seed: int = 0) -> str:
    """What to say of fresh runs that are not the published ones; empty if there is none."""
    said = []
    for _, one in compared(seed).iterrows():
        kind = "the same" if one.same_machine else "another"
        if one.other_settings:
            run = experiments.parse(one.run)
            samples = curves.read(paths.curve(paths.local(), run.study, run.name)).samples.max()
            checkpoint = paths.checkpoint(run.study, run.name).relative_to(paths.root())
            said.append(
                f"{one.run}: the local run has other settings than the published one: "
                f"{one.other_settings}. Delete {checkpoint} and repeat "
                f"`{experiments.command(run, samples)}`; to keep other settings, give them a "
                "--study of their own"
            )
        elif math.isinf(one.largest_difference):
            said.append(
                f"{one.run} has no finite value where the published run of the same seed has one, "
                "or the reverse: one of them diverged"
            )
        elif one.largest_difference > one.tolerance:
            said.append(
                f"{one.run} differs from the published run of the same seed by "
                f"{one.largest_difference:.4f} nats; expected at most {one.tolerance:g} on {kind} "
                "kind of machine"
            )
            fresh, published = one.step_sizes
            if fresh != published:
                said[-1] += f". It selected the step size {fresh}, the published run {published}"
    return "\n".join(said)
