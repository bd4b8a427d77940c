"""One function per figure, from curve files and stored models alone; never trains.

Figures 2 to 5 of the paper, and two of our own on how far ours are from its curves.
"""

import math
from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import seaborn as sns
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from aevb import data, paths
from aevb.comparison import compare
from aevb.files import atomic
from aevb.model.networks import Model
from aevb.model.randomness import generator
from aevb.results import curves, models
from aevb.training import experiments
from aevb.training.run import Run

# The paper's red and green, in the shades of Okabe and Ito's palette that all readers can tell
# apart. Line style and labels carry the meaning too.
COLOURS = {"aevb": "#d55e00", "wake-sleep": "#009e73", "mcem": "#0072b2"}
NAMES = {algorithm: name[0].upper() + name[1:] for algorithm, name in compare.NAMES.items()}
STYLES = {"train": "-", "test": "--"}
_DOTS = 150  # per inch of a PNG; panels of images lie on whole ones


class Panels(NamedTuple):
    """A row of Figure 2, with the paper's axes."""

    title: str
    nz: tuple[int, ...]
    samples: tuple[float, float]
    bound: tuple[float, float]


_BOUNDS: dict[data.Name, tuple[float, float]] = {"mnist": (-150, -95), "freyface": (0, 1600)}
FIGURE2 = {
    dataset: Panels(
        compare.TITLES[dataset],
        experiments.NZ[dataset],
        (1e5, experiments.PAPER_BUDGET[dataset]),
        bound,
    )
    for dataset, bound in _BOUNDS.items()
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


def figure2(*, local: bool = True, narrow: bool = False) -> Figure:
    """Figure 2: the lower bound against training samples, ours over the paper's, nine panels.

    The paper's curves are the wide pale lines. Ours are the thin dark lines: the published runs,
    or, where there is none, the local ones. Dots mark a local run beside a published one.

    Args:
        local: whether to draw the runs of this machine at all.
        narrow: for a phone, two panels in a row instead of three.
    """
    use_style()
    columns = 2 if narrow else 3
    # MNIST leaves one place of its rows, which holds the legend; Frey Face two, or none if narrow.
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
                _draw(ax, "figure2", run, local)
            if narrow:  # one label for all, numbers on the left alone, lines as thin as panels
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
        local: whether to draw the runs of this machine at all.
    """
    use_style()
    figure = Figure(figsize=(9, 4.5))
    axes = figure.subplots(1, 2)
    for ax, n_train in zip(axes, experiments.N_TRAIN, strict=True):
        runs = [
            experiments.figure3_run(n_train, algorithm)
            for algorithm in experiments.ALGORITHMS["figure3"]
        ]
        ax.set(xlim=(0, compare.edge(runs[0])), ylim=(-160, -100))
        ax.set_title(_title(runs[0]))
        ax.set_xlabel("Training samples evaluated (millions)")
        ax.xaxis.set_major_formatter(lambda samples, _: f"{samples / 1e6:.0f}")
        for run in runs:
            _draw(ax, "figure3", run, local)
    axes[0].set_ylabel("Marginal log likelihood\n(nats per datapoint)")
    figure.legend(handles=_legend("figure3", local), loc="outside lower center", ncols=4)
    return figure


def differences(name: str) -> Figure:
    """Ours minus the paper's against training samples, one panel for each of the paper's.

    Lines are our published runs with seed 0, bands the range over seeds where there are several,
    all within the paper's printed axes, on the images that the paper's curves seem to be of
    (`compare.judged`). The grey band is what `compare.target` allows AEVB at the
    right-hand edge. The vertical axis is linear within it and logarithmic beyond.

    Args:
        name: figure2 or figure3.
    """
    use_style()
    table = compare.differences(name)
    table = compare.judged(table[table.visible])
    panels = [run for run in experiments.RUNS[name](0) if run.algorithm == "aevb"]
    rows = math.ceil(len(panels) / 2)
    figure = Figure(figsize=(6.4, 0.8 + 1.9 * rows))
    places = list(figure.subplots(rows, 2).flat)
    for ax in places[len(panels) :]:
        ax.set_axis_off()
    for ax in places[::2]:
        ax.set_ylabel("Ours − the paper's\n(nats per datapoint)")
    for run, ax in zip(panels, places, strict=False):
        edge = compare.edge(run)
        theirs = compare.paper_curve(run, "test")
        target = compare.target(run, curves.value_at(edge, theirs, curves.PAPER_COLUMN[name]))
        ax.axhspan(-target, target, color="#dddddd", lw=0)
        ax.axhline(0, color="black", lw=0.8)
        for algorithm in experiments.ALGORITHMS[name]:
            own = table[table.run == run.name.replace("-aevb-", f"-{algorithm}-")]
            for split, one in own.groupby("split", sort=False):
                style = STYLES[compare.splits(run)[str(split)][1]]
                line, seeds = one[one.seed == 0], one.groupby("samples").difference
                low, high = seeds.min(), seeds.max()
                ax.plot(line.samples, line.difference, style, color=COLOURS[algorithm], lw=1.2)
                ax.fill_between(low.index, low, high, color=COLOURS[algorithm], alpha=0.25, lw=0)
        alike = [one.name for one in experiments.RUNS[name](0) if one.dataset == run.dataset]
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
    """AEVB on Frey Face to where the paper's files end, beyond its printed axis, as `figure2`.

    Of our published runs all seeds, as far as each goes. The vertical axes are the panels' own.
    """
    use_style()
    edge = experiments.PAPER_BUDGET["freyface"]
    figure = Figure(figsize=(6.4, 5.6))
    axes = figure.subplots(2, 2, sharex=True)
    for ax, nz in zip(axes.flat, experiments.NZ["freyface"], strict=True):
        run = experiments.figure2_run("freyface", nz, "aevb")
        _draw(ax, "figure2", run, with_local=False)
        left, right = 0.1 * edge, 6 * edge
        ax.set(xscale="log", xlim=(left, right), title=_title(run))
        drawn = [y for line in ax.lines for x, y in line.get_xydata() if x >= left]
        margin = 0.05 * (max(drawn) - min(drawn))
        ax.set_ylim(min(drawn) - margin, max(drawn) + margin)
        ax.axvspan(edge, right, color="#eeeeee", lw=0, zorder=0)
    for ax in axes[:, 0]:
        ax.set_ylabel("Lower bound\n(nats per datapoint)")
    figure.supxlabel("Training samples evaluated", fontsize="medium")
    handles = _legend("figure2", with_local=False)
    figure.legend(handles=[*handles[:2], handles[-1]], loc="outside upper center", ncols=3)
    return figure


def _title(run: Run) -> str:
    """Of the panel of a run of Figure 2 or 3."""
    if run.n_train:
        return f"$N_\\mathrm{{train}}={run.n_train}$"
    return f"{compare.TITLES[run.dataset]}, $N_\\mathbf{{z}}={run.nz}$"


def _draw(ax: Axes, name: str, run: Run, with_local: bool) -> None:
    """The paper's curves and ours, of all seeds, of the algorithm, data and model of `run`."""
    colour = COLOURS[run.algorithm]
    published, local = (
        [curves.read(file) for file in paths.seeds(root, name, run.name)] if wanted else []
        for root, wanted in ((paths.published(), True), (paths.local(), with_local))
    )
    for split, style in STYLES.items():
        theirs = compare.paper_curve(run, split)
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


def _save_svg(figure: Figure, target: Path, made_by: str) -> Path:
    with atomic(target) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": made_by})
    return target


def _save_png(figure: Figure, target: Path, made_by: str) -> Path:
    """With a palette of 256 colours: a third of the size, in a history that keeps every version."""
    drawn = BytesIO()
    figure.savefig(drawn, format="png", dpi=_DOTS)
    note = PngInfo()
    note.add_text("Software", made_by)
    with atomic(target) as temporary, Image.open(drawn) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
            temporary, "PNG", optimize=True, dpi=(_DOTS, _DOTS), pnginfo=note
        )
    return target


