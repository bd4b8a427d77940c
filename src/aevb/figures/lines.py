"""Figures of curves: 2 and 3 of the paper, and how far ours are from its curves."""

import math
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aevb import data, paths
from aevb.comparison import pairs, tables
from aevb.comparison.wording import TITLES
from aevb.figures.style import COLOURS, NAMES, STYLES, use_style
from aevb.results import curves
from aevb.results.curves import Curve
from aevb.training import experiments
from aevb.training.run import Run


class Panels(NamedTuple):
    """A row of Figure 2, with the paper's axes."""

    title: str
    nz: tuple[int, ...]
    samples: tuple[float, float]
    bound: tuple[float, float]


_BOUNDS: dict[data.Name, tuple[float, float]] = {"mnist": (-150, -95), "freyface": (0, 1600)}
FIGURE2 = {
    dataset: Panels(
        TITLES[dataset],
        experiments.NZ[dataset],
        (1e5, experiments.PAPER_BUDGET[dataset]),
        bound,
    )
    for dataset, bound in _BOUNDS.items()
}


def figure2(*, local: bool = True, narrow: bool = False) -> Figure:
    """Figure 2: lower bounds against training samples, ours over the paper's, nine panels.

    Wide pale lines are the paper's. Thin dark lines are published runs, or local ones if there are
    none. Dots are local runs beside published ones. On MNIST, test is the bound of the validation
    images, of which the paper's test curves seem to be.

    Args:
        local: whether to draw local runs.
        narrow: for a phone: two panels in a row instead of three.
    """
    use_style()
    columns = 2 if narrow else 3
    # MNIST leaves one place empty, for the legend; Frey Face leaves two, or none if narrow.
    rows = [math.ceil(len(panels.nz) / columns) for panels in FIGURE2.values()]
    figure = Figure(figsize=(3.75, 8.25) if narrow else (9, 10.5))
    places = iter(figure.subplots(sum(rows), columns).flat)
    for (dataset, panels), height in zip(FIGURE2.items(), rows, strict=True):
        for k in range(height * columns):
            ax = next(places)
            if k >= len(panels.nz):
                ax.set_axis_off()
                if dataset == "mnist":
                    size = "small" if narrow else None
                    ax.legend(handles=_legend("figure2", local), loc="center", fontsize=size)
                continue
            runs = [
                experiments.figure2_run(dataset, panels.nz[k], algorithm)
                for algorithm in experiments.ALGORITHMS["figure2"]
            ]
            ax.set(xscale="log", xlim=panels.samples, ylim=panels.bound)
            ax.set_title(_title(runs[0]))
            if k % columns == 0 and not narrow:
                ax.set_ylabel("Lower bound\n(nats per datapoint)")
            if k + columns >= len(panels.nz) and not narrow:
                ax.set_xlabel("Training samples evaluated")
            for run in runs:
                _draw(ax, run, local)
            if narrow:  # one label for all panels, numbers on the left, thinner lines
                ax.tick_params(labelleft=k % columns == 0)
                ax.set_xticks([1e5, 1e6, 1e7, 1e8])
                for line in ax.lines:
                    line.set_linewidth(0.7 * line.get_linewidth())
    if narrow:
        figure.supylabel("Lower bound (nats per datapoint)", fontsize="medium")
        figure.supxlabel("Training samples evaluated", fontsize="medium")
    return figure


def figure3(*, local: bool = True) -> Figure:
    """Figure 3: marginal log likelihood by the paper's estimator, two panels, drawn as `figure2`.

    Args:
        local: whether to draw local runs.
    """
    use_style()
    figure = Figure(figsize=(9, 4.5))
    axes = figure.subplots(1, 2)
    for ax, n_train in zip(axes, experiments.N_TRAIN, strict=True):
        runs = [
            experiments.figure3_run(n_train, algorithm)
            for algorithm in experiments.ALGORITHMS["figure3"]
        ]
        ax.set(xlim=(0, pairs.right_edge(runs[0])), ylim=(-160, -100))
        ax.set_title(_title(runs[0]))
        ax.set_xlabel("Training samples evaluated (millions)")
        ax.xaxis.set_major_formatter(lambda samples, _: f"{samples / 1e6:.0f}")
        for run in runs:
            _draw(ax, run, local)
    axes[0].set_ylabel("Marginal log likelihood\n(nats per datapoint)")
    figure.legend(handles=_legend("figure3", local), loc="outside lower center", ncols=4)
    return figure


