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
    """A data file is missing, wrong or out of reach; the message says which, and what to do."""


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