_SAVE = {"svg": _save_svg, "png": _save_png}


# ---------------------------------------------------------------- Figures 4 and 5: stored decoders

FIGURE4: dict[str, tuple[str, int]] = {
    "freyface-nz2-aevb-seed0": ("(a) Frey Face", 10),
    "mnist-nz2-aevb-seed0": ("(b) MNIST", 20),
}
FIGURE5 = {f"mnist-nz{nz}-aevb-seed0": nz for nz in (2, 5, 10, 20)}
INK = {"mnist": "gray_r", "freyface": "gray"}


def prior_grid(n: int) -> Tensor:
    """An n × n grid on the unit square through the inverse CDF of the prior (Figure 4).

    Coordinates are the percentiles (i + 0.5)/n, so every grid point stands for the same share of
    the prior N(0, I).

    Returns:
        `(n², 2)`, as an image is read: the first row has the largest z₂, and z₁ rises along a row.
    """
    z = torch.special.ndtri((torch.arange(n) + 0.5) / n)
    down, right = torch.meshgrid(z.flip(0), z, indexing="ij")
    return torch.stack([right, down], -1).flatten(0, 1)


def prior_samples(n: int, nz: int) -> Tensor:
    """The random z of Figure 5, `(n, nz)`: from N(0, I), the same every time."""
    return torch.randn(n, nz, generator=generator(0, f"figure5 nz{nz}"))


