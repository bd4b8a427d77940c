"""Tables of ours against the paper's, in nats per datapoint."""

import math

import pandas as pd

from aevb.comparison import pairs
from aevb.comparison.wording import ALGORITHM_NAMES, panel_group, without_seed
from aevb.results import curves
from aevb.results.lines import EMPTY
from aevb.training import experiments

MILESTONES = {"1 M": 1e6, "3 M": 3e6, "10 M": 1e7, "30 M": 3e7, "100 M": 1e8}


def differences(
    figure: str, budget: str | float, seed: int = 0, *, local: bool = True
) -> pd.DataFrame:
    """Our values and the paper's for every curve of a figure, at the same samples.

    The paper's last point is also compared with the first of our log points after it.

    Args:
        figure: figure2 or figure3.
        budget: samples, or a name: `paper` is the right-hand edge of the paper's axes.
        seed: of our runs.
        local: whether local runs count.

    Returns:
        One row per run and split (`pairs.splits`): `run`, `split`, `source` (local, published or
        none, see `pairs.furthest`), `samples`, `ours`, `paper`, and `difference`, ours minus the
        paper's, in nats per datapoint. `samples` is the last log point within the budget; NaN
        without a curve.
    """
    rows: list[tuple[object, ...]] = []
    for run in experiments.RUNS[figure](seed):
        end = experiments.stopping_point(run, budget)
        curve = pairs.furthest(run, end, local=local)
        for split, (column, of_paper) in pairs.splits(run).items():
            paper = pairs.paper_line(run, of_paper)
            if curve is None:
                rows.append((run.name, split, "none", math.nan, math.nan, math.nan))
            elif ours := pairs.our_line(curve, run, column):
                reached = ours.samples[ours.samples <= end]
                samples = float(reached[-1])
                # The paper's last point lies a little before the edge of its axis.
                is_first_after = (reached[:-1] <= paper.end).all()
                there = min(samples, paper.end) if is_first_after else samples
                values = ours.value_at(samples), paper.value_at(there, leap=pairs.LEAP)
                rows.append((run.name, split, curve.source, samples, *values))
    columns = ["run", "split", "source", "samples", "ours", "paper"]
    table = pd.DataFrame(rows, columns=columns)
    table["difference"] = table.ours - table.paper
    return table


def final_differences(figure: str) -> pd.DataFrame:
    """Where published curves end, or pass the right-hand edge of the paper's axis.

    Returns:
        The rows of `differences` with the budget `paper`, of the seeds whose curve goes furthest;
        also `curve`, the run's name without its seed, and `seed`.
    """
    runs = experiments.RUNS[figure]
    seeds = {curve.seed for run in runs(0) for curve in curves.seeds(figure, run.name)}
    tables = []
    for seed in sorted(seeds) or [0]:
        shared = {run.name: without_seed(run) for run in runs(seed)}
        table = differences(figure, "paper", seed, local=False)
        tables.append(table.assign(seed=seed, curve=table.run.map(shared)))
    table = pd.concat(tables)
    furthest = table.groupby(["curve", "split"]).samples.transform("max")
    return table[table.samples == furthest].reset_index(drop=True)


def over_seeds(ends: pd.DataFrame) -> pd.DataFrame:
    """`final_differences`, with the seeds of each curve taken together.

    Returns:
        One row per `curve` and `split`: `samples`; the number of `seeds`; `ours`, their mean;
        `spread`, their standard deviation (NaN for one seed); `paper`; `difference`, `ours` minus
        `paper`; in nats per datapoint.
    """
    return (
        ends.groupby(["curve", "split"], sort=False)
        .agg(
            samples=("samples", "first"),
            seeds=("ours", "count"),
            ours=("ours", "mean"),
            spread=("ours", "std"),
            paper=("paper", "first"),
            difference=("difference", "mean"),
        )
        .reset_index()
    )


