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

# The original, which has answered 403, then a commit that holds the same file.
MIRRORS = (
    "https://cs.nyu.edu/~roweis/data/",
    "https://raw.githubusercontent.com/tauhidstanford/GSE/0ebdc1622e4aa572ed3d9910aaf51bd76e89b40a/",
)

N_TRAIN = 1_600
"""Of 1,965 faces; the other 365 are for testing."""

FREYFACE_SPLIT_SEED = 1312_6114
"""Seed of the permutation for split 0; for split k it is k higher."""


def load(files: list[Path], checksums: dict[str, str], split: int) -> Dataset:
    """Load Frey Face from its verified .mat file."""
    faces = scipy.io.loadmat(files[0])["ff"].T  # (1965, 560) uint8: each row a face, row by row
    order = np.random.default_rng(FREYFACE_SPLIT_SEED + split).permutation(len(faces))
    # Divided by 256: exact, and every pixel is below 1.
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
