"""Figures of curves: 2 and 3 of the paper, and how far ours are from its curves."""

import math
from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aevb import data, paths
from aevb.comparison import pairs, tables
from aevb.comparison.wording import TITLES, millions
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


SPLITS = ("train", "test")
FIGURE3 = {1000: (-160, -100), 50_000: (-160, -125)}  # the paper's vertical axes
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
    """Figure 2: the lower bound against training samples, ours over the paper's.

    A panel for each number of latent dimensions and split. The paper's curves are the wide pale
    lines, ours the thin dark ones (`_draw`). Test is on MNIST the bound of the validation images,
    of which the paper's test curves seem to be.

    Args:
        local: whether to draw the runs of this machine at all.
        narrow: for a phone, a row for each number of dimensions with train beside test.
    """
    use_style()
    cells: list[list[tuple[data.Name, int, str]]] = []
    for dataset, panels in FIGURE2.items():
        rows = [[(dataset, nz, split) for nz in panels.nz] for split in SPLITS]
        cells += [list(row) for row in zip(*rows, strict=True)] if narrow else rows
    columns = max(map(len, cells))
    figure = Figure(figsize=(3.75, 14) if narrow else (11, 9))
    axes = figure.subplots(len(cells), columns, squeeze=False)
    for row, line in zip(axes, cells, strict=True):
        for ax, (dataset, nz, split) in zip(row, line, strict=False):
            panels = FIGURE2[dataset]
            ax.set(xscale="log", xlim=panels.samples, ylim=panels.bound)
            runs = [
                experiments.figure2_run(dataset, nz, algorithm)
                for algorithm in experiments.ALGORITHMS["figure2"]
            ]
            reached = [_draw(ax, run, split, local) for run in runs]
            ax.set_title(_title(runs[0], split, float(np.min(reached))), fontsize="medium")
            ax.tick_params(labelleft=ax is row[0])
            ax.set_xticks([1e5, 1e6, 1e7, 1e8])
        for ax in row[len(line) :]:
            ax.set_axis_off()
    legend = _legend("figure2", local)
    figure.legend(handles=legend, loc="outside upper center", ncols=2 if narrow else len(legend))
    figure.supylabel("Lower bound (nats per datapoint)", fontsize="medium")
    figure.supxlabel("Training samples evaluated", fontsize="medium")
    return figure


def figure3(*, local: bool = True) -> Figure:
    """Figure 3: marginal log likelihood by the paper's estimator, drawn as `figure2`.

    Args:
        local: whether to draw local runs.
    """
    use_style()
    figure = Figure(figsize=(9, 7))
    for axes, n_train in zip(figure.subplots(2, 2).T, experiments.N_TRAIN, strict=True):
        for ax, split in zip(axes, SPLITS, strict=True):
            runs = [
                experiments.figure3_run(n_train, algorithm)
                for algorithm in experiments.ALGORITHMS["figure3"]
            ]
            ax.set(xlim=(0, pairs.right_edge(runs[0])), ylim=FIGURE3[n_train])
            ax.xaxis.set_major_formatter(lambda samples, _: f"{samples / 1e6:.0f}")
            reached = [_draw(ax, run, split, local) for run in runs]
            ax.set_title(_title(runs[0], split, float(np.min(reached))), fontsize="medium")
    figure.supxlabel("Training samples evaluated (millions)", fontsize="medium")
    figure.supylabel("Marginal log likelihood (nats per datapoint)", fontsize="medium")
    legend = _legend("figure3", local)
    figure.legend(handles=legend, loc="outside upper center", ncols=len(legend))
    return figure


def draw(curve: Curve) -> Figure:
    """A curve over the paper's and over our published ones, for the same data, nz and algorithm.

    Wide pale lines are the paper's, thin lines published runs, circles the curve.

        >>> curve = aevb.train(aevb.figure2_run("mnist", nz=20, algorithm="aevb"), 1e5)
        >>> aevb.draw(curve).savefig("mine.png")

    Raises:
        ConfigurationError: if the paper's figures have no such curve.
    """
    run = pairs.reference_run(curve)
    use_style()
    figure = Figure(figsize=(6.4, 4))
    ax = figure.subplots()
    for split, style in STYLES.items():
        _draw(ax, run, split, with_local=False, style=style)
    colour = COLOURS[run.algorithm]
    filled = {"train": colour, "test": "white"}
    handles = [Line2D([], [], color="grey", lw=3.5, alpha=0.4, label="the paper")]
    for split, style in STYLES.items():
        handles.append(Line2D([], [], color=colour, ls=style, label=f"published, {split}"))
        if line := pairs.our_line(curve, run, pairs.drawn_column(run, split, curve)):
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
    handles = _split_legend(name)
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
        for split, style in STYLES.items():
            _draw(ax, run, split, with_local=False, style=style)
        left, right = 0.1 * edge, 6 * edge
        ax.set(xscale="log", xlim=(left, right), title=_title(run))
        _fit_height(ax, left)
        ax.axvspan(edge, right, color="#eeeeee", lw=0, zorder=0)
    for ax in axes[:, 0]:
        ax.set_ylabel("Lower bound\n(nats per datapoint)")
    figure.supxlabel("Training samples evaluated", fontsize="medium")
    handles = [*_split_legend("figure2")[:2], *_legend("figure2", with_local=False)[-1:]]
    figure.legend(handles=handles, loc="outside upper center", ncols=3)
    return figure


