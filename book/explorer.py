"""The data of the pages `explorer` and `autoencoder`: stored models and images, a script for each.

A script and not a data file, since a page opened from a disk may load the one and not the other.
The same models and images give the same bytes.
"""

import base64
import json
from pathlib import Path
from typing import Any

import torch
from scipy.stats import chi
from torch import Tensor

from aevb import data, paths
from aevb.files import atomic
from aevb.model.networks import Affine, BernoulliDecoder, GaussianDecoder, Model
from aevb.results import models

# Where the pages look for them, below the root of the rendered book.
SCRIPT = Path("_static", "explorer", "data.js")
AUTOENCODER = Path("_static", "explorer", "autoencoder-data.js")

# Of the two-dimensional plane, of the sliders.
MNIST, FACES, TEN = "mnist-nz2-aevb-seed0", "freyface-nz2-aevb-seed0", "mnist-nz10-aevb-seed0"
POINTS = 2000  # encoded images behind the plane, at most
FEWER_POINTS = 500  # the same of the auto-encoder
EACH = 3  # images of every digit to interpolate between


def packed(values: Tensor, kind: str) -> str:
    """Base64 of `values`, little-endian: kind f2 for half precision, u1 for bytes."""
    return base64.b64encode(values.numpy().astype(f"<{kind}").tobytes()).decode()


def decoder(model: Model, manifest: dict[str, Any]) -> dict[str, Any]:
    """The two layers of a decoder mean: z W + b, tanh, h W + b, sigmoid."""
    network = model.decoder
    assert isinstance(network, BernoulliDecoder | GaussianDecoder)
    layers = [
        network.hidden,
        network.logits if isinstance(network, BernoulliDecoder) else network.mean,
    ]
    dataset = manifest["configuration"]["dataset"]
    rows, columns = data.IMAGE_SHAPE[dataset]
    return {
        "name": manifest["name"],
        "samples": manifest["samples"],
        "dataset": dataset,
        "nz": model.nz,
        "hidden": layers[0].bias.numel(),
        "rows": rows,
        "columns": columns,
        "layers": [
            {"weight": packed(one.weight.detach(), "f2"), "bias": packed(one.bias.detach(), "f2")}
            for one in layers
        ],
    }


@torch.no_grad()
def encoded(model: Model, images: Tensor) -> str:
    """Means of q(z|x), row by row."""
    return packed(model.encoder(images).mean, "f2")


def chosen(labels: Tensor) -> list[int]:
    """The first few test images of every digit, digits in columns."""
    by_digit = [torch.nonzero(labels == digit)[:EACH, 0].tolist() for digit in range(10)]
    return [index for row in zip(*by_digit, strict=True) for index in row]


def test_digits(mnist: data.Dataset) -> dict[str, Any]:
    """The `chosen` test images of MNIST."""
    assert mnist.test_labels is not None
    pick = chosen(mnist.test_labels)
    return {
        "index": pick,
        "labels": mnist.test_labels[pick].tolist(),
        "images": packed((mnist.test[pick] * 255).round(), "u1"),
    }


def content() -> dict[str, Any]:
    """All that the page knows: published models and, where the data sets are here, images."""
    stored = {
        name: models.read(file)
        for name in (MNIST, FACES, TEN)
        if (file := models.stored(name, local=False))
    }
    networks = {name: model for name, (model, _) in stored.items()}
    found: dict[str, Any] = {
        "models": {name: decoder(*one) for name, one in stored.items()},
        # the norm of z under the prior lies between these with probability 0.9
        "norms": {key: chi.ppf([0.05, 0.95], one.nz).tolist() for key, one in networks.items()},
        "points": {},
        "digits": None,
    }
    here = data.available()
    digits = [name for name in (MNIST, TEN) if name in networks]
    if "mnist" in here and digits:
        mnist = data.load("mnist")
        assert mnist.test_labels is not None
        labels = mnist.test_labels
        for name in digits:
            z = encoded(networks[name], mnist.test[:POINTS])
            found["points"][name] = {"z": z, "labels": packed(labels[:POINTS], "u1")}
        found["digits"] = test_digits(mnist) | {
            "rows": mnist.image_shape[0],
            "columns": mnist.image_shape[1],
            "z": {name: encoded(networks[name], mnist.test[chosen(labels)]) for name in digits},
        }
    if "freyface" in here and FACES in networks:
        faces = data.load("freyface").test
        found["points"][FACES] = {"z": encoded(networks[FACES], faces)}
    return found


def autoencoder() -> dict[str, Any]:
    """Encoder and decoder with two dimensions, and test images, where both are there."""
    file = models.stored(MNIST, local=False)
    if file is None or "mnist" not in data.available():
        return {"model": None, "digits": None}
    model, _ = models.read(file)
    assert isinstance(model.decoder, BernoulliDecoder)
    layers = {
        f"{part}.{name}": {"weight": packed(layer.weight.detach() * layer.factor, "f2")}
        | {"bias": packed(layer.bias.detach(), "f2")}
        for part, network in (("encoder", model.encoder), ("decoder", model.decoder))
        for name, layer in network.named_children()
        if isinstance(layer, Affine)
    }
    mnist = data.load("mnist")
    assert mnist.test_labels is not None
    return {
        "model": {"name": MNIST, "nz": model.nz, "layers": layers},
        "digits": test_digits(mnist),
        "points": {
            "z": encoded(model, mnist.test[:FEWER_POINTS]),
            "labels": packed(mnist.test_labels[:FEWER_POINTS], "u1"),
        },
    }


def write(html: Path) -> Path:
    """Write the scripts below the root of the rendered book; returns that of the explorer."""
    scripts = {
        SCRIPT: f"window.aevbExplorerData = {json.dumps(content())};\n",
        AUTOENCODER: f"window.aevbAutoencoderData = {json.dumps(autoencoder())};\n",
    }
    for name, text in scripts.items():
        with atomic(html / name) as temporary:
            temporary.write_text(text)
    return html / SCRIPT


if __name__ == "__main__":
    print(write(paths.root() / "book" / "_build" / "html"))