def sheet(images: Tensor, dataset: str, columns: int) -> Tensor:
    """Lay images `(n, pixels)` out as one picture, `columns` in a row.

    Returns:
        Grey levels, `(n / columns · height, columns · width)`.
    """
    height, width = data.IMAGE_SHAPE[dataset]
    tiles = images.view(-1, columns, height, width).transpose(1, 2)
    return tiles.reshape(-1, columns * width)


@torch.no_grad()
def decoder_means(model: Model, z: Tensor) -> Tensor:
    """Means of p(x|z) for z `(rows, nz)`, `(rows, pixels)`."""
    mean: Tensor = model.decoder(z).mean
    return mean


def figure4(*, local: bool = True) -> Figure:
    """Figure 4: decoder means on the inverse-CDF grid of a two-dimensional latent space.

    A model that is not there leaves its panel empty, with a note.

    Args:
        local: whether a model of this machine may stand in for one that is not published.
    """
    use_style()
    shapes = [data.IMAGE_SHAPE[_dataset(name)] for name in FIGURE4]
    height = max(
        columns * tall for (tall, _), (_, columns) in zip(shapes, FIGURE4.values(), strict=True)
    )
    widths = [wide * height // tall for tall, wide in shapes]
    figure, axes = _panels(widths, height, left=85, gap=75, top=40, right=24, bottom=75)
    for ax, (name, (title, columns)) in zip(axes, FIGURE4.items(), strict=True):
        ax.set_title(title)
        ax.set(xlabel="percentile of $z_1$ under the prior", xticks=(0, 50, 100))
        ax.set(yticks=(0, 50, 100))
        _show(ax, name, prior_grid(columns), columns, local)
    axes[0].set_ylabel("percentile of $z_2$ under the prior")
    return figure


def figure5(*, local: bool = True) -> Figure:
    """Figure 5: decoder means of 100 random z from the prior, for each MNIST model.

    A model that is not there leaves its panel empty, with a note.

    Args:
        local: whether a model of this machine may stand in for one that is not published.
    """
    use_style()
    side = 10 * data.IMAGE_SHAPE["mnist"][0]
    margins = {"left": 6, "gap": 40, "top": 40, "right": 6, "bottom": 6}
    figure, axes = _panels([2 * side] * 2, 2 * side, rows=2, **margins)
    for ax, (name, nz) in zip(axes, FIGURE5.items(), strict=True):
        ax.set_title(f"$N_\\mathbf{{z}}={nz}$")
        ax.set(xticks=(), yticks=())
        _show(ax, name, prior_samples(100, nz), 10, local)
    return figure


def _dataset(name: str) -> str:
    return name.partition("-")[0]


def _panels(
    widths: list[int],
    height: int,
    *,
    rows: int = 1,
    left: int,
    gap: int,
    top: int,
    right: int,
    bottom: int,
) -> tuple[Figure, list[Axes]]:
    """Axes in rows, sized in dots of the PNG so that an image's pixels stay square."""
    wide = left + sum(widths) + gap * (len(widths) - 1) + right
    tall = rows * (top + height + bottom)
    figure = Figure(figsize=(wide / _DOTS, tall / _DOTS), layout="constrained")
    figure.set_layout_engine("none")  # only so does the style's engine not return on saving
    axes = []
    for row in reversed(range(rows)):
        up, at = row * (top + height + bottom) + bottom, left
        for width in widths:
            ax = figure.add_axes((at / wide, up / tall, width / wide, height / tall))
            ax.grid(False)
            ax.tick_params(length=2)
            ax.spines[:].set_visible(False)
            axes.append(ax)
            at += width + gap
    return figure, axes


def _show(ax: Axes, name: str, z: Tensor, columns: int, local: bool) -> None:
    """Draw the model's decoder means at z, or say that there is no such model."""
    ax.set(xlim=(0, 100), ylim=(0, 100))
    file = models.stored(name, local=local)
    if file is None:
        note = f"no stored model\n{name}"
        ax.text(50, 50, note, ha="center", va="center", color="grey", fontsize="small")
        return
    model, _ = models.read(file)
    picture = sheet(decoder_means(model, z), _dataset(name), columns)
    ax.imshow(
        picture.numpy(),
        cmap=INK[_dataset(name)],
        vmin=0,
        vmax=1,
        interpolation="none",
        extent=(0, 100, 0, 100),
        aspect="auto",
    )


FIGURES: dict[str, Callable[..., Figure]] = {
    "figure2": figure2,
    "figure2-narrow": partial(figure2, narrow=True),
    "figure3": figure3,
    "figure4": figure4,
    "figure5": figure5,
}


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
        for suffix, save in _SAVE.items():
            files.append(save(figure, paths.figure(folder, name, suffix), made_by))
    return files
