"""One function per figure of the paper, from curve files alone; never trains."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aevb import curves, paths

# The paper's red and green, in the shades of Okabe and Ito's palette that all readers can tell
# apart. Line style and labels carry the meaning too.
COLOURS = {"aevb": "#d55e00", "wake-sleep": "#009e73"}
NAMES = {"aevb": "AEVB", "wake-sleep": "Wake-sleep"}
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
    paper = curves.paper_figure2()
    figure = Figure(figsize=(9, 10.5))
    # Two rows of three panels for each data set; MNIST leaves one place, Frey Face two.
    places = iter(figure.subplots(4, 3).flat)
    for row, (dataset, panels) in enumerate(FIGURE2.items()):
        for k in range(6):
            ax = next(places)
            if k >= len(panels.nz):
                ax.set_axis_off()
                if row == 0:
                    ax.legend(handles=_legend(local), loc="center")
                continue
            nz = panels.nz[k]
            ax.set(xscale="log", xlim=panels.samples, ylim=panels.bound)
            ax.set_title(f"{panels.title}, $N_\\mathbf{{z}}={nz}$")
            if k % 3 == 0:
                ax.set_ylabel("Lower bound\n(nats per datapoint)")
            if k + 3 >= len(panels.nz):
                ax.set_xlabel("Training samples evaluated")
            for algorithm in COLOURS:
                _draw_curves(ax, paper, dataset, nz, algorithm, local)
    return figure


def _draw_curves(
    ax: Axes, paper: pd.DataFrame, dataset: str, nz: int, algorithm: str, with_local: bool
) -> None:
    colour, stem = COLOURS[algorithm], f"{dataset}-nz{nz}-{algorithm}-seed"
    published, local = (
        [curves.read(file) for file in sorted((root / "curves/figure2").glob(f"{stem}*.csv"))]
        for root in (paths.published(), paths.local())
    )
    if not with_local:
        local = []
    for split, style in STYLES.items():
        theirs = curves.paper_curve(paper, dataset, nz, algorithm, split)
        ax.plot(theirs.samples, theirs.lower_bound, style, color=colour, lw=3.5, alpha=0.3)
        for ours in published or local:
            ax.plot(ours.samples, ours[curves.SPLITS[split]], style, color=colour, lw=1.2)
        for ours in local if published else []:
            ax.plot(ours.samples, ours[curves.SPLITS[split]], ".", color=colour, ms=2.5)


def _legend(with_local: bool) -> list[Line2D]:
    ours = [
        Line2D([], [], color=colour, ls=style, label=f"{NAMES[algorithm]}, {split}")
        for algorithm, colour in COLOURS.items()
        for split, style in STYLES.items()
    ]
    paper = Line2D([], [], color="grey", lw=3.5, alpha=0.4, label="the paper's own curve")
    fresh = Line2D([], [], color="grey", ls="", marker=".", label="a run on this machine")
    return [*ours, paper, *([fresh] if with_local else [])]


FIGURES: dict[str, Callable[..., Figure]] = {"figure2": figure2}


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
