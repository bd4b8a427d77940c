"""A data set in memory."""

import math
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor

Name = Literal["mnist", "freyface"]
Pixels = Literal["grey", "binary"]

IMAGE_SHAPE = {"mnist": (28, 28), "freyface": (28, 20)}
"""Rows and columns of an image."""


class DataError(RuntimeError):
    """A data file is missing or wrong; the message says which, and what to do."""


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set in memory: images flattened row by row, grey levels in [0, 1].

    Attributes:
        name: `"mnist"` or `"freyface"`.
        train: training images, float32, `(n_train, pixels)`.
        validation: validation images, `(n_validation, pixels)`; may have no rows.
        test: test images, `(n_test, pixels)`.
        image_shape: `(rows, columns)` of an image.
        train_labels: class of each training image, int64, `(n_train,)`; None without labels.
        validation_labels: the same for `validation`.
        test_labels: the same for `test`.
        checksums: SHA-256 of each file of the data set, in hexadecimal, by file name.
        pixels: `"grey"`, or `"binary"` after `binarised`.
        split: number of the random split of Frey Face; 0 for MNIST.

    Raises:
        DataError: if there are no training images, or images are not finite floats of that shape.
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
    """The data set in black and white: a pixel is white with probability its grey level.

    Each pixel is drawn once, the same way for every run.
    """
    generator = torch.Generator().manual_seed(0)
    train, validation, test = (
        torch.bernoulli(images, generator=generator)
        for images in (dataset.train, dataset.validation, dataset.test)
    )
    return replace(dataset, train=train, validation=validation, test=test, pixels="binary")
