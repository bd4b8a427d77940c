"""One function per figure of the paper, from curve files alone; never trains."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aevb import curves, experiments, paths

# The paper's red and green, in the shades of Okabe and Ito's palette that all readers can tell
# apart. Line style and labels carry the meaning too.
COLOURS = {"aevb": "#d55e00", "wake-sleep": "#009e73", "mcem": "#0072b2"}
NAMES = {"aevb": "AEVB", "wake-sleep": "Wake-sleep", "mcem": "Monte Carlo EM"}
STYLES = {"train": "-", "test": "--"}


class Panels(NamedTuple):
    """A row of Figure 2, with the paper's axes."""

    title: str
    nz: tuple[int, ...]
    samples: tuple[float, float]
    bound: tuple[float, float]


FIGURE2 = {
    "mnist": Panels("MNIST", (3, 5, 10, 20, 200), (1e5, 2.5e8), (-150, -95)),
    "freyface": Panels("Frey Face", (2, 5, 10, 20), (1e5, 1e8), (0, 1600)),
}


def use_style() -> None:
    """The one plotting style of the book; SVG output is the same, byte for byte, every time."""
    sns.set_theme(style="ticks", context="notebook", font_scale=0.8)
    mpl.rcParams.update(
        {
            "svg.hashsalt": "aevb",
            "svg.fonttype": "path",
            "figure.constrained_layout.use": True,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": "#dddddd",
            "grid.linewidth": 0.5,
            "legend.frameon": False,
            "savefig.facecolor": "white",
        }
    )


def figure2(*, local: bool = True) -> Figure:
    """Figure 2: the lower bound against training samples, ours over the paper's, nine panels.

    The paper's curves are the wide pale lines. Ours are the thin dark lines: the published runs,
    or, where there is none, the local ones. Dots mark a local run beside a published one.

    Args:
        local: whether to draw the runs of this machine at all.
    """
    use_style()
    figure = Figure(figsize=(9, 10.5))
    # Two rows of three panels for each data set; MNIST leaves one place, Frey Face two.
    places = iter(figure.subplots(4, 3).flat)
    for row, (dataset, panels) in enumerate(FIGURE2.items()):
        for k in range(6):
            ax = next(places)
            if k >= len(panels.nz):
                ax.set_axis_off()
                if row == 0:
                    ax.legend(handles=_legend("figure2", local), loc="center")
                continue
            nz = panels.nz[k]
            ax.set(xscale="log", xlim=panels.samples, ylim=panels.bound)
            ax.set_title(f"{panels.title}, $N_\\mathbf{{z}}={nz}$")
            if k % 3 == 0:
                ax.set_ylabel("Lower bound\n(nats per datapoint)")
            if k + 3 >= len(panels.nz):
                ax.set_xlabel("Training samples evaluated")
            for algorithm in experiments.ALGORITHMS["figure2"]:
                _draw(ax, "figure2", experiments.figure2_run(dataset, nz, algorithm), local)  # type: ignore[arg-type]
    return figure


def figure3(*, local: bool = True) -> Figure:
    """Figure 3: marginal log likelihood by the paper's estimator, two panels, drawn as `figure2`.

    Args:
        local: whether to draw the runs of this machine at all.
    """
    use_style()
    figure = Figure(figsize=(9, 4.5))
    axes = figure.subplots(1, 2)
    for ax, n_train in zip(axes, experiments.N_TRAIN, strict=True):
        ax.set(xlim=(0, experiments.PAPER_BUDGET[n_train]), ylim=(-160, -100))
        ax.set_title(f"$N_\\mathrm{{train}}={n_train}$")
        ax.set_xlabel("Training samples evaluated (millions)")
        ax.xaxis.set_major_formatter(lambda samples, _: f"{samples / 1e6:.0f}")
        for algorithm in experiments.ALGORITHMS["figure3"]:
            _draw(ax, "figure3", experiments.figure3_run(n_train, algorithm), local)
    axes[0].set_ylabel("Marginal log likelihood\n(nats per datapoint)")
    figure.legend(handles=_legend("figure3", local), loc="outside lower center", ncols=4)
    return figure


def _draw(ax: Axes, name: str, run: experiments.Run, with_local: bool) -> None:
    """The paper's curves and ours, of all seeds, of the algorithm, data and model of `run`."""
    paper = curves.paper_figure(name)
    colour, stem = COLOURS[run.algorithm], run.name.removesuffix(str(run.seed))
    published, local = (
        [curves.read(file) for file in sorted((root / "curves" / name).glob(f"{stem}*.csv"))]
        for root in (paths.published(), paths.local())
    )
    if not with_local:
        local = []
    for split, style in STYLES.items():
        theirs = curves.paper_curve(paper, **curves.identity(name, run), split=split)
        value, column = curves.PAPER_COLUMN[name], curves.COLUMNS[name][split]
        ax.plot(theirs.samples, theirs[value], style, color=colour, lw=3.5, alpha=0.3)
        for ours in published or local:
            ax.plot(ours.samples, ours[column], style, color=colour, lw=1.2)
        for ours in local if published else []:
            ax.plot(ours.samples, ours[column], ".", color=colour, ms=2.5)


def _legend(name: str, with_local: bool) -> list[Line2D]:
    ours = [
        Line2D([], [], color=COLOURS[algorithm], ls=style, label=f"{NAMES[algorithm]}, {split}")
        for algorithm in experiments.ALGORITHMS[name]
        for split, style in STYLES.items()
    ]
    paper = Line2D([], [], color="grey", lw=3.5, alpha=0.4, label="the paper's own curve")
    fresh = Line2D([], [], color="grey", ls="", marker=".", label="a run on this machine")
    return [*ours, paper, *([fresh] if with_local else [])]


FIGURES: dict[str, Callable[..., Figure]] = {"figure2": figure2, "figure3": figure3}


def draw_all(*, local: bool = True) -> list[Path]:
    """Draw every figure as SVG and PNG; returns the files.

    Args:
        local: with the runs of this machine, into results/local/figures; else from the published
            curves alone, into results/figures.
    """
    files = []
    folder = paths.local() if local else paths.published()
    for name, draw in FIGURES.items():
        figure = draw(local=local)
        made_by = f"aevb figures ({name})"
        svg = save(
            figure, paths.figure(folder, name, "svg"), metadata={"Date": None, "Creator": made_by}
        )
        png = save(
            figure, paths.figure(folder, name, "png"), metadata={"Software": made_by}, dpi=150
        )
        files += [svg, png]
    return files


def save(figure: Figure, target: Path, **options: Any) -> Path:
    """Write one figure, whole or not at all; returns the file."""
    with curves.atomic(target) as temporary:
        figure.savefig(temporary, format=target.suffix[1:], **options)
    return target
