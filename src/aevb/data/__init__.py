"""MNIST and Frey Face: found or downloaded, verified, scaled and split.

A file is looked for in this order:

1. the directory that the environment variable `AEVB_DATA` names, which is never written to;
2. the project's data directory, `paths.data`;
3. the mirrors, from which it is downloaded to `paths.data`.

A file is used only if its SHA-256 is the recorded one. So all runs learn from the same bytes, and
no mirror has to be trusted. For MNIST the SHA-256 of the unpacked content is enough.
"""

from aevb.data.dataset import IMAGE_SHAPE, DataError, Dataset, Name, Pixels, binarised
from aevb.data.freyface import FREYFACE_SPLIT_SEED
from aevb.data.loading import available, fetch, load
from aevb.data.verified import WrongFileError

__all__ = [
    "FREYFACE_SPLIT_SEED",
    "IMAGE_SHAPE",
    "DataError",
    "Dataset",
    "Name",
    "Pixels",
    "WrongFileError",
    "available",
    "binarised",
    "fetch",
    "load",
]
