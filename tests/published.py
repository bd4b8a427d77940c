"""Stand-ins for published curves."""

from typing import Any

from aevb import curves, experiments, paths

MANIFEST: dict[str, Any] = {
    "hardware": {"device": "cpu"},
    "precision": "float32",
    "versions": {"torch": "2"},
    "configuration": {"prior": 1.0, "step_sizes": [0.01, 0.02]},
    "step_size_selection": {"step_size": 0.01},
}


def publish(run: experiments.Run, values: dict[float, float]) -> None:
    """A published curve of `run` with these values of every column, by samples."""
    columns = ("train_running", "train", "validation", "test")
    rows = [{"samples": s, **dict.fromkeys(columns, v)} for s, v in values.items()]
    curves.write(paths.curve(paths.published(), run.study, run.name), rows, MANIFEST)
