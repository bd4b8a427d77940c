"""Ours against the paper's: tables of numbers."""

import math
from collections.abc import Callable

import numpy as np
import pandas as pd

from aevb import data, paths
from aevb.comparison import same_seed
from aevb.results import curves
from aevb.training import experiments
from aevb.training.log_points import LOG_POINTS_PER_DECADE
from aevb.training.run import Run

LOG_STEP = 10 ** (1 / LOG_POINTS_PER_DECADE)  # samples of a log point, of the one before

QUANTITIES = {"figure2": "Figure 2: lower bounds", "figure3": "Figure 3: log likelihoods"}


def with_paper(
    figure: str, budget: str | float, seed: int = 0, *, local: bool = True
) -> pd.DataFrame:
    """Our values beside the paper's for every curve of a figure, both at the same samples.

    Up to one log point beyond the paper's last, that one is taken; further on there is none.

    Args:
        figure: figure2 or figure3.
        budget: samples, or a name: `paper` stands for the right-hand edge of the paper's axes.
        seed: of our runs.
        local: whether the runs of this machine count, or the published ones alone.

    Returns:
        One row per run and split (`splits`) that its file has: `run`, `split`, `samples`,
        `ours`, `paper`, `difference` (ours minus the paper's) in nats per datapoint, and `source`
        (local, published or none): the curve that goes further, up to the budget's end; the local
        one if they go as far. `samples` is the curve's last log point at or before the budget's
        end; runs without any curve have NaN there.
    """
    rows = []
    for run in experiments.RUNS[figure](seed):
        end = experiments.end_of(run, budget)
        source, curve = _longest(run, end, local)
        for split, (column, of_paper) in splits(run).items():
            if curve is not None and column not in curve:
                continue
            row: dict[str, object] = {"run": run.name, "split": split, "source": source}
            theirs = paper_curve(run, of_paper)
            last = theirs.samples.max()
            if curve is not None:
                samples = curve[curve.samples <= end].samples.max()
                row |= {
                    "samples": samples,
                    "ours": curves.value_at(samples, curve, column),
                    # The paper's last point lies a little before the edge of its axis, by less
                    # than one of our log points from the next; and its curves of Figure 3 leap
                    # from the first point over most of the rise.
                    "paper": curves.value_at(
                        samples if samples > LOG_STEP * last else min(samples, last),
                        theirs,
                        curves.PAPER_COLUMN[figure],
                        leap=10,
                    ),
                }
            rows.append(row)
    columns = ["run", "split", "source", "samples", "ours", "paper"]
    table = pd.DataFrame(rows, columns=columns)
    table["difference"] = table.ours - table.paper
    return table


def paper_curve(run: Run, split: str) -> pd.DataFrame:
    """The paper's curve for a run of its figures, in the order of `samples`."""
    figure = "figure3" if run.n_train else "figure2"
    names = {"figure2": ("dataset", "nz", "algorithm"), "figure3": ("n_train", "algorithm")}
    identity = {name: getattr(run, name) for name in names[figure]}
    paper = curves.paper_figure(figure)
    for column, value in {**identity, "split": split}.items():
        paper = paper[paper[column] == value]
    return paper.sort_values("samples")


def splits(run: Run) -> dict[str, tuple[str, str]]:
    """What of a run of the paper's figures stands beside the paper's curves.

    Figure 2's test curves on MNIST are found to be of the validation images (the chapter `unsaid`).
    There `validation` is like the paper's, and `test`, all 10,000 test images, is shown beside it.

    Returns:
        By the name of our split, our column and the paper's split.
    """
    pairs = {split: (column, split) for split, column in curves.COLUMNS[run.study].items()}
    if run.study == "figure2" and run.dataset == "mnist":
        pairs = {"train": pairs["train"], "validation": ("validation", "test"), **pairs}
    return pairs


