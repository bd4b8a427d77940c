"""A trained model as a file."""

from pathlib import Path

from aevb import paths
from aevb.errors import ConfigurationError
from aevb.results import curves, models
from aevb.training import checkpoints
from aevb.training.job import SMALLER_STEPS
from aevb.training.loop import State
from aevb.training.names import command
from aevb.training.run import Run


def export(run: Run) -> Path:
    """Write the model of a run's checkpoint, in half precision, under results/local/models.

    Returns:
        The file.

    Raises:
        FileNotFoundError: if the run has no checkpoint on this machine, or no log point yet.
        ConfigurationError: if the curve goes further than the checkpoint, so that its manifest is
            not the model's; or if parameters are not finite.
    """
    checkpoint, curve = checkpoints.load(run), paths.curve(paths.local(), run.study, run.name)
    if checkpoint is None:
        stands = curves.read(curve).samples if curve.exists() else 0
        makes = command(run, max(stands, 100_000))
        raise FileNotFoundError(f"{run.name} has no checkpoint here; `{makes}` makes it")
    target = paths.model(paths.local(), run.study, run.name)
    state: State = checkpoint["training"]  # a run that was stopped is past its last log point
    manifest = curves.read_manifest(curve)
    if manifest["samples"] > state["samples"]:
        makes = command(run, manifest["samples"])
        raise ConfigurationError(
            f"{curve} goes to {manifest['samples']:,} samples, and the checkpoint of {run.name} "
            f"stands at {state['samples']:,}: one was lost. Continue the run first, with `{makes}`"
        )
    if not all(values.isfinite().all() for values in state["parameters"].values()):
        raise ConfigurationError(
            f"{run.name} in study {run.study} diverged: its parameters are not finite at "
            f"{state['samples']:,} samples, and nothing can be drawn from them: {SMALLER_STEPS}"
        )
    models.write(target, state["parameters"], manifest | {"samples": state["samples"]})
    return target
