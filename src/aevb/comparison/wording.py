"""Numbers and names as readers see them."""

import math
from collections.abc import Callable

import pandas as pd

from aevb import data
from aevb.training.run import Run

TITLES: dict[data.Name, str] = {"mnist": "MNIST", "freyface": "Frey Face"}
ALGORITHM_NAMES = {"aevb": "AEVB", "wake-sleep": "wake-sleep", "mcem": "Monte Carlo EM"}
NO_BREAK = "\u00a0"  # a space


def nats(value: float, sign: str = "", digits: int = 1) -> str:
    """A value in nats with one decimal, or as many as `digits`; a dash for NaN."""
    return "–" if math.isnan(value) else f"{value:{sign},.{digits}f}".replace("-", "−")


def signed(value: float) -> str:
    """`nats` with its sign."""
    return nats(value, "+")


def span(values: pd.Series, show: Callable[[float], str]) -> str:
    """The least and the largest value as text; one of them if they look alike."""
    low, high = show(values.min()), show(values.max())
    return low if low == high else f"{low} to {high}"


def millions(samples: float) -> str:
    """A number of samples in millions; a dash for NaN."""
    return "–" if math.isnan(samples) else f"{float(f'{samples / 1e6:.3g}'):,g}{NO_BREAK}M"


def without_seed(run: Run) -> str:
    """The name of a curve whose seed does not matter."""
    return run.name_without_seed


def panel_group(run: Run) -> str:
    """The panels of the paper's figure that a run belongs to."""
    return f"Figure {run.study[-1]}, {dataset(run)}"


def dataset(run: Run) -> str:
    """What a run of the paper's figures trains on."""
    return f"N = {run.n_train:,}" if run.n_train else TITLES[run.dataset]
