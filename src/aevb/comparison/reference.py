"""The package's copy of the curves that `aevb judge` holds others against, made from results/."""

from pathlib import Path

import numpy as np

from aevb.comparison import pairs
from aevb.comparison.judge import FIRST_SAMPLES, REFERENCE
from aevb.comparison.wording import without_seed
from aevb.files import atomic
from aevb.results import curves
from aevb.results.lines import Line
from aevb.training import experiments

HEADER = (
    "# Made by `aevb reference` from results/paper and results/curves; do not edit.\n"
    "# Nats per datapoint. Train bounds of ours are averaged over the paper's window.\n"
    "name,split,source,samples,value\n"
)


def as_text() -> str:
    """The content of the file: of each curve the first point and those that are compared."""
    rows = []
    for figure, runs in experiments.RUNS.items():
        for run in runs(0):
            name = without_seed(run)
            found = curves.seeds(figure, run.name)
            for split, (column, of_paper) in pairs.splits(run).items():
                if split == of_paper:  # the validation images share the paper's test curve
                    rows += _rows(name, split, "paper", pairs.paper_line(run, of_paper))
                for curve in found:
                    if line := pairs.our_line(curve, run, column):
                        rows += _rows(name, split, f"seed{curve.seed}", line)
    return HEADER + "".join(rows)


def _rows(name: str, split: str, source: str, line: Line) -> list[str]:
    """The rows of one curve; the point before the first that is compared is there too."""
    first = int(np.searchsorted(line.samples, FIRST_SAMPLES, side="right")) - 1
    kept = sorted({0, *range(max(first, 0), len(line.samples))})
    return [f"{name},{split},{source},{line.samples[k]:.0f},{line.values[k]:.2f}\n" for k in kept]


def write() -> Path:
    """Write the file, from the published results of a checkout."""
    with atomic(REFERENCE) as temporary:
        temporary.write_text(as_text())
    return REFERENCE
