"""Colours, line styles and settings that all figures share."""

import matplotlib as mpl
import seaborn as sns

from aevb.comparison.wording import ALGORITHM_NAMES

# The paper's red and green, in shades of Okabe and Ito's palette, which colour-blind readers can
# tell apart.
COLOURS = {"aevb": "#d55e00", "wake-sleep": "#009e73", "mcem": "#0072b2"}
NAMES = {algorithm: name[0].upper() + name[1:] for algorithm, name in ALGORITHM_NAMES.items()}
STYLES = {"train": "-", "test": "--"}
DOTS = 150  # per inch of a PNG; panels of images have a whole number


def use_style() -> None:
    """Set the book's plotting style; SVG output is the same every time, byte for byte."""
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