def draw(curve: Curve) -> Figure:
    """A curve over the paper's and over our published ones, for the same data, nz and algorithm.

    Wide pale lines are the paper's, thin lines published runs, circles the curve.

        >>> curve = aevb.train(aevb.figure2_run("mnist", nz=20, algorithm="aevb"), 1e5)
        >>> aevb.draw(curve).savefig("mine.png")

    Raises:
        ConfigurationError: if the paper's figures have no such curve.
    """
    run = pairs.papers_run(curve)
    use_style()
    figure = Figure(figsize=(6.4, 4))
    ax = figure.subplots()
    _draw(ax, run, with_local=False)
    colour = COLOURS[run.algorithm]
    filled = {"train": colour, "test": "white"}
    handles = [Line2D([], [], color="grey", lw=3.5, alpha=0.4, label="the paper")]
    for split, style in STYLES.items():
        handles.append(Line2D([], [], color=colour, ls=style, label=f"published, {split}"))
        if line := pairs.our_line(curve, run, pairs.column_beside(run, split, curve)):
            (circles,) = ax.plot(
                line.samples, line.values, "o", color=colour, ms=4, mfc=filled[split]
            )
            circles.set_label(f"{curve.name}, {split}")
            handles.append(circles)
    begin = min(1e5, curve.samples / 10)
    ax.set(xscale="log", xlim=(begin, pairs.right_edge(run)), title=_title(run))
    _fit_height(ax, begin)
    ax.set(xlabel="Training samples evaluated", ylabel="nats per datapoint")
    ax.legend(handles=handles, loc="lower right")
    return figure


def differences(name: str) -> Figure:
    """Ours minus the paper's against training samples, in the paper's panels.

    Lines are published runs with seed 0, bands the range over seeds. Splits are those of
    `pairs.on_papers_images`. The grey band is the target of AEVB at the right-hand edge
    (`pairs.target`). The vertical axis is linear within it and logarithmic beyond.

    Args:
        name: figure2 or figure3.
    """
    use_style()
    table = tables.along_axis(name)
    table = pairs.on_papers_images(table[table.visible])
    runs = experiments.RUNS[name](0)
    panels = [run for run in runs if run.algorithm == "aevb"]
    rows = math.ceil(len(panels) / 2)
    figure = Figure(figsize=(6.4, 0.8 + 1.9 * rows))
    places = list(figure.subplots(rows, 2).flat)
    for ax in places[len(panels) :]:
        ax.set_axis_off()
    for ax in places[::2]:
        ax.set_ylabel("Ours − the paper's\n(nats per datapoint)")
    for run, ax in zip(panels, places, strict=False):
        edge = pairs.right_edge(run)
        target = pairs.target(run, pairs.paper_line(run, "test").value_at(edge))
        ax.axhspan(-target, target, color="#dddddd", lw=0)
        ax.axhline(0, color="black", lw=0.8)
        for algorithm in experiments.ALGORITHMS[name]:
            drawn = table[table.run == pairs.counterpart(run, algorithm=algorithm).name]
            for split, rows_of_split in drawn.groupby("split", sort=False):
                style = STYLES[pairs.splits(run)[str(split)][1]]
                line = rows_of_split[rows_of_split.seed == 0]
                seeds = rows_of_split.groupby("samples").difference
                low, high = seeds.min(), seeds.max()
                ax.plot(line.samples, line.difference, style, color=COLOURS[algorithm], lw=1.2)
                ax.fill_between(low.index, low, high, color=COLOURS[algorithm], alpha=0.25, lw=0)
        alike = [other.name for other in runs if other.dataset == run.dataset]
        reach = 1.2 * table.difference[table.run.isin(alike)].abs().max()
        step = 10 ** math.floor(math.log10(target))
        ax.set_yscale("symlog", linthresh=target)
        ax.set(xscale="log", xlim=(1e5, edge), ylim=(-reach, reach))
        ax.set_yticks([-10 * step, -step, 0, step, 10 * step])
        ax.yaxis.set_major_formatter("{x:.0f}")
        ax.set_title(_title(run))
    figure.supxlabel("Training samples evaluated", fontsize="medium")
    handles = _legend(name, with_local=False)[:-1]  # without the paper's own curve
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles) // 2)
    return figure


