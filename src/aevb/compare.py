"""Ours against the paper's, and a fresh run against the published one: the tables, as numbers."""

import pandas as pd

from aevb import curves, data, experiments, paths

QUANTITIES = {"figure2": "Figure 2: lower bounds", "figure3": "Figure 3: log likelihoods"}


def with_paper(
    figure: str, budget: str | float, seed: int = 0, *, local: bool = True
) -> pd.DataFrame:
    """Our values beside the paper's for every curve of a figure, both at the same samples.

    Args:
        figure: figure2 or figure3.
        budget: samples, or `paper` for the right-hand edge of the paper's axes.
        seed: of our runs.
        local: whether the runs of this machine count, or the published ones alone.

    Returns:
        One row per run and split: `run`, `split`, `samples`, `ours`, `paper`, `difference` (ours
        minus the paper's) in nats per datapoint, and `source` (local or published). A local curve
        is taken where it reaches the budget, else the published one. `samples` is the curve's last
        log point at or before the budget's end; runs without any curve have NaN there.
    """
    paper = curves.paper_figure(figure)
    rows = []
    for run in experiments.RUNS[figure](seed):
        end = experiments.end_of(run, budget)
        source, curve = _longest(run, end, local)
        for split, column in curves.COLUMNS[figure].items():
            row: dict[str, object] = {"run": run.name, "split": split, "source": source}
            if curve is not None:
                samples = curve[curve.samples <= end].samples.max()
                theirs = curves.paper_curve(paper, **curves.identity(figure, run), split=split)
                row |= {
                    "samples": samples,
                    "ours": curves.value_at(samples, curve, column),
                    # The paper's last point lies a little before the edge of its axis; and its
                    # curves of Figure 3 leap from the first point over most of the rise.
                    "paper": curves.value_at(
                        min(samples, theirs.samples.max()),
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


def _longest(run: experiments.Run, end: int, with_local: bool) -> tuple[str, pd.DataFrame | None]:
    """The local curve if it reaches `end` or the published one does not reach as far."""
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


# How far a fresh run may be from the published run of the same seed, in nats: by rounding alone on
# the same kind of machine; elsewhere as far as another seed may be, from 100,000 samples on (before
# that a curve rises by hundreds of nats, and a small delay is a large difference).
SAME_MACHINE_TOLERANCE = 0.01
TOLERANCE = {"mnist": 10.0, "freyface": 150.0}
COMPARED_FROM = 100_000


def prefixes(seed: int = 0) -> pd.DataFrame:
    """How far fresh local runs are from the published runs of the same seed.

    Returns:
        One row per run that has both: `run`, `same_machine` (kind of processor, threads, precision
        and PyTorch version agree), `largest_difference`, in nats over all columns and all common
        log points from 100,000 samples on (NaN if there is none), and the `tolerance` for it.
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
        same = all(a[key] == b[key] for key in ("hardware", "precision")) and (
            a["versions"]["torch"] == b["versions"]["torch"]
        )
        columns = [column for column in published.columns if column != "samples"]
        rows.append(
            {
                "run": run.name,
                "same_machine": same,
                "largest_difference": curves.largest_difference(
                    ours[ours.samples >= COMPARED_FROM], published, columns
                ),
                "tolerance": SAME_MACHINE_TOLERANCE if same else TOLERANCE[run.dataset],
            }
        )
    return pd.DataFrame(rows, columns=["run", "same_machine", "largest_difference", "tolerance"])


def out_of_tolerance(seed: int = 0) -> str:
    """What to say of fresh runs that are not the published ones; empty if there is none."""
    against = prefixes(seed)
    wrong = against[against.largest_difference > against.tolerance]
    return "\n".join(
        f"{one.run} differs from the published run of the same seed by "
        f"{one.largest_difference:.4f} nats; expected at most {one.tolerance:g} on "
        + ("the same kind of machine" if one.same_machine else "another kind of machine")
        for one in wrong.itertuples()
    )


def summary() -> str:
    """The table of the README: how far the published curves are from the paper's, as Markdown.

    Each curve is read at its end, or at the right-hand edge of the paper's axis. Differences are
    ours minus the paper's, in nats per datapoint.
    """
    lines = [
        "| | curves | up to samples | mean absolute difference | largest difference |",
        "|---|---|---|---|---|",
    ]
    for figure, runs in experiments.RUNS.items():
        table = with_paper(figure, "paper", local=False).dropna(subset=["difference"])
        seen = {run.name: run for run in runs(0)}
        panel = {
            name: run.dataset if figure == "figure2" else f"N = {run.n_train:,}"
            for name, run in seen.items()
        }
        algorithm = {name: run.algorithm for name, run in seen.items()}
        groups = table.groupby([table.run.map(panel), table.run.map(algorithm)], sort=False)
        for (where, what), group in groups:
            worst = group.sort_values("difference", key=abs).iloc[-1]
            lines.append(
                f"| Figure {figure[-1]}, {where}, {what} | {len(group)} | "
                f"{group.samples.max() / 1e6:.1f} M | {group.difference.abs().mean():.1f} nats | "
                f"{worst.difference:+.1f} nats ({worst.run}, {worst.split}) |"
            )
    return "\n".join(lines)


def report(budget: str | float, seed: int = 0) -> str:
    """What `make reproduce` prints at its end: the comparison, and anything left out."""
    formats = {
        "samples": "{:,.0f}".format,
        "ours": "{:.1f}".format,
        "paper": "{:.1f}".format,
        "difference": "{:+.1f}".format,
    }
    lines, missing = [], []
    for figure, what in QUANTITIES.items():
        table = with_paper(figure, budget, seed)
        here = table[table.source != "none"]
        missing += sorted(set(table[table.source == "none"].run))
        if not here.empty:
            lines += [
                f"{what} in nats per datapoint, ours against the paper's at the same samples:"
            ]
            lines += ["", here.to_string(index=False, formatters=formats), ""]
    against = prefixes(seed)
    if not against.empty:
        worst = against.sort_values("largest_difference").iloc[-1]
        same = int(against.same_machine.sum())
        lines += [
            f"{len(against)} local runs against the published runs of the same seed ({same} made "
            "on the same kind of machine): largest difference "
            f"{worst.largest_difference:.4f} nats, in {worst.run}.",
        ]
    if "freyface" not in data.available():
        lines += ["Left out: the Frey Face data could not be had, so the Frey Face panels show "
                  "the published curves only. `aevb data` says where to get them."]  # fmt: skip
    if missing:
        lines += [f"No curve yet for: {', '.join(missing)}."]
    return "\n".join(lines)
