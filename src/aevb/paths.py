"""Where things lie: the one module that knows the project's folders."""

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
    """Published results: committed and citable."""
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


def seeds(results: Path, study: str, name: str) -> list[Path]:
    """The curves of run `name` of `study` with every seed that is there, in their order."""
    found = curves(results, study).glob(f"{name.rpartition('-seed')[0]}-seed*.csv")
    return sorted((file for file in found if seed(file).isdecimal()), key=lambda f: int(seed(f)))


def seed(curve: Path) -> str:
    """The seed in a curve's name."""
    return curve.stem.rpartition("-seed")[2]


def models(results: Path, study: str) -> Path:
    """The folder of the trained models of `study` below `published()` or `local()`."""
    return results / "models" / study


def model(results: Path, study: str, name: str) -> Path:
    """The trained model of run `name` of `study`."""
    return models(results, study) / f"{name}.safetensors"


def readings() -> Path:
    """The table of the final models of Figure 3 under other readings; its manifest is beside it."""
    return published() / "readings" / "figure3.csv"


def checkpoint(study: str, name: str) -> Path:
    """The checkpoint of a local run."""
    return local() / "checkpoints" / study / f"{name}.pt"


def figure(results: Path, name: str, suffix: str) -> Path:
    """A rendered figure; `suffix` is svg or png."""
    return results / "figures" / f"{name}.{suffix}"
