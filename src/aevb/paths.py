"""The project's folders and where its files are."""

from pathlib import Path


def root() -> Path:
    """The project's folder: the nearest with results/paper, from the current one upwards.

    Outside a checkout of the project it is the current directory.
    """
    here = Path.cwd()
    return next((f for f in (here, *here.parents) if (f / "results" / "paper").is_dir()), here)


def data() -> Path:
    """Where downloaded data sets are kept; ignored by git."""
    return root() / "data"


def paper() -> Path:
    """The paper's own curves."""
    return root() / "results" / "paper"


def published() -> Path:
    """Published results, committed and citable."""
    return root() / "results"


def local() -> Path:
    """Results of runs on this machine, in the layout of `published`; ignored by git."""
    return root() / "results" / "local"


def curves(results: Path, study: str) -> Path:
    """The folder of the curves of `study` below `published()` or `local()`."""
    return results / "curves" / study


def curve(results: Path, study: str, name: str) -> Path:
    """The curve of run `name` of `study`; its manifest is beside it."""
    return curves(results, study) / f"{name}.csv"


def models(results: Path, study: str) -> Path:
    """The folder of the trained models of `study` below `published()` or `local()`."""
    return results / "models" / study


def model(results: Path, study: str, name: str) -> Path:
    """The trained model of run `name` of `study`."""
    return models(results, study) / f"{name}.safetensors"


def reestimates() -> Path:
    """The table of `aevb reestimate`."""
    return published() / "reestimates" / "figure3.csv"


def checkpoint(study: str, name: str) -> Path:
    """The checkpoint of a local run."""
    return local() / "checkpoints" / study / f"{name}.pt"


def figure(results: Path, name: str, suffix: str) -> Path:
    """A rendered figure; `suffix` is svg or png."""
    return results / "figures" / f"{name}.{suffix}"
