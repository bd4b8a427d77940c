"""The final models of Figure 3, estimated by other estimators than those of its curves."""

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from aevb import data, paths
from aevb.comparison import reestimates
from aevb.data import Dataset
from aevb.errors import DamagedFileError
from aevb.inference.hmc import Joint
from aevb.inference.likelihood import (
    appendix_d,
    importance_sampled,
    mispaired_rows,
    sample_posterior,
    starting_points,
)
from aevb.model.networks import Architecture, Initialisation, Model, initialised
from aevb.model.randomness import generator
from aevb.results import curves, models
from aevb.training import experiments, job


def small_model() -> Model:
    """A decoder of 12 pixels with weights large enough to say something."""
    sizes = Architecture(12, 7, 3, "bernoulli")
    return initialised(sizes, Initialisation(std=1.0), generator(0, "start")).requires_grad_(False)


def images(rows: int) -> Tensor:
    return torch.rand(rows, 12, generator=torch.Generator().manual_seed(0)).round()


def test_several_chains_never_estimate_lower_than_one_and_nothing_is_left_to_chance() -> None:
    decoder = small_model().decoder
    found = reestimates.estimate(decoder, images(8), "test")
    assert list(found) == [
        *("appendix_d", "appendix_d_last_half", "mispaired", "one_chain", "four_chains")
    ]
    assert found["four_chains"] >= found["one_chain"]
    assert found["appendix_d"] == pytest.approx(found["four_chains"], abs=0.5)
    assert reestimates.estimate(decoder, images(8), "test") == found
    assert reestimates.estimate(decoder, images(8), "another")["appendix_d"] != found["appendix_d"]


def test_every_estimate_of_one_image_is_of_that_image() -> None:
    found = reestimates.estimate(small_model().decoder, images(1), "test")
    assert found["mispaired"] == pytest.approx(found["appendix_d"])
    assert found["appendix_d_last_half"] == found["appendix_d"]
    assert math.isfinite(found["one_chain"])


def test_without_models_or_a_table_it_says_so(project: object) -> None:
    with pytest.raises(FileNotFoundError, match=r"no models of Figure 3 .*: run this in a"):
        reestimates.write()
    told = r"no estimates at .*figure3\.csv: run this in a .*`aevb reestimate`"
    with pytest.raises(FileNotFoundError, match=told):
        reestimates.read()
    paths.reestimates().parent.mkdir(parents=True)
    paths.reestimates().write_text("")
    with pytest.raises(DamagedFileError, match=r"figure3\.csv cannot be read .*`aevb reestimate`"):
        reestimates.read()


def test_the_published_estimates_are_of_every_run_and_of_the_models_that_are_there() -> None:
    table, files = reestimates.read(), reestimates.final_models()
    about = json.loads(paths.reestimates().with_suffix(".json").read_text())
    assert about["models_sha256"] == {
        file.stem: hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }
    (seed,) = {models.manifest(file)["configuration"]["seed"] for file in files}
    runs = [run.name for run in experiments.figure3(seed)]
    assert sorted(zip(table.run, table.split, strict=True)) == sorted(
        (run, split) for run in runs for split in ("train", "test")
    )
    assert not about["commit"].endswith("-dirty")


def test_a_model_of_figure3_is_the_end_of_its_published_curve() -> None:
    for file in reestimates.final_models():
        made_by = models.read(file)[1]
        today = {"configuration": curves.configuration(made_by)}
        assert made_by | today == curves.published("figure3", file.stem).manifest


def test_the_published_estimates_agree_with_the_curves() -> None:
    """Other chains, weights in half precision: half a nat apart at most, on average less."""
    table = reestimates.read()
    apart = []
    for row in table.itertuples():
        end = curves.published("figure3", str(row.run)).table.iloc[-1]
        assert row.samples == end.samples
        apart += [
            row.appendix_d - end[str(row.split)],
            row.one_chain - end[f"{row.split}_accurate"],
        ]
    assert np.abs(apart).max() < 0.5
    assert np.abs(np.mean(apart)) < 0.1
    assert (table.four_chains >= table.one_chain).all()
    assert (table.mispaired - table.appendix_d_last_half).between(-1.2, -0.5).all()


def test_every_estimate_is_the_mean_over_four_chains() -> None:
    decoder, x, chains = small_model().decoder, images(8), []
    for k in range(4):
        joint, noise = Joint(decoder, x), generator(k, "readings: test")
        samples = sample_posterior(joint, starting_points(joint, noise), noise)
        values = (
            appendix_d(samples),
            mispaired_rows(samples),
            importance_sampled(joint, samples, noise, n_samples=50),
        )
        chains.append([value.double() for value in values])
    proper, mispaired, sampled = (torch.stack(values) for values in zip(*chains, strict=True))
    assert reestimates.estimate(decoder, x, "test") == pytest.approx(
        {
            "appendix_d": proper.mean().item(),
            "appendix_d_last_half": proper[:, 4:].mean().item(),
            "mispaired": mispaired.mean().item(),
            "one_chain": sampled.mean().item(),
            "four_chains": sampled.exp().mean(0).log().mean().item(),
        }
    )


def test_the_rows_of_a_model_are_of_its_training_and_of_the_test_images(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mnist = Dataset("mnist", images(9), images(0), 1 - images(6), (3, 4))
    monkeypatch.setattr(data, "load", lambda _: mnist)
    run = replace(experiments.figure3_run(9, "aevb"), n_hidden=4)
    parameters = job.start(run, mnist).state()["parameters"]
    model = paths.model(paths.published(), "figure3", run.name)
    models.write(model, parameters, {"samples": 100, "configuration": run.configuration})
    seen: dict[str, Tensor] = {}

    def estimate(_: Any, x: Tensor, purpose: str) -> dict[str, float]:
        seen[purpose] = x
        return {"appendix_d": x.sum().item()}

    monkeypatch.setattr(reestimates, "estimate", estimate)
    table = pd.read_csv(reestimates.write()).set_index("split").appendix_d
    assert set(seen) == {f"{run.name} train", f"{run.name} test"}
    assert table["train"] == pytest.approx(mnist.train.sum().item(), rel=1e-5)
    assert table["test"] == pytest.approx(mnist.test.sum().item(), rel=1e-5)


def test_the_inferred_reading_lowers_every_published_curve() -> None:
    found = reestimates.against_paper()
    assert len(found) == len(reestimates.read())
    np.testing.assert_allclose(found.half + found.pairing, found["shift"], atol=1e-9)
    np.testing.assert_allclose(found.ours - found.paper + found["shift"], found.corrected)
    assert (found["shift"] < 0).all()
    assert (found.spread > 0).all()
