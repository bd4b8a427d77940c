"""Frey Face: its file, where it comes from, and how it is read and split."""

from pathlib import Path

import numpy as np
import scipy.io
import torch

from aevb.data.dataset import IMAGE_SHAPE, Dataset
from aevb.data.download import Source
from aevb.data.verified import File

FILES = (
    File(
        "frey_rawface.mat",
        1_100_584,
        "265a83a23adb081755cd3de375509828e690324d1d60f076b8ecebc840d59c64",
    ),
)

# The original first (it is known to answer 403), then a commit that holds the identical file.
MIRRORS = (
    "https://cs.nyu.edu/~roweis/data/",
    "https://raw.githubusercontent.com/tauhidstanford/GSE/0ebdc1622e4aa572ed3d9910aaf51bd76e89b40a/",
)

N_TRAIN = 1_600
"""How many of the 1,965 Frey faces are for training; the rest are for testing."""

FREYFACE_SPLIT_SEED = 1312_6114
"""Seed of the permutation of split 0 of Frey Face; that of split k is this plus k."""


def load(files: list[Path], checksums: dict[str, str], split: int) -> Dataset:
    """Load Frey Face from its verified .mat file."""
    faces = scipy.io.loadmat(files[0])["ff"].T  # (1965, 560) uint8: each row a face, row by row
    order = np.random.default_rng(FREYFACE_SPLIT_SEED + split).permutation(len(faces))
    # 256 levels, so that every pixel lies strictly below 1; dividing by a power of two is exact.
    pixels = torch.from_numpy(faces[order].astype(np.float32)).div_(256)
    return Dataset(
        name="freyface",
        train=pixels[:N_TRAIN],
        validation=pixels[:0],
        test=pixels[N_TRAIN:],
        image_shape=IMAGE_SHAPE["freyface"],
        checksums=checksums,
        split=split,
    )


SOURCE = Source(FILES, lambda: MIRRORS, load)