def beyond_axis() -> Figure:
    """AEVB on Frey Face beyond the paper's printed axis, to the end of its files, as `figure2`.

    Published runs of all seeds. Every panel has its own vertical axis.
    """
    use_style()
    edge = experiments.PAPER_BUDGET["freyface"]
    figure = Figure(figsize=(6.4, 5.6))
    axes = figure.subplots(2, 2, sharex=True)
    for ax, nz in zip(axes.flat, experiments.NZ["freyface"], strict=True):
        run = experiments.figure2_run("freyface", nz, "aevb")
        _draw(ax, run, with_local=False)
        left, right = 0.1 * edge, 6 * edge
        ax.set(xscale="log", xlim=(left, right), title=_title(run))
        _fit_height(ax, left)
        ax.axvspan(edge, right, color="#eeeeee", lw=0, zorder=0)
    for ax in axes[:, 0]:
        ax.set_ylabel("Lower bound\n(nats per datapoint)")
    figure.supxlabel("Training samples evaluated", fontsize="medium")
    handles = _legend("figure2", with_local=False)
    figure.legend(handles=[*handles[:2], handles[-1]], loc="outside upper center", ncols=3)
    return figure


def _fit_height(ax: Axes, left: float) -> None:
    """Fit the vertical axis to what is drawn from `left` on."""
    drawn = [float(y) for line in ax.lines for x, y in np.asarray(line.get_xydata()) if x >= left]
    margin = 0.05 * (max(drawn) - min(drawn))
    ax.set_ylim(min(drawn) - margin, max(drawn) + margin)


def _title(run: Run) -> str:
    """Title of the panel of a run of Figure 2 or 3."""
    if run.n_train:
        return f"$N_\\mathrm{{train}}={run.n_train}$"
    return f"{TITLES[run.dataset]}, $N_\\mathbf{{z}}={run.nz}$"


def _draw(ax: Axes, run: Run, with_local: bool) -> None:
    """Draw the paper's curves for `run`, and ours of all seeds."""
    colour = COLOURS[run.algorithm]
    published = curves.seeds(run.study, run.name)
    local = curves.seeds(run.study, run.name, paths.local()) if with_local else []
    for split, style in STYLES.items():
        paper = pairs.paper_line(run, split)
        ax.plot(paper.samples, paper.values, style, color=colour, lw=3.5, alpha=0.3)
        for curve in published or local:
            if line := pairs.our_line(curve, run, pairs.column_beside(run, split, curve)):
                ax.plot(line.samples, line.values, style, color=colour, lw=1.2)
        for curve in local if published else []:
            if line := pairs.our_line(curve, run, pairs.column_beside(run, split, curve)):
                ax.plot(line.samples, line.values, ".", color=colour, ms=2.5)


def _legend(name: str, with_local: bool) -> list[Line2D]:
    ours = [
        Line2D([], [], color=COLOURS[algorithm], ls=style, label=f"{NAMES[algorithm]}, {split}")
        for algorithm in experiments.ALGORITHMS[name]
        for split, style in STYLES.items()
    ]
    paper = Line2D([], [], color="grey", lw=3.5, alpha=0.4, label="the paper's own curve")
    fresh = Line2D([], [], color="grey", ls="", marker=".", label="a run on this machine")
    return [*ours, paper, *([fresh] if with_local else [])]
