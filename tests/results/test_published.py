"""The published curves, each held to its manifest and to the code of today."""

import json
from pathlib import Path

import numpy as np
import pytest

from aevb import paths
from aevb.comparison import pairs
from aevb.results import curves, provenance
from aevb.training import experiments, names

FILES = sorted((paths.published() / "curves").rglob("*.csv"))


def test_every_run_of_the_papers_figures_is_published() -> None:
    for runs in experiments.RUNS.values():
        for run in runs(0):
            # All splits, or the means over curves would be over two sets of images.
            columns = {column for column, _ in pairs.splits(run).values()}
            assert columns <= set(curves.published(run.study, run.name).table.columns)


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.stem}")
def test_a_published_curve_is_what_its_manifest_and_the_code_say(file: Path) -> None:
    curve = curves.read(file)
    manifest = curve.manifest
    as_written = json.loads(file.with_suffix(".json").read_text())["configuration"]
    command = manifest["command"].split()
    settings = [command[k + 1] for k, word in enumerate(command) if word == "--set"]
    chosen: dict[str, object] = {}
    if curves.FIRST_EDITION in manifest:
        # Each run chose its step size itself, and there was one split of Frey Face.
        chosen = {"step_size": curve.step_size, "split": 0}
        assert curve.step_size in as_written["step_sizes"]
        for name in ("step_sizes", "selection_window"):
            values = as_written[name] if name == "step_sizes" else [as_written[name]]
            told = [setting for setting in settings if setting.startswith(f"{name}=")]
            assert told in ([], [f"{name}={','.join(map(str, values))}"])
            settings = [setting for setting in settings if setting not in told]
    run = names.parse(curve.name, curve.study, settings)
    assert command[:3] == ["aevb", "run", curve.name]
    assert curve.configuration == run.configuration | chosen
    assert curve.seed == run.seed
    assert manifest["configuration_sha256"] == provenance.digest(as_written)
    assert not manifest["commit"].endswith("-dirty")
    if run.study in experiments.RUNS:
        assert np.isfinite(curve.table.to_numpy()).all()
