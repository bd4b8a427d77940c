"""The package's copies of the curves and signatures that `aevb judge` needs, made from results/."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from aevb.clinic import runs as clinic
from aevb.clinic.catalogue import CATALOGUE, TERMS
from aevb.comparison import pairs
from aevb.comparison.judge import REFERENCE
from aevb.comparison.signatures import FIRST_SAMPLES, LIKE, SIGNATURES
from aevb.comparison.wording import without_seed
from aevb.files import atomic
from aevb.results import curves
from aevb.results.lines import Line
from aevb.training import experiments, names
from aevb.training.run import SELECTION

SEEDS = (0, 1)  # of the clinic's runs that signatures are computed from
HEADER = (
    "# Made by `aevb reference` from results/paper and results/curves; do not edit.\n"
    "# Nats per datapoint. Train bounds of ours are averaged over the paper's window.\n"
    "name,split,source,samples,value\n"
)


def as_text() -> str:
    """The content of reference.csv: of each curve the first point and those to compare with."""
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
    """The rows of one curve, also of the last point before those to compare with."""
    first = int(np.searchsorted(line.samples, FIRST_SAMPLES, side="right")) - 1
    kept = sorted({0, *range(max(first, 0), len(line.samples))})
    return [f"{name},{split},{source},{line.samples[k]:.0f},{line.values[k]:.2f}\n" for k in kept]


def signatures_as_text() -> str:
    """The content of the file of signatures: the mean over the clinic's seeds 0 and 1."""
    nz = int(LIKE.split("-")[1].removeprefix("nz"))
    seeds = [clinic.read(nz, seed).groupby("mistake", sort=False) for seed in SEEDS]
    signatures = []
    for code in CATALOGUE:
        tables = [seed.get_group(code.name) for seed in seeds]
        samples = max((table.samples for table in tables), key=len).tolist()
        mean = pd.concat(tables).groupby("samples")[TERMS].mean().reindex(samples)
        signatures.append(
            {
                "name": code.name,
                "mistake": code.mistake,
                "check": code.check,
                "mistaken": code.mistaken,
                "samples": samples,
                **{key: [_rounded(value) for value in mean[key]] for key in TERMS},
            }
        )
    signatures += [_other_step_size(step_size) for step_size in (0.01, 0.1)]
    made_by = f"aevb reference, from results/clinic and step-size-selection, {LIKE}; do not edit"
    return json.dumps({"made_by": made_by, "signatures": signatures}, indent=1) + "\n"


def _other_step_size(step_size: float) -> dict[str, Any]:
    """The signature of right code with another step size; its terms were not recorded."""
    run = replace(names.paper_run(f"{LIKE}-seed0"), study=SELECTION, step_size=step_size)
    table = curves.published(run.study, run.name).table
    table = table[table.samples < 1.5 * clinic.BUDGET]
    return {
        "name": f"step_size_{step_size}",
        "mistake": f"A step size of {step_size}",
        "check": "the step size",
        "mistaken": False,
        "samples": table.samples.tolist(),
        "train": table.train_running.tolist(),
        "test": table.test.tolist(),
        **dict.fromkeys(("reconstruction", "kl"), [None] * len(table)),
    }


def _rounded(value: float) -> float | None:
    return float(f"{value:.5g}") if np.isfinite(value) else None


def write() -> list[Path]:
    """Write both files, from the published results of a checkout."""
    for path, text in ((REFERENCE, as_text()), (SIGNATURES, signatures_as_text())):
        with atomic(path) as temporary:
            temporary.write_text(text)
    return [REFERENCE, SIGNATURES]