def judged(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table of runs and splits whose images are the paper's, as far as is found.

    All rows but `test` of the runs that have `validation` (`splits`).
    """
    validated = table.run[table.split == "validation"]
    return table[(table.split != "test") | ~table.run.isin(validated)]


def _longest(run: Run, end: int, with_local: bool) -> tuple[str, pd.DataFrame | None]:
    """Of the local and the published curve the one that goes further, as far as `end`."""
    found = {
        name: curves.read(file)
        for name, root in (("local", paths.local()), ("published", paths.published()))
        if (name == "published" or with_local)
        and (file := paths.curve(root, run.study, run.name)).exists()
    }
    if not found:
        return "none", None
    source = max(found, key=lambda name: min(end, found[name].samples.max()))
    return source, found[source]


def ends(figure: str) -> pd.DataFrame:
    """Where published curves end, or pass the right-hand edge of the paper's axis, seed by seed.

    Returns:
        The rows of `with_paper` with the budget `paper`, of every seed whose run goes as far as
        that with any other seed; also `curve`, the name of the run without its seed, and `seed`.
    """
    seeds = {
        int(paths.seed(file))
        for run in experiments.RUNS[figure](0)
        for file in paths.seeds(paths.published(), figure, run.name)
    }
    table = pd.concat(
        with_paper(figure, "paper", seed, local=False).assign(seed=seed)
        for seed in sorted(seeds) or [0]
    )
    table["curve"] = table.run.str.rpartition("-seed")[0]
    furthest = table.groupby(["curve", "split"]).samples.transform("max")
    return table[table.samples == furthest].reset_index(drop=True)


def over_seeds(ends: pd.DataFrame) -> pd.DataFrame:
    """`ends`, the seeds of each curve taken together.

    Returns:
        One row per `curve` and `split`: `samples`, the number of `seeds`, their mean `ours` and its
        standard deviation over seeds, `spread` (NaN for one); `paper` and `difference` (the mean of
        ours minus the paper's); in nats per datapoint.
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


def summary() -> str:
    """The table of the README: how far the published curves are from the paper's, as Markdown.

    Each curve is read at its end, or at the right-hand edge of the paper's axis. Differences are
    ours, the mean over the seeds that go so far, minus the paper's, in nats per datapoint, of the
    splits that are `judged`.

    Raises:
        FileNotFoundError: if there is no published curve.
    """
    lines = []
    for figure, runs in experiments.RUNS.items():
        table = over_seeds(judged(ends(figure))).dropna(subset=["difference"])
        groups = {
            run.name.removesuffix("-seed0"): f"{_panel(run)}, {NAMES[run.algorithm]}"
            for run in runs(0)
        }
        for name, group in table.groupby(table.curve.map(groups), sort=False):
            worst = group.sort_values("difference", key=abs).iloc[-1]
            lines.append(
                f"| {name} | {len(group)} | {span(group.seeds, str)} | "
                f"{span(group.samples / 1e6, '{:.1f}'.format)} M | "
                f"{group.difference.abs().mean():.1f} nats | "
                f"{signed(worst.difference)} nats ({worst.curve}, {worst.split}) |"
            )
    if not lines:
        raise FileNotFoundError(
            f"no published curve in {paths.published() / 'curves'}: {curves.CHECKOUT}"
        )
    head = "| | curves | seeds | up to samples | mean absolute difference | largest difference |"
    return "\n".join([head, "|---|---|---|---|---|---|", *lines])


def report(budget: str | float, seed: int = 0) -> str:
    """What `make reproduce` prints at its end: the comparison, and anything left out."""
    lines, missing = [], []
    for figure, what in QUANTITIES.items():
        table = with_paper(figure, budget, seed)
        here = table[table.source != "none"]
        missing += sorted(set(table[table.source == "none"].run))
        if not here.empty:
            lines += [
                f"{what} in nats per datapoint, ours against the paper's at the same samples:",
                "",
                _in_words(here).to_string(index=False),
                "",
            ]
            if "validation" in set(here.split):
                lines += ["validation: our bound on the 10,000 validation images of MNIST, beside "
                          "the paper's test curve, which seems to be of them.", ""]  # fmt: skip
            if here.paper.isna().any():
                lines += ["none: the paper's curve has no points near there.", ""]
    fresh = same_seed.compared(seed)
    fresh = fresh[fresh.other_settings == ""]  # of others `not_the_published` tells
    against = fresh.dropna(subset=["largest_difference"])
    if not against.empty:
        lines += ["Local runs against the published runs of the same seed, largest differences:"]
    for _, rows in against.groupby(["check", "tolerance"], sort=False):
        worst = rows.sort_values("largest_difference").iloc[-1]
        lines += [
            f"  {worst.check}: {worst.largest_difference:.4f} nats in {worst.run}, of {len(rows)} "
            f"runs; allowed {worst.tolerance:g}"
        ]
    if short := set(fresh.run) - set(against.run):
        lines += [
            f"{len(short)} of {fresh.run.nunique()} local runs were not compared with the "
            "published runs of the same seed: they end too early for a comparison across machines."
        ]
    if "freyface" not in data.available():
        lines += ["Left out: the Frey Face data are not here, so the Frey Face panels show the "
                  "published curves only. `aevb data` gets them."]  # fmt: skip
    if missing:
        lines += [f"No curve yet for: {', '.join(missing)}."]
    return "\n".join(lines)


def _in_words(table: pd.DataFrame) -> pd.DataFrame:
    """`with_paper` as text, with a word where there is no number."""
    return table.assign(
        samples=table.samples.map("{:,.0f}".format),
        ours=table.ours.map(lambda value: nats(value) if math.isfinite(value) else "diverged"),
        paper=table.paper.map(lambda value: "none" if math.isnan(value) else nats(value)),
        difference=table.difference.map(signed),
    )


# ------------------------------------------------------------------------- the comparison in full

TITLES: dict[data.Name, str] = {"mnist": "MNIST", "freyface": "Frey Face"}
NAMES = {"aevb": "AEVB", "wake-sleep": "wake-sleep", "mcem": "Monte Carlo EM"}
_SPACE = "\u00a0"  # does not break
MILESTONES = {"1 M": 1e6, "3 M": 3e6, "10 M": 1e7, "30 M": 3e7, "100 M": 1e8}

Curves = dict[tuple[str, str], pd.DataFrame]  # by run and split; columns `samples` and `value`
NO_CURVE = pd.DataFrame({"samples": [], "value": []})


def both(figure: str) -> tuple[Curves, Curves]:
    """The paper's curves, under the names of our runs with seed 0, and the published ones.

    Splits are those of `splits`: the paper's test curves on MNIST stand under two names.
    """
    theirs: Curves = {}
    ours: Curves = {}
    for run in experiments.RUNS[figure](0):
        files = paths.seeds(paths.published(), figure, run.name)
        own = {file.stem: curves.read(file) for file in files}
        for split, (column, of_paper) in splits(run).items():
            theirs[run.name, split] = paper_curve(run, of_paper).rename(
                columns={curves.PAPER_COLUMN[figure]: "value"}
            )
            for name, curve in own.items():
                if column not in curve:
                    continue
                pair = curve[["samples", column]].set_axis(["samples", "value"], axis=1)
                ours[name, split] = pair
    return theirs, ours


def at(samples: float, curve: pd.DataFrame, leap: float = math.inf) -> float:
    """A curve's value at `samples`; NaN outside it, and on a leap (`curves.value_at`)."""
    return curves.value_at(samples, curve, "value", leap=leap)


def first_at(level: float, curve: pd.DataFrame) -> float:
    """Samples at which a curve first reaches a level, its first point if that does already.

    Between two points it is linear in log10(samples), as in `curves.value_at`. NaN if never.
    """
    x, y = np.log10(curve.samples.to_numpy()), curve.value.to_numpy()
    above = y >= level
    if not above.any():
        return math.nan
    k = int(above.argmax())
    if k == 0:
        return float(10 ** x[0])
    return float(10 ** np.interp(level, y[k - 1 : k + 1], x[k - 1 : k + 1]))


def edge(run: Run) -> float:
    """The samples at the right-hand edge of the paper's axis."""
    return experiments.budget_of(run, "paper")


def differences(figure: str) -> pd.DataFrame:
    """Ours minus the paper's at every log point of ours that the paper's curve has around it.

    Returns:
        One row per published curve and log point: `run` (as it is named with seed 0), `seed`,
        `split`, `samples`, `difference` in nats per datapoint, and `visible`: whether the point
        lies where the paper's curve is within its printed axes.
    """
    theirs, ours = both(figure)
    rows = []
    for (name, split), curve in ours.items():
        stem, _, seed = name.rpartition("seed")
        paper = theirs[f"{stem}seed0", split]
        seen = paper.samples[paper.visible]
        rows += [
            {
                "run": f"{stem}seed0",
                "seed": int(seed),
                "split": split,
                "samples": samples,
                "difference": value - at(samples, paper, leap=10),
                "visible": seen.min() <= samples <= seen.max(),
            }
            for samples, value in zip(curve.samples, curve.value, strict=True)
        ]
    columns = ["run", "seed", "split", "samples", "difference", "visible"]
    return pd.DataFrame(rows, columns=columns).dropna(subset=["difference"])


def over_axis(figure: str) -> pd.DataFrame:
    """The mean absolute difference of every curve (seed 0) over the paper's visible axis.

    The mean is over our log points, which are evenly spaced along the logarithmic axis.

    Returns:
        One row per run and split: `run`, `split`, `mean` in nats per datapoint, `first` and
        `last`, the samples between which it is taken, and `share` of the visible part of the
        paper's curve that lies between them, on the logarithmic axis. NaN where there is none.
    """
    theirs, _ = both(figure)
    table = differences(figure)
    table = table[table.visible.astype(bool) & (table.seed == 0)]
    rows = []
    for (name, split), paper in theirs.items():
        seen = paper.samples[paper.visible]
        own = table[(table.run == name) & (table.split == split)]
        first, last = own.samples.min(), own.samples.max()
        rows.append(
            {
                "run": name,
                "split": split,
                "mean": own.difference.abs().mean(),
                "first": first,
                "last": last,
                "share": math.log(last / first) / math.log(seen.max() / seen.min()),
            }
        )
    return pd.DataFrame(rows)


def milestones(figure: str) -> pd.DataFrame:
    """Ours (seed 0) minus the paper's at round numbers of samples and at the right-hand edge.

    Returns:
        One row per run, split and milestone: `run`, `split`, `milestone`, `samples`, `ours`,
        `paper` and `difference` in nats per datapoint, the number of `seeds` published at that
        many samples, and their standard deviation, `spread`. NaN where a curve does not reach.
    """
    theirs, ours = both(figure)
    rows = []
    for run in experiments.RUNS[figure](0):
        names = [file.stem for file in paths.seeds(paths.published(), figure, run.name)]
        for split in splits(run):
            for milestone, samples in (MILESTONES | {"edge": edge(run)}).items():
                if samples > edge(run):
                    continue
                seeds = pd.Series(
                    [at(samples, ours.get((name, split), NO_CURVE)) for name in names], dtype=float
                )
                rows.append(
                    {
                        "run": run.name,
                        "split": split,
                        "milestone": milestone,
                        "samples": samples,
                        "ours": at(samples, ours.get((run.name, split), NO_CURVE)),
                        "paper": at(samples, theirs[run.name, split], leap=10),
                        "seeds": seeds.count(),
                        "spread": seeds.std(),
                    }
                )
    table = pd.DataFrame(rows)
    table["difference"] = table.ours - table.paper
    return table


def milestones_table(figure: str) -> pd.DataFrame:
    """`milestones` and `over_axis` as text: a row per curve, a column per milestone.

    A cell is ours (seed 0) minus the paper's, in brackets the standard deviation over seeds where
    there are several.
    """
    table = milestones(figure)
    table["cell"] = table.difference.map(signed) + [
        f"{_SPACE}({spread:.1f})" if not math.isnan(difference + spread) else ""
        for difference, spread in zip(table.difference, table.spread, strict=True)
    ]
    cells = table.pivot(index=["run", "split"], columns="milestone", values="cell")
    whole = over_axis(figure).set_index(["run", "split"])
    cells = cells.loc[whole.index, list(dict.fromkeys(table.milestone))]
    cells["mean, axis"] = whole["mean"].map(nats)
    cells["axis up to"] = whole["last"].map(millions)
    cells["share"] = ["–" if math.isnan(s) else f"{100 * s:.0f} %" for s in whole.share]
    cells = cells.reset_index().rename(columns={"run": "curve"})
    cells["curve"] = cells.curve.str.removesuffix("-seed0")
    return cells.rename_axis(columns=None)


def nats(value: float, sign: str = "", digits: int = 1) -> str:
    """A value in nats with one decimal, or as many as `digits`; a dash where there is none."""
    return "–" if math.isnan(value) else f"{value:{sign},.{digits}f}".replace("-", "−")


def span(values: pd.Series, show: Callable[[float], str]) -> str:
    """The least and the largest of some values as text; one of them where they look alike."""
    low, high = show(values.min()), show(values.max())
    return low if low == high else f"{low} to {high}"


def signed(value: float) -> str:
    """`nats` with its sign."""
    return nats(value, "+")


def millions(samples: float) -> str:
    """A number of samples in millions; a dash where there is none."""
    return "–" if math.isnan(samples) else f"{float(f'{samples / 1e6:.3g}'):,g}{_SPACE}M"


def target(run: Run, paper: float) -> float:
    """How near ours should end to the paper's value, in nats; NaN where no target is set.

    The paper's wake-sleep on Frey Face stays on a plateau that some of ours leave: no target there.
    """
    if run.study == "figure3":
        return 1.5
    if run.dataset == "mnist":
        return 1.0
    return 0.02 * abs(paper) if run.algorithm == "aevb" else math.nan


def targets() -> pd.DataFrame:
    """How many curves (seed 0) end as near to the paper's, at its right-hand edge, as they should.

    Of the splits that are `judged`.

    Returns:
        One row per `group` of curves: how many `curves` there are, how many of them `reach` the
        edge and are `within` the target there; the `target`, its mean over the group, and the
        `largest` difference at the edge, in nats per datapoint.
    """
    rows = []
    for figure, runs in experiments.RUNS.items():
        table = milestones(figure)
        table = judged(table[table.milestone == "edge"])
        named = {run.name: run for run in runs(0)}
        table["group"] = [_group(named[name]) for name in table.run]
        table["target"] = [
            target(named[name], paper) for name, paper in zip(table.run, table.paper, strict=True)
        ]
        for group, here in table.groupby("group", sort=False):
            rows.append(
                {
                    "group": group,
                    "curves": len(here),
                    "reach": here.difference.count(),
                    "within": (here.difference.abs() <= here.target).sum(),
                    "target": here.target.mean(),
                    "largest": max(here.difference.dropna(), key=abs, default=math.nan),
                }
            )
    return pd.DataFrame(rows)


def _panel(run: Run) -> str:
    if run.study == "figure3":
        return f"Figure 3, N = {run.n_train:,}"
    return f"Figure 2, {TITLES[run.dataset]}"


def _group(run: Run) -> str:
    return _panel(run) + (f", {NAMES[run.algorithm]}" if run.study == "figure2" else "")


def in_full() -> str:
    """All tables of ours against the paper's along the axis, from published curves, as text."""
    parts = [
        "Ours (seed 0) minus the paper's, in nats per datapoint; in brackets the SD over seeds.",
        *(milestones_table(figure).to_string(index=False) for figure in experiments.RUNS),
        "At the right-hand edge of the paper's axes:",
        targets().to_string(index=False, na_rep="–", float_format="{:.1f}".format),
    ]
    return "\n\n".join(parts)
