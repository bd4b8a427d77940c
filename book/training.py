"""What the page `train` loads: published curves and WebAssembly, and the digits to train on.

Two scripts, of which the page loads the digits when the reader starts. The same files give the same
bytes.
"""

import base64
import gzip
import json
from pathlib import Path
from typing import Any

import torch

from aevb import data, figures, paths
from aevb.files import atomic
from aevb.results import curves

# Where the page looks for them, below the root of the rendered book.
FOLDER = Path("_static", "train")
KERNELS = Path(__file__).resolve().parent / "kernels" / "kernels.wasm"

STUDY = "browser"
RUNS = ("n1000-aevb", "n5000-nz2-aevb")
N_TEST = 1000  # the column test_first1000
ACROSS = 15  # images across the manifold


def published() -> dict[str, Any]:
    """Each run's configuration, and the curves of its seeds, in nats per datapoint."""
    found = {}
    for name in RUNS:
        if seeds := curves.seeds(STUDY, f"{name}-seed0"):
            found[name] = {
                "configuration": seeds[0].configuration,
                "curves": [
                    {
                        "seed": curve.seed,
                        "samples": curve.table.samples.tolist(),
                        "train": curve.table.train.round(3).tolist(),
                        "test": curve.table.test_first1000.round(3).tolist(),
                    }
                    for curve in seeds
                ],
            }
    return found


def content() -> dict[str, Any]:
    """What the page knows before the reader starts."""
    return {
        "runs": published() if "mnist" in data.available() else {},
        "wasm": base64.b64encode(KERNELS.read_bytes()).decode(),
        "across": ACROSS,
        "grid": figures.prior_grid(ACROSS).flatten().tolist(),
    }


def digits(n_train: int) -> dict[str, Any]:
    """The first training and test digits of MNIST: bytes, gzipped, in base64."""
    mnist = data.load("mnist")
    assert mnist.train_labels is not None
    assert mnist.test_labels is not None
    images = torch.cat([mnist.train[:n_train], mnist.test[:N_TEST]])
    labels = torch.cat([mnist.train_labels[:n_train], mnist.test_labels[:N_TEST]])
    pixels = (images * 255).round().to(torch.uint8).numpy().tobytes()
    return {
        "train": n_train,
        "test": N_TEST,
        "images": base64.b64encode(gzip.compress(pixels, mtime=0)).decode(),
        "labels": base64.b64encode(labels.to(torch.uint8).numpy().tobytes()).decode(),
    }


def write(html: Path) -> None:
    """Write the scripts below the root of the rendered book."""
    known = content()
    scripts = {"curves.js": f"window.aevbTraining = {json.dumps(known)};\n"}
    if known["runs"]:
        most = max(run["configuration"]["n_train"] for run in known["runs"].values())
        scripts["digits.js"] = f"window.aevbDigits = {json.dumps(digits(most))};\n"
    for name, text in scripts.items():
        with atomic(html / FOLDER / name) as temporary:
            temporary.write_text(text)


if __name__ == "__main__":
    write(paths.root() / "book" / "_build" / "html")
