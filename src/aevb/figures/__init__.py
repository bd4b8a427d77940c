"""One function per figure, from curve files and stored models alone; never trains.

Figures 2 to 5 of the paper, and two of our own on how far ours are from its curves.
"""

from aevb.figures.files import FIGURES, draw_all
from aevb.figures.images import (
    FIGURE4,
    FIGURE5,
    INK,
    decoder_means,
    figure4,
    figure5,
    prior_grid,
    prior_samples,
    sheet,
)
from aevb.figures.lines import FIGURE2, beyond_axis, differences, draw, figure2, figure3
from aevb.figures.mistakes import mistakes
from aevb.figures.style import COLOURS, NAMES, use_style

__all__ = [
    "COLOURS",
    "FIGURE2",
    "FIGURE4",
    "FIGURE5",
    "FIGURES",
    "INK",
    "NAMES",
    "beyond_axis",
    "decoder_means",
    "differences",
    "draw",
    "draw_all",
    "figure2",
    "figure3",
    "figure4",
    "figure5",
    "mistakes",
    "prior_grid",
    "prior_samples",
    "sheet",
    "use_style",
]
