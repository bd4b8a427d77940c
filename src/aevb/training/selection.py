"""The choice of a step size, from the curves of its candidates.

Section 5: "Adagrad [...] global stepsize parameters were chosen from {0.01, 0.02, 0.1} based on
performance on the training set in the first few iterations". The rule here: the highest running
bound with seed 0, after ten of the intervals between two points of the authors' log.
"""

import math
from pathlib import Path

from aevb import paths
from aevb.errors import ConfigurationError
from aevb.results import curves
from aevb.training import experiments, names
from aevb.training.run import Run


def scores(results: Path, run: Run) -> dict[float, float | None]:
    """The running bounds of the candidates, by step size, in nats per datapoint.

    Args:
        results: `paths.local()` or `paths.published()`.
        run: the run that needs a step size.

    Returns:
        None for a candidate that diverged.

    Raises:
        FileNotFoundError: if a candidate has no curve.
        ConfigurationError: if a candidate did not diverge, and its curve is too short.
    """
    found: dict[float, float | None] = {}
    end = experiments.stopping_point(run, experiments.selection_samples(run))
    for candidate in experiments.candidates(run):
        file = paths.curve(results, candidate.study, candidate.name)
        curve = curves.read(file)
        diverged = curve.manifest.get("diverged")
        row = curve.table[curve.table.samples == end]
        if row.empty and not diverged:
            raise ConfigurationError(
                f"{file} ends at {curve.samples:,} samples; expected {end:,}: continue "
                f"it with `{names.command(candidate, end)}`"
            )
        value = math.nan if row.empty else float(row.train_running.iloc[0])
        found[candidate.step_size] = value if math.isfinite(value) else None
    return found


def chosen(scored: dict[float, float | None]) -> float:
    """The step size with the highest score.

    Raises:
        ConfigurationError: if all candidates diverged.
    """
    finite = {step: score for step, score in scored.items() if score is not None}
    if not finite:
        raise ConfigurationError(
            f"the step sizes {', '.join(map(str, scored))} all diverged; expected one that did not"
        )
    return max(finite, key=finite.__getitem__)
