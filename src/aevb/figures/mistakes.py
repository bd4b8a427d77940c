"""The figure of the chapter on debugging: how each usual mistake changes a curve."""

import math

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from aevb.clinic import runs
from aevb.clinic.catalogue import CATALOGUE, RIGHT
from aevb.figures.style import COLOURS, use_style

FIRST_SAMPLES = 15_000  # after the warm-up
WRONG, RIGHT_COLOUR = COLOURS["aevb"], "#bbbbbb"


def mistakes(nz: int = 20, seeds: tuple[int, ...] = (0, 1), *, narrow: bool = False) -> Figure:
    """Small panels, one a mistake: the test bound that its code reports, over the right code's.

    Args:
        nz: of the clinic's runs.
        seeds: of the clinic's runs, a line each.
        narrow: for a phone, two panels in a row instead of four.
    """
    use_style()
    entries = [entry for entry in CATALOGUE if entry is not RIGHT]
    columns = 2 if narrow else 4
    rows = math.ceil(len(entries) / columns)
    figure = Figure(figsize=(3.75, 1.5 * rows) if narrow else (9, 1.6 * rows))
    panels = figure.subplots(rows, columns).flat
    tables = [runs.read(nz, seed).groupby("mistake") for seed in seeds]
    for ax, entry in zip(panels, entries, strict=False):
        for name, colour, width in ((RIGHT.name, RIGHT_COLOUR, 4), (entry.name, WRONG, 1.4)):
            for table in tables:
                curve = table.get_group(name)
                curve = curve[(curve.samples > FIRST_SAMPLES) & np.isfinite(curve.test)]
                ax.plot(curve.samples, curve.test, color=colour, lw=width)
        ax.set_xscale("log")
        ax.set_title(entry.label, fontsize="small")
        ax.tick_params(labelsize="x-small")
        ax.minorticks_off()
        ax.set_xticks([2e4, 1e5], ["20,000", "100,000"])
    for ax in list(panels)[: rows * columns - len(entries)]:
        ax.set_axis_off()
    handles = [
        Line2D([], [], color=RIGHT_COLOUR, lw=4, label="right code"),
        Line2D([], [], color=WRONG, lw=1.4, label="with the mistake"),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=2)
    figure.supylabel("Test bound as reported (nats per datapoint)", fontsize="medium")
    figure.supxlabel("Training samples evaluated", fontsize="medium")
    return figure
