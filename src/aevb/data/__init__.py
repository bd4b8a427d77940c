"""MNIST and Frey Face: where the bytes come from, how they are checked, scaled and split.

A file is looked for in this order:

1. the directory that the environment variable `AEVB_DATA` names: read in place, never written;
2. the project's own data directory, `paths.data`;
3. the mirrors, whose file lands in `paths.data`.

Whichever way it came, a file is used only if its SHA-256 is the one recorded here. So all runs
learn from the same bytes, and a mirror need not be trusted. Of MNIST's files, which are compressed,
that of the content may be it instead: unpacked files, and those compressed anew, are as good.
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