def _fit_height(ax: Axes, left: float) -> None:
    """Fit the vertical axis to what is drawn from `left` on."""
    drawn = [float(y) for line in ax.lines for x, y in np.asarray(line.get_xydata()) if x >= left]
    margin = 0.05 * (max(drawn) - min(drawn))
    ax.set_ylim(min(drawn) - margin, max(drawn) + margin)


def _title(run: Run, split: str = "", samples: float = math.nan) -> str:
    """Title of a panel of Figure 2 or 3: what is trained, the split, and how far ours go."""
    what = (
        f"$N_\\mathrm{{train}}={run.n_train}$"
        if run.n_train
        else f"{TITLES[run.dataset]}, $N_\\mathbf{{z}}={run.nz}$"
    )
    if not split:
        return what
    reach = "" if math.isnan(samples) else f", to {millions(samples)}"
    return f"{what}\n{split}{reach}"


def _draw(ax: Axes, run: Run, split: str, with_local: bool, style: str = "-") -> float:
    """Draw the paper's curve for `run`, and ours of all seeds.

    The first seed is a line, whose end is marked where it lies within the axes. The range of all
    seeds with its step size is a band. A seed with another step size is a dotted line. Dots are a
    local run beside a published one; where none is published, the local runs take their place.

    Returns:
        Samples to which the line goes; NaN if there is none.
    """
    colour = COLOURS[run.algorithm]
    paper = pairs.paper_line(run, split)
    ax.plot(paper.samples, paper.values, style, color=colour, lw=3.5, alpha=0.3)
    published = curves.seeds(run.study, run.name)
    local = curves.seeds(run.study, run.name, paths.local()) if with_local else []
    lines = [
        (curve.step_size, line)
        for curve in published or local
        if (line := pairs.our_line(curve, run, pairs.drawn_column(run, split, curve)))
    ]
    for curve in local if published else []:
        if line := pairs.our_line(curve, run, pairs.drawn_column(run, split, curve)):
            ax.plot(line.samples, line.values, ".", color=colour, ms=2.5)
    if not lines:
        return math.nan
    step_size, first = lines[0]
    ax.plot(first.samples, first.values, style, color=colour, lw=1.2)
    if first.end < pairs.right_edge(run):
        ax.plot(first.samples[-1:], first.values[-1:], "|", color=colour, ms=9, mew=1.5)
    alike = [line for step, line in lines if step == step_size]
    band = pd.concat([pd.Series(line.values, line.samples) for line in alike]).groupby(level=0)
    low, high = band.min()[band.size() > 1], band.max()[band.size() > 1]
    ax.fill_between(low.index, low, high, color=colour, alpha=0.25, lw=0.5)
    for line in [line for step, line in lines[1:] if step != step_size]:
        ax.plot(line.samples, line.values, ":", color=colour, lw=1)
    return first.end


def _legend(name: str, with_local: bool) -> list[Line2D]:
    ours = [
        Line2D([], [], color=COLOURS[algorithm], label=NAMES[algorithm])
        for algorithm in experiments.ALGORITHMS[name]
    ]
    paper = Line2D([], [], color="grey", lw=3.5, alpha=0.4, label="the paper's own curve")
    fresh = Line2D([], [], color="grey", ls="", marker=".", label="a run on this machine")
    return [*ours, paper, *([fresh] if with_local else [])]


def _split_legend(name: str) -> list[Line2D]:
    return [
        Line2D([], [], color=COLOURS[algorithm], ls=style, label=f"{NAMES[algorithm]}, {split}")
        for algorithm in experiments.ALGORITHMS[name]
        for split, style in STYLES.items()
    ]
