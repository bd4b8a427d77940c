"""A data set by its name: found or downloaded, verified, loaded."""

from pathlib import Path

from aevb import paths
from aevb.data import freyface, mnist
from aevb.data.dataset import Dataset, Name, Pixels, binarised
from aevb.data.download import Source, download
from aevb.data.verified import find

SOURCES: dict[Name, Source] = {"mnist": mnist.SOURCE, "freyface": freyface.SOURCE}


def load(name: Name, split: int = 0, pixels: Pixels = "grey") -> Dataset:
    """Find or download a data set, verify its files, and load it.

    ========  ==========  ===============  ========================  ===========
    name      train       validation       test                      grey level
    ========  ==========  ===============  ========================  ===========
    mnist     50,000×784  10,000×784       10,000×784                pixel / 255
    freyface  1,600×560   0×560            365×560                   pixel / 256
    ========  ==========  ===============  ========================  ===========

    MNIST keeps its canonical order: validation is the last 10,000 of the 60,000 training images.
    No pixel is thresholded: the greys between 0 and 1 stay, and serve as Bernoulli targets.

    Frey Face is a video, in which neighbouring images are near-duplicates, and has no official
    split: it is shuffled first, by a seed that depends on `split`. So its test images are not
    independent of its training images, and a low test error there shows little.

    Args:
        name: `"mnist"` or `"freyface"`.
        split: Which random split of Frey Face.
        pixels: `"grey"`, or `"binary"` for those of `binarised`.

    Returns:
        The data set, on the CPU.

    Raises:
        DataError: A file is wrong, or missing and cannot be downloaded.
        ValueError: There is no data set of that name, or MNIST is asked for another split.
    """
    files = fetch(name)
    source = SOURCES[name]
    checksums = {file.name: file.sha256 for file in source.files}
    dataset = source.load(files, checksums, split)
    return binarised(dataset) if pixels == "binary" else dataset


def fetch(name: Name) -> list[Path]:
    """Make sure that the verified files of a data set are there, downloading those that are not.

    Several processes may do so at once: a file appears under its name only when it is complete
    and verified, and then all at once. An interrupted download leaves nothing behind.

    Args:
        name: `"mnist"` (four files, 11.6 MB) or `"freyface"` (one, 1.1 MB).

    Returns:
        The path of each file, in `AEVB_DATA` or in `paths.data`.

    Raises:
        DataError: A file that is missing could not be downloaded.
        WrongFileError: A file that is there is wrong (it is left alone), or `AEVB_DATA` is no
            directory.
        ValueError: There is no data set of that name.
    """
    if name not in SOURCES:
        raise ValueError(f"there is no data set {name!r}; there are {', '.join(SOURCES)}")
    found = {file: find(file) for file in SOURCES[name].files}
    missing = [file for file, path in found.items() if path is None]
    if missing:
        download(name, SOURCES[name], missing)
    return [path or paths.data() / file.name for file, path in found.items()]


def available() -> list[Name]:
    """Return the names of the data sets whose verified files are already there.

    Downloads nothing and writes nothing.

    Raises:
        WrongFileError: A file is there but is wrong, or `AEVB_DATA` is no directory: to report
            that as absence would hide it.
    """
    return [name for name, source in SOURCES.items() if None not in map(find, source.files)]
