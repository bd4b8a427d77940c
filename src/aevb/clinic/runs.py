"""Training with a mistake, and the curves that such code reports (`results/clinic/`)."""

import math
from pathlib import Path

import pandas as pd
import torch

from aevb import data, paths
from aevb.clinic.catalogue import CATALOGUE, RIGHT, TERMS
from aevb.clinic.code import MINIBATCH, Code
from aevb.clinic.mistakes import MISTAKES
from aevb.files import atomic
from aevb.training.experiments import figure2_run

BUDGET = 250_000  # five epochs
COLUMNS = ["mistake", "samples", *TERMS]


def points(budget: float) -> list[int]:
    """Samples at which a curve has a point: the first minibatch, then five a decade from 10,000."""
    spaced = [10 ** (k / 5) for k in range(20, round(5 * math.log10(budget)) + 1)]
    return [MINIBATCH, *(MINIBATCH * round(s / MINIBATCH) for s in spaced)]


def train(code: type[Code], nz: int, seed: int, budget: float = BUDGET) -> pd.DataFrame:
    """Train on MNIST and return what the code reports.

    Returns:
        A row for each of `points`, up to the first that is not finite: `train`, the mean bound of
        the minibatches since the row before; and of the test images `test`, the bound, with its
        `reconstruction` and its `kl`, in the unit that the code takes for nats per datapoint.
    """
    torch.set_flush_denormal(True)  # as the training loop does
    dataset = data.load("mnist")
    step_size = figure2_run("mnist", nz, "aevb").step_size
    vae = code(nz, seed, step_size, len(dataset.train))
    rows, done = [], 0
    for point in points(budget):
        updates = (point - done) // MINIBATCH
        running = sum(vae.step(dataset.train) for _ in range(updates)) / updates
        rows.append((code.__name__, point, running, *vae.evaluate(dataset.test)))
        done = point
        if not all(map(math.isfinite, rows[-1][2:])):
            break
    return pd.DataFrame(rows, columns=COLUMNS)


def file(nz: int, seed: int) -> Path:
    """Where the curves of one configuration are."""
    return paths.published() / "clinic" / f"mnist-nz{nz}-seed{seed}.csv"


def configurations() -> list[tuple[int, int]]:
    """Nz and seed of every published file."""
    found = (path.stem.split("-") for path in file(0, 0).parent.glob("mnist-nz*-seed*.csv"))
    return sorted((int(nz.removeprefix("nz")), int(s.removeprefix("seed"))) for _, nz, s in found)


def write(nz: int, seed: int, budget: float = BUDGET) -> Path:
    """Train the right code and each mistake that the file lacks, and add their curves to it."""
    path = file(nz, seed)
    codes: list[type[Code]] = [Code, *MISTAKES]
    for code in codes:
        table = _trained(path)
        if code.__name__ in set(table.mistake):
            continue
        table = pd.concat([table, train(code, nz, seed, budget)])
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as temporary:
            head = f"# Made by `aevb clinic {path.stem}`: MNIST, as the code reports it.\n"
            temporary.write_text(head + table.to_csv(index=False, float_format="%.7g"))
    return path


def _trained(path: Path) -> pd.DataFrame:
    if not path.is_file():
        return pd.DataFrame(columns=COLUMNS)
    return pd.read_csv(path, comment="#")


def read(nz: int, seed: int) -> pd.DataFrame:
    """The curves of one configuration, also of the mistakes that misreport the right code.

    Raises:
        FileNotFoundError: if one has not been made.
    """
    path = file(nz, seed)
    table = _trained(path)
    wanted = {entry.name for entry in CATALOGUE if isinstance(entry.does, type)}
    if missing := sorted(wanted - set(table.mistake)):
        raise FileNotFoundError(
            f"{path} has no curve of {', '.join(missing)}: run `aevb clinic {path.stem}`"
        )
    right = table[table.mistake == RIGHT.name]
    reported = [
        entry.does(right).assign(mistake=entry.name)
        for entry in CATALOGUE
        if not isinstance(entry.does, type)
    ]
    return pd.concat([table, *reported], ignore_index=True)
