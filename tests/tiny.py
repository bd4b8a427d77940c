"""A run that trains in a second, the images that it trains on, and the files that it leaves."""

from pathlib import Path
from typing import Any

import pandas as pd
import torch

from aevb import paths
from aevb.data import Dataset
from aevb.results import curves
from aevb.training.run import Run

TINY = Run(study="test", n_hidden=8, nz=2, minibatch=10, warmup=5, step_size=0.02, seed=3)

_PIXELS = torch.rand(120, 12, generator=torch.Generator().manual_seed(0))
IMAGES = Dataset(
    "mnist", _PIXELS[:80], _PIXELS[80:90], _PIXELS[90:], (3, 4), checksums={"a file": "its digest"}
)


def curve(run: Run = TINY) -> Path:
    return paths.curve(paths.local(), run.study, run.name)


def checkpoint(run: Run = TINY) -> Path:
    return paths.checkpoint(run.study, run.name)


def table(run: Run = TINY) -> pd.DataFrame:
    return curves.read(curve(run)).table


def manifest(run: Run = TINY) -> dict[str, Any]:
    return curves.read_manifest(curve(run))
