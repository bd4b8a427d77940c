"""Figures of images, from stored decoders: 4 and 5 of the paper."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from aevb import data
from aevb.figures.style import DOTS, use_style
from aevb.model.networks import Model
from aevb.model.randomness import generator
from aevb.results import models
from aevb.training.names import paper_run

FIGURE4: dict[str, tuple[str, int]] = {
    "freyface-nz2-aevb-seed0": ("(a) Frey Face", 10),
    "mnist-nz2-aevb-seed0": ("(b) MNIST", 20),
}
FIGURE5 = {f"mnist-nz{nz}-aevb-seed0": nz for nz in (2, 5, 10, 20)}
INK = {"mnist": "gray_r", "freyface": "gray"}


def prior_grid(n: int) -> Tensor:
    """An n × n grid on the unit square through the inverse CDF of the prior (Figure 4).

    Coordinates are the percentiles (i + 0.5)/n, so every point has the same share of the prior.

    Returns:
        `(n², 2)`, row by row: the first row has the largest z₂, and z₁ rises along a row.
    """
    z = torch.special.ndtri((torch.arange(n) + 0.5) / n)
    down, right = torch.meshgrid(z.flip(0), z, indexing="ij")
    return torch.stack([right, down], -1).flatten(0, 1)


def prior_samples(n: int, nz: int) -> Tensor:
    """The random z of Figure 5, `(n, nz)`, from N(0, I); the same every time."""
    return torch.randn(n, nz, generator=generator(0, f"figure5 nz{nz}"))


def sheet(images: Tensor, dataset: str, columns: int) -> Tensor:
    """Images `(n, pixels)` as one picture, `(n / columns · height, columns · width)`."""
    height, width = data.IMAGE_SHAPE[dataset]
    tiles = images.view(-1, columns, height, width).transpose(1, 2)
    return tiles.reshape(-1, columns * width)


@torch.no_grad()
def decoder_means(model: Model, z: Tensor) -> Tensor:
    """Means of p(x|z) for z `(rows, nz)`, `(rows, pixels)`."""
    mean: Tensor = model.decoder(z).mean
    return mean


def figure4(*, local: bool = True) -> Figure:
    """Figure 4: decoder means on the grid of `prior_grid`.

    The panel of a missing model has a note.

    Args:
        local: whether a local model may take the place of one that is not published.
    """
    use_style()
    shapes = [data.IMAGE_SHAPE[paper_run(name).dataset] for name in FIGURE4]
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
    """Figure 5: decoder means at 100 random z from the prior, for each MNIST model.

    Args:
        local: as for `figure4`.
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
    """Axes in rows, sized in dots of the PNG, so that pixels stay square."""
    wide = left + sum(widths) + gap * (len(widths) - 1) + right
    tall = rows * (top + height + bottom)
    figure = Figure(figsize=(wide / DOTS, tall / DOTS), layout="constrained")
    figure.set_layout_engine("none")  # else the style's engine comes back on saving
    axes = []
    for row in reversed(range(rows)):
        up, across = row * (top + height + bottom) + bottom, left
        for width in widths:
            ax = figure.add_axes((across / wide, up / tall, width / wide, height / tall))
            ax.grid(False)
            ax.tick_params(length=2)
            ax.spines[:].set_visible(False)
            axes.append(ax)
            across += width + gap
    return figure, axes


def _show(ax: Axes, name: str, z: Tensor, columns: int, local: bool) -> None:
    """Draw the decoder means of a stored model at z, or a note that there is none."""
    ax.set(xlim=(0, 100), ylim=(0, 100))
    file = models.stored(name, local=local)
    if file is None:
        note = f"no stored model\n{name}"
        ax.text(50, 50, note, ha="center", va="center", color="grey", fontsize="small")
        return
    model, _ = models.read(file)
    dataset = paper_run(name).dataset
    picture = sheet(decoder_means(model, z), dataset, columns)
    ax.imshow(
        picture.numpy(),
        cmap=INK[dataset],
        vmin=0,
        vmax=1,
        interpolation="none",
        extent=(0, 100, 0, 100),
        aspect="auto",
    )
