"""The data of the page `figure2`: the curves of Figure 2, ours and the paper's, as one script."""

import json
import math
from pathlib import Path
from typing import Any

from aevb import figures, paths
from aevb.comparison import judge, pairs
from aevb.files import atomic
from aevb.results import citing, curves
from aevb.results.lines import Line
from aevb.training import experiments
from aevb.training.run import Run

# Where the page looks for it, below the root of the rendered book.
SCRIPT = Path("_static", "figure2", "data.js")
OTHER_STEP_SIZES = ("step-size-0.01", "step-size-0.02", "step-size-0.1")


def numbers(line: Line, start: float) -> dict[str, list[float]]:
    """The points of a line from the last one before `start` on."""
    kept = line.samples > start
    kept[:-1] |= kept[1:]
    return {
        "samples": line.samples[kept].round().tolist(),
        "values": line.values[kept].round(2).tolist(),
    }


def lines(run: Run, start: float) -> list[dict[str, Any]]:
    """The paper's curves and ours of an algorithm in a panel, from `start` samples on."""
    found = []
    for split in ("train", "test"):
        paper = numbers(pairs.paper_line(run, split), start)
        found.append({"split": split, "source": "the paper", **paper})
    for study in ("figure2", *OTHER_STEP_SIZES):
        for curve in curves.seeds(study, run.name):
            step = "" if study == "figure2" else f", step size {curve.step_size}"
            about = {"source": f"seed {curve.seed}{step}", "bibtex": citing.bibtex(curve)}
            for split, (column, _) in pairs.splits(run).items():
                if (line := pairs.our_line(curve, run, column)) is not None:
                    found.append({"split": split, **about, **numbers(line, start)})
    return [{"algorithm": run.algorithm, **one} for one in found]


def band(run: Run, split: str) -> dict[str, Any]:
    """The band of `aevb judge` at our points, with the window over which it averages."""
    ours = judge.reference(run.name, split)
    places = sorted({x for line in ours.seeds.values() for x in line.samples.tolist()})
    points = [ours.point(x, math.nan) for x in places if x >= judge.FIRST_SAMPLES]
    points = [point for point in points if not math.isnan(point.ours)]
    return {
        "window": ours.window,
        "samples": [point.samples for point in points],
        **{
            key: [round(getattr(point, key), 3) for point in points]
            for key in ("ours", "low", "high")
        },
    }


def content() -> dict[str, Any]:
    """A panel for each number of latent dimensions, in the order of the figure."""
    panels = []
    for dataset, axes in figures.FIGURE2.items():
        for nz in axes.nz:
            runs = [
                experiments.figure2_run(dataset, nz, algorithm)
                for algorithm in experiments.ALGORITHMS["figure2"]
            ]
            panels.append(
                {
                    "name": f"{dataset}-nz{nz}",
                    "title": f"{axes.title}, Nz = {nz}",
                    "samples": axes.samples,
                    "bound": axes.bound,
                    "lines": [line for run in runs for line in lines(run, axes.samples[0])],
                    "bands": {
                        f"{run.algorithm}, {split}": band(run, split)
                        for run in runs
                        for split in pairs.splits(run)
                    },
                }
            )
    return {
        "panels": panels,
        "first": judge.FIRST_SAMPLES,
        "per_decade": judge.POINTS_PER_DECADE,
        "share_inside": judge.SHARE_INSIDE,
    }


def write(html: Path) -> Path:
    """Write the script below the root of the rendered book; returns the file."""
    target = html / SCRIPT
    with atomic(target) as temporary:
        temporary.write_text(f"window.aevbFigure2Data = {json.dumps(content())};\n")
    return target


if __name__ == "__main__":
    print(write(paths.root() / "book" / "_build" / "html"))
