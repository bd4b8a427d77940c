"""Every figure as files."""

from collections.abc import Callable
from functools import partial
from io import BytesIO
from pathlib import Path

from matplotlib.figure import Figure
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from aevb import paths
from aevb.figures.images import figure4, figure5
from aevb.figures.lines import figure2, figure3
from aevb.figures.style import DOTS
from aevb.files import atomic

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
        local: whether to draw local runs too, and into results/local/figures; else into
            results/figures.
    """
    files = []
    folder = paths.local() if local else paths.published()
    for name, draw in FIGURES.items():
        figure = draw(local=local)
        made_by = f"aevb figures ({name})"
        for suffix, save in _SAVE.items():
            files.append(save(figure, paths.figure(folder, name, suffix), made_by))
    return files


def _save_svg(figure: Figure, target: Path, made_by: str) -> Path:
    with atomic(target) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None, "Creator": made_by})
    return target


def _save_png(figure: Figure, target: Path, made_by: str) -> Path:
    """Write a PNG with 256 colours, a third of the size: git keeps every version."""
    drawn = BytesIO()
    figure.savefig(drawn, format="png", dpi=DOTS)
    note = PngInfo()
    note.add_text("Software", made_by)
    with atomic(target) as temporary, Image.open(drawn) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(
            temporary, "PNG", optimize=True, dpi=(DOTS, DOTS), pnginfo=note
        )
    return target


_SAVE = {"svg": _save_svg, "png": _save_png}
