"""Ours against the paper's as text: what `aevb compare` prints."""

import math

import pandas as pd

from aevb import data, paths
from aevb.comparison import pairs, same_seed, tables
from aevb.comparison.wording import (
    ALGORITHM_NAMES,
    NO_BREAK,
    millions,
    nats,
    panel_group,
    signed,
    span,
    without_seed,
)
from aevb.results import curves
from aevb.training import experiments

QUANTITIES = {"figure2": "Figure 2: lower bounds", "figure3": "Figure 3: log likelihoods"}


def comparison(budget: str | float, seed: int = 0) -> str:
    """The comparison that `make reproduce` prints at its end."""
    lines, missing = [], []
    for figure, what in QUANTITIES.items():
        table = tables.differences(figure, budget, seed)
        here = table[table.source != "none"]
        missing += sorted(set(table[table.source == "none"].run))
        if not here.empty:
            lines += [
                f"{what} in nats per datapoint, ours against the paper's at the same samples:",
                "",
                _show(here).to_string(index=False),
                "",
            ]
            if "validation" in set(here.split):
                lines += ["validation: our bound on the 10,000 validation images of MNIST, beside "
                          "the paper's test curve, which seems to be of them.", ""]  # fmt: skip
            if here.paper.isna().any():
                lines += ["none: the paper's curve has no points near there.", ""]
    lines += _same_seed(seed)
    if "freyface" not in data.available():
        lines += ["Left out: the Frey Face data are not here, so the Frey Face panels show the "
                  "published curves only. `aevb data` gets them."]  # fmt: skip
    if missing:
        lines += [f"No curve yet for: {', '.join(missing)}."]
    return "\n".join(lines)


def _show(table: pd.DataFrame) -> pd.DataFrame:
    """`tables.differences` as text."""
    return table.assign(
        samples=table.samples.map("{:,.0f}".format),
        ours=table.ours.map(lambda value: nats(value) if math.isfinite(value) else "diverged"),
        paper=table.paper.map(lambda value: "none" if math.isnan(value) else nats(value)),
        difference=table.difference.map(signed),
    )


def _same_seed(seed: int) -> list[str]:
    """Lines on fresh runs against published runs of the same seed."""
    fresh = same_seed.checks(seed)
    fresh = fresh[fresh.other_settings == ""]  # `same_seed.problems` reports the others
    lines, older = [], fresh[fresh.check == same_seed.NOT_COMPARED]
    if not older.empty:
        lines += [
            f"{len(older)} local runs are not compared with the published ones of the same seed: "
            "those are of the first edition and have another step size or split."
        ]
    fresh = fresh.drop(older.index)
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
    return lines


def summary() -> str:
    """The README's table of the distance from published curves to the paper's, as Markdown.

    Each curve is read at its end, or at the right-hand edge of the paper's axis
    (`tables.final_differences`). Differences are in nats per datapoint, means over seeds, of
    `pairs.on_papers_images`.

    Raises:
        FileNotFoundError: if there is no published curve.
    """
    lines = []
    for figure, runs in experiments.RUNS.items():
        ends = pairs.on_papers_images(tables.final_differences(figure))
        table = tables.over_seeds(ends).dropna(subset=["difference"])
        groups = {
            without_seed(run): f"{panel_group(run)}, {ALGORITHM_NAMES[run.algorithm]}"
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


def milestones(figure: str) -> pd.DataFrame:
    """`tables.milestones` and `mean_over_axis` as text: a row per curve, a column per milestone.

    A cell is ours (seed 0) minus the paper's; in brackets the standard deviation over seeds, if
    there are several.
    """
    table = tables.milestones(figure)
    table["cell"] = table.difference.map(signed) + [
        f"{NO_BREAK}({spread:.1f})" if not math.isnan(difference + spread) else ""
        for difference, spread in zip(table.difference, table.spread, strict=True)
    ]
    cells = table.pivot(index=["run", "split"], columns="milestone", values="cell")
    whole = tables.mean_over_axis(figure).set_index(["run", "split"])
    cells = cells.loc[whole.index, list(dict.fromkeys(table.milestone))]
    cells["mean, axis"] = whole["mean"].map(nats)
    cells["axis up to"] = whole["last"].map(millions)
    cells["share"] = ["–" if math.isnan(s) else f"{100 * s:.0f} %" for s in whole.share]
    cells = cells.reset_index().rename(columns={"run": "curve"})
    shared = {run.name: without_seed(run) for run in experiments.RUNS[figure](0)}
    cells["curve"] = cells.curve.map(shared)
    return cells.rename_axis(columns=None)


def along_axis() -> str:
    """Published curves against the paper's along the axis, as text."""
    parts = [
        "Ours (seed 0) minus the paper's, in nats per datapoint; in brackets the SD over seeds.",
        *(milestones(figure).to_string(index=False) for figure in experiments.RUNS),
        "At the right-hand edge of the paper's axes:",
        tables.targets().to_string(index=False, na_rep="–", float_format="{:.1f}".format),
    ]
    return "\n\n".join(parts)
