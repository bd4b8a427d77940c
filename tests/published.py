"""Stand-ins for curves, published and local."""

from pathlib import Path
from typing import Any

from aevb import paths
from aevb.results import curves
from aevb.training import experiments

RUN = experiments.figure2_run("mnist", 20, "aevb")
MANIFEST: dict[str, Any] = {
    "hardware": {"device": "cpu"},
    "precision": "float32",
    "versions": {"torch": "2"},
    "configuration": {"study": "figure2", "prior": 1.0, "step_size": 0.01},
    "configuration_sha256": "0",
    "data_sha256": {},
}


def publish(run: experiments.Run, values: dict[float, float]) -> None:
    """A published curve of `run` with these values of every column, by samples."""
    columns = ("train_running", "train", "validation", "test")
    rows = [{"samples": s, **dict.fromkeys(columns, v)} for s, v in values.items()]
    write_curve(paths.curve(paths.published(), run.study, run.name), rows)


def write_curve(file: Path, rows: list[dict[str, float]], **manifest: object) -> None:
    """A curve's files, with the manifest of a stand-in that is of this curve."""
    configuration = {**MANIFEST["configuration"], "study": file.parent.name}
    own = {"name": file.stem, "samples": rows[-1]["samples"], "configuration": configuration}
    curves.write(file, rows, {**MANIFEST, **own, **manifest})


def put(
    root: Path,
    last: int,
    shift: float = 0.0,
    run: experiments.Run = RUN,
    **manifest: object,
) -> None:
    """A curve of `run`: a straight line in log10(samples), up to `last` samples."""
    points = [s for s in (100, 10**5, 10**6, 10**7) if s <= last]
    rows = [
        {
            "samples": s,
            **dict.fromkeys(("train_running", "train", "validation", "test"), shift - 200 + k),
        }
        for k, s in enumerate(points)
    ]
    write_curve(paths.curve(root, run.study, run.name), rows, **manifest)
