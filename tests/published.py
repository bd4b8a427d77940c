"""Stand-ins for curves, published and local."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aevb import paths
from aevb.results import curves
from aevb.results.curves import Curve
from aevb.training import experiments
from aevb.training.run import Run

RUN = experiments.figure2_run("mnist", 20, "aevb")
MANIFEST: dict[str, Any] = {
    "hardware": {"device": "cpu"},
    "precision": "float32",
    "versions": {"torch": "2"},
    "configuration_sha256": "0",
    "data_sha256": {},
}


def straight(last: float, shift: float = 0.0) -> dict[float, float]:
    """Values on a straight line in log10(samples), up to `last` samples."""
    return {s: shift - 200 + k for k, s in enumerate((100, 10**5, 10**6, 10**7)) if s <= last}


def put(root: Path, run: Run, values: Mapping[Any, float], **manifest: object) -> Curve:
    """A curve of `run` with these values of every column, by samples."""
    columns = ("train_running", "train", "validation", "test")
    rows = [{"samples": s, **dict.fromkeys(columns, v)} for s, v in values.items()]
    file = paths.curve(root, run.study, run.name)
    write_curve(file, rows, **{"configuration": run.configuration, **manifest})
    return curves.read(file)


def publish(run: Run, values: Mapping[Any, float]) -> Curve:
    """A published curve of `run` with these values of every column, by samples."""
    return put(paths.published(), run, values)


def change(curve: Curve, **columns: Any) -> None:
    """Give a curve's file other values of columns; None takes a column away."""
    gone = [name for name, values in columns.items() if values is None]
    table = curve.table.assign(**columns).drop(columns=gone)
    manifest = curves.read_manifest(curve.path)
    rows: list[Any] = table.to_dict("records")
    curves.write(curve.path, rows, manifest)


def write_curve(file: Path, rows: list[dict[str, float]], **manifest: object) -> None:
    """A curve's files, with the manifest of a stand-in that belongs to this curve."""
    about = {
        "name": file.stem,
        "samples": rows[-1]["samples"],
        "configuration": {"study": file.parent.name, "prior": 1.0, "step_size": 0.01},
    }
    curves.write(file, rows, {**MANIFEST, **about, **manifest})