def along_axis(figure: str) -> pd.DataFrame:
    """Ours minus the paper's at every log point of ours within the paper's curve.

    Returns:
        One row per published curve and log point: `run` (its name with seed 0), `seed`, `split`,
        `samples`, `difference` in nats per datapoint, and `visible`, whether the paper's curve is
        within its printed axes there.
    """
    theirs, ours = pairs.lines(figure)
    columns = ["run", "seed", "split", "samples", "difference", "visible"]
    rows = []
    for (run, split), line in ours.items():
        first = pairs.counterpart(run)
        paper = theirs[first, split]
        left, right = paper.visible
        for samples, value in zip(line.samples, line.values, strict=True):
            difference = value - paper.value_at(samples, leap=pairs.LEAP)
            visible = left <= samples <= right
            rows.append((first.name, run.seed, split, samples, difference, visible))
    return pd.DataFrame(rows, columns=columns).dropna(subset=["difference"])


def mean_over_axis(figure: str) -> pd.DataFrame:
    """The mean absolute difference of every curve (seed 0) over the paper's visible axis.

    The mean is over our log points, which are evenly spaced along the logarithmic axis.

    Returns:
        One row per run and split: `run`, `split`; `mean`, in nats per datapoint; `first` and
        `last`, its range in samples; and `share`, that of the visible part of the paper's curve
        within this range, on the logarithmic axis. NaN without a curve.
    """
    theirs, _ = pairs.lines(figure)
    table = along_axis(figure)
    table = table[table.visible.astype(bool) & (table.seed == 0)]
    rows = []
    for (run, split), paper in theirs.items():
        here = table[(table.run == run.name) & (table.split == split)]
        first, last = here.samples.min(), here.samples.max()
        share = math.log(last / first) / math.log(paper.visible[1] / paper.visible[0])
        rows.append((run.name, split, here.difference.abs().mean(), first, last, share))
    return pd.DataFrame(rows, columns=["run", "split", "mean", "first", "last", "share"])


def milestones(figure: str) -> pd.DataFrame:
    """Ours (seed 0) minus the paper's at round numbers of samples and at the right-hand edge.

    Returns:
        One row per run, split and milestone: `run`, `split`, `milestone`, `samples`, `ours`,
        `paper` and `difference` in nats per datapoint; the number of `seeds` that go so far, and
        their standard deviation, `spread`. NaN if a curve does not go so far.
    """
    theirs, ours = pairs.lines(figure)
    rows = []
    for (run, split), paper in theirs.items():
        edge = pairs.right_edge(run)
        seeds = [
            line
            for (other, its_split), line in ours.items()
            if its_split == split and pairs.counterpart(other) == run
        ]
        for milestone, samples in (MILESTONES | {"edge": edge}).items():
            if samples > edge:
                continue
            values = pd.Series([line.value_at(samples) for line in seeds], dtype=float)
            ours_there = ours.get((run, split), EMPTY).value_at(samples)
            paper_there = paper.value_at(samples, leap=pairs.LEAP)
            spread = values.count(), values.std()
            rows.append((run.name, split, milestone, samples, ours_there, paper_there, *spread))
    columns = ["run", "split", "milestone", "samples", "ours", "paper", "seeds", "spread"]
    table = pd.DataFrame(rows, columns=columns)
    table["difference"] = table.ours - table.paper
    return table


def targets() -> pd.DataFrame:
    """How many curves (seed 0) are within their target at the right-hand edge of the paper's axis.

    The splits are those of `pairs.on_papers_images`.

    Returns:
        One row per `group` of curves: how many `curves` there are, how many `reach` the edge, and
        how many are `within` the target; the mean `target` and the `largest` difference, in nats
        per datapoint.
    """
    rows = []
    for figure, runs in experiments.RUNS.items():
        table = milestones(figure)
        table = pairs.on_papers_images(table[table.milestone == "edge"])
        named = {run.name: run for run in runs(0)}
        groups = {
            name: panel_group(run)
            + (f", {ALGORITHM_NAMES[run.algorithm]}" if figure == "figure2" else "")
            for name, run in named.items()
        }
        table["group"] = table.run.map(groups)
        table["target"] = [
            pairs.target(named[name], paper)
            for name, paper in zip(table.run, table.paper, strict=True)
        ]
        for group, here in table.groupby("group", sort=False):
            within = (here.difference.abs() <= here.target).sum()
            largest = max(here.difference.dropna(), key=abs, default=math.nan)
            counts = len(here), here.difference.count(), within
            rows.append((group, *counts, here.target.mean(), largest))
    columns = ["group", "curves", "reach", "within", "target", "largest"]
    return pd.DataFrame(rows, columns=columns)
