"""The final models of Figure 3 under other readings than those of its curves."""

import hashlib
import math

import numpy as np
import pytest
import torch
from torch import Tensor

from aevb import curves, experiments, models, paths, readings
from aevb.networks import Architecture, Initialisation, Model, initial_parameters, load_replicate
from aevb.randomness import generator


def small_model() -> Model:
    """A decoder of 12 pixels with weights large enough to say something."""
    architecture = Architecture(12, 7, 3, "bernoulli")
    model = Model([architecture])
    values = initial_parameters(architecture, Initialisation(std=1.0), generator(0, "start"))
    load_replicate(dict(model.named_parameters()), 0, values)
    return model.requires_grad_(False)


def images(rows: int) -> Tensor:
    return torch.rand(rows, 12, generator=torch.Generator().manual_seed(0)).round()


def test_several_chains_never_read_lower_than_one_and_nothing_is_left_to_chance() -> None:
    decoder = small_model().decoder
    found = readings.of(decoder, images(8), "test")
    assert list(found) == [
        *("appendix_d", "appendix_d_last_half", "mispaired", "one_chain", "four_chains")
    ]
    assert found["four_chains"] >= found["one_chain"]
    assert found["appendix_d"] == pytest.approx(found["four_chains"], abs=0.5)
    assert readings.of(decoder, images(8), "test") == found
    assert readings.of(decoder, images(8), "another")["appendix_d"] != found["appendix_d"]


def test_of_one_image_every_reading_is_of_that_image() -> None:
    found = readings.of(small_model().decoder, images(1), "test")
    assert found["mispaired"] == pytest.approx(found["appendix_d"])
    assert found["appendix_d_last_half"] == found["appendix_d"]
    assert math.isfinite(found["one_chain"])


def test_without_models_or_a_table_it_says_so(project: object) -> None:
    with pytest.raises(FileNotFoundError, match=r"no models of Figure 3 .*: run this in a"):
        readings.write()
    with pytest.raises(FileNotFoundError, match=r"no readings at .*`aevb readings` makes them"):
        readings.read()


def test_the_published_readings_are_of_every_run_and_of_the_models_that_are_there() -> None:
    table, files = readings.read(), readings.final_models()
    about = curves.read_manifest(readings.table())
    assert about["models_sha256"] == {
        file.stem: hashlib.sha256(file.read_bytes()).hexdigest() for file in files
    }
    seeds = {file.stem.rpartition("seed")[2] for file in files}
    assert len(seeds) == 1
    runs = [run.name for run in experiments.figure3(int(seeds.pop()))]
    assert sorted(zip(table.run, table.split, strict=True)) == sorted(
        (run, split) for run in runs for split in ("train", "test")
    )
    assert not about["commit"].endswith("-dirty")


def test_a_model_of_figure3_is_the_end_of_its_published_curve() -> None:
    for file in readings.final_models():
        curve = paths.curve(paths.published(), "figure3", file.stem)
        assert models.read(file)[1] == curves.read_manifest(curve)


def test_the_published_readings_agree_with_the_curves() -> None:
    """Other chains, weights in half precision: half a nat apart at most, on average less."""
    table = readings.read()
    apart = []
    for row in table.itertuples():
        end = curves.read(paths.curve(paths.published(), "figure3", str(row.run))).iloc[-1]
        assert row.samples == end.samples
        apart += [
            row.appendix_d - end[str(row.split)],
            row.one_chain - end[f"{row.split}_accurate"],
        ]
    assert np.abs(apart).max() < 0.5
    assert np.abs(np.mean(apart)) < 0.1
    assert (table.four_chains >= table.one_chain).all()
    assert (table.mispaired - table.appendix_d_last_half).between(-1.2, -0.5).all()
