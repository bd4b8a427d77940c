"""A data set by its name: found or downloaded, verified, loaded."""

from pathlib import Path

from aevb import paths
from aevb.data import freyface, mnist
from aevb.data.dataset import Dataset, Name, Pixels, binarised
from aevb.data.download import Source, download
from aevb.data.verified import find

SOURCES: dict[Name, Source] = {"mnist": mnist.SOURCE, "freyface": freyface.SOURCE}


def load(name: Name, split: int = 0, pixels: Pixels = "grey") -> Dataset:
    """Find or download a data set, verify it and load it.

    ========  ==========  ===============  ========================  ===========
    name      train       validation       test                      grey level
    ========  ==========  ===============  ========================  ===========
    mnist     50,000×784  10,000×784       10,000×784                pixel / 255
    freyface  1,600×560   0×560            365×560                   pixel / 256
    ========  ==========  ===============  ========================  ===========

    MNIST keeps its order: validation is the last 10,000 of the 60,000 training images. Pixels are
    not thresholded: grey levels are Bernoulli targets.

    Frey Face is a video without an official split. It is shuffled by a seed that depends on
    `split`. Neighbouring frames are near-duplicates, so its test images are not independent of
    its training images.

    Args:
        name: `"mnist"` or `"freyface"`.
        split: number of the random split of Frey Face.
        pixels: `"grey"`, or `"binary"` for those of `binarised`.

    Raises:
        DataError: if a file has the wrong content, or is missing and cannot be downloaded.
        ValueError: if there is no such data set, or no such split of MNIST.
    """
    files = fetch(name)
    source = SOURCES[name]
    checksums = {file.name: file.sha256 for file in source.files}
    dataset = source.load(files, checksums, split)
    return binarised(dataset) if pixels == "binary" else dataset


def fetch(name: Name) -> list[Path]:
    """Find the files of a data set, and download those that are missing.

    Several processes may do so at once. A file gets its name only when it is complete and
    verified, so an interrupted download leaves nothing behind.

    Args:
        name: `"mnist"` (four files, 11.6 MB) or `"freyface"` (one, 1.1 MB).

    Returns:
        The path of each file, in `AEVB_DATA` or in `paths.data`.

    Raises:
        DataError: if a missing file cannot be downloaded.
        WrongFileError: if a file has the wrong content; it is left as it is. Or if `AEVB_DATA` is
            not a directory.
        ValueError: if there is no such data set.
    """
    if name not in SOURCES:
        raise ValueError(f"there is no data set {name!r}; there are {', '.join(SOURCES)}")
    found = {file: find(file) for file in SOURCES[name].files}
    missing = [file for file, path in found.items() if path is None]
    if missing:
        download(name, SOURCES[name], missing)
    return [path or paths.data() / file.name for file, path in found.items()]


def available() -> list[Name]:
    """The names of the data sets that are on this machine; downloads nothing.

    Raises:
        WrongFileError: if a file has the wrong content, or `AEVB_DATA` is not a directory.
    """
    return [name for name, source in SOURCES.items() if None not in map(find, source.files)]
