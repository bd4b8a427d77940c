"""The final models of Figure 3 under other readings than those of its curves."""

import math

import pytest
import torch
from torch import Tensor

from aevb import readings
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
