"""Estimates of log p(x) for the final models of Figure 3, by other estimators than its curves' own.

This takes minutes, so the result is kept as a table.
"""

import hashlib
import math
from io import BytesIO
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from aevb import data, paths
from aevb.comparison import tables
from aevb.files import reading
from aevb.inference.hmc import Joint
from aevb.inference.likelihood import (
    appendix_d,
    importance_sampled,
    mispaired_rows,
    sample_posterior,
    starting_points,
)
from aevb.model.networks import Decoder
from aevb.model.randomness import generator
from aevb.results import curves, models, provenance

CHAINS = 4
DRAWS = 50


def estimate(decoder: Decoder, images: Tensor, purpose: str) -> dict[str, float]:
    """Mean log p(x) of images by several estimators, from four HMC chains for each image.

    Args:
        decoder: p(x|z).
        images: `(rows, pixels)`.
        purpose: names the random streams; chain k has seed k.

    Returns:
        In nats per datapoint, means over the chains: `appendix_d`; `appendix_d_last_half`, the same
        over the later half of the images; `mispaired`, see `likelihood.mispaired_rows`; and
        `one_chain`, importance sampling with 50 draws. `four_chains` averages p(x) over the chains
        before the logarithm, in case a chain has missed a mode.
    """
    later = len(images) // 2
    joint = Joint(decoder, images)
    proper, mispaired, sampled = [], [], []
    for k in range(CHAINS):
        # Another name of the stream would change the published numbers.
        noise = generator(k, f"readings: {purpose}")
        samples = sample_posterior(joint, starting_points(joint, noise), noise)
        proper.append(appendix_d(samples))
        mispaired.append(mispaired_rows(samples))
        sampled.append(importance_sampled(joint, samples, noise, n_samples=DRAWS))
    together = torch.logsumexp(torch.stack(sampled), 0) - math.log(CHAINS)
    values = {
        "appendix_d": torch.stack(proper),
        "appendix_d_last_half": torch.stack(proper)[:, later:],
        "mispaired": torch.stack(mispaired),
        "one_chain": torch.stack(sampled),
        "four_chains": together,
    }
    return {name: value.double().mean().item() for name, value in values.items()}


def final_models() -> list[Path]:
    """The published models of Figure 3."""
    return sorted(paths.models(paths.published(), "figure3").glob("*.safetensors"))


def write() -> Path:
    """Estimate every published model of Figure 3 on the first 1000 training and test images.

    Returns:
        The table: a row per `run` and `split`, with what `estimate` returns; a manifest beside it.

    Raises:
        FileNotFoundError: if there is no model.
    """
    files = final_models()
    if not files:
        raise FileNotFoundError(f"no models of Figure 3 in {paths.published()}: {curves.CHECKOUT}")
    torch.set_flush_denormal(True)  # as in training
    mnist = data.load("mnist")
    rows = []
    for file in files:
        model, manifest = models.read(file)
        decoder = model.requires_grad_(False).decoder
        for split, images in {"train": mnist.train, "test": mnist.test}.items():
            values = estimate(decoder, images[:1000], f"{file.stem} {split}")
            rows.append({"run": file.stem, "split": split, "samples": manifest["samples"]} | values)
    about = {
        "command": "aevb reestimate",
        "models_sha256": {f.stem: hashlib.sha256(f.read_bytes()).hexdigest() for f in files},
        "seeds": list(range(CHAINS)),
        **provenance.maker(torch.device("cpu")),
        "data_sha256": mnist.checksums,
        "unit": "nats per datapoint",
    }
    curves.write(paths.reestimates(), rows, about)
    return paths.reestimates()


def read() -> pd.DataFrame:
    """The table that `write` made.

    Raises:
        FileNotFoundError: outside a checkout of the project.
        DamagedFileError: if it cannot be read.
    """
    file = paths.reestimates()
    if not file.exists():
        raise FileNotFoundError(
            f"no estimates at {file}: {curves.CHECKOUT}; there `aevb reestimate` makes it again"
        )
    content = curves.verified(file, "`aevb reestimate` makes it again")
    with reading(file, "`aevb reestimate` makes it again"):
        return pd.read_csv(BytesIO(content))


def against_paper() -> pd.DataFrame:
    """Ours minus the paper's at the end of Figure 3, as published and by the inferred reading.

    The inferred reading is `likelihood.mispaired_rows`: what the paper's code seems to compute.

    Returns:
        One row per `run` and `split` of `read`, in nats per datapoint. The columns of
        `tables.final_differences`, with `difference`, ours minus the paper's; `spread`, the SD over
        seeds; what the inferred reading adds to ours: `half`, since it has the later half of the
        images only, `pairing`, since it pairs the wrong draws, and `shift`, their sum; `corrected`,
        `difference` plus `shift`; and `missed`, four chains minus one.
    """
    ends = tables.final_differences("figure3")
    spread = tables.over_seeds(ends)[["curve", "split", "spread"]]
    found = ends.merge(read().drop(columns="samples"), on=["run", "split"])
    found = found.merge(spread, on=["curve", "split"])
    found["half"] = found.appendix_d_last_half - found.appendix_d
    found["pairing"] = found.mispaired - found.appendix_d_last_half
    found["shift"] = found.mispaired - found.appendix_d
    found["corrected"] = found.difference + found["shift"]
    found["missed"] = found.four_chains - found.one_chain
    return found
