"""Studies beside the paper's curves."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from aevb.comparison import studies
from aevb.comparison.pairs import difference
from aevb.results import curves
from aevb.training import experiments

RUN = experiments.figure2_run("freyface", 10, "wake-sleep")


def test_the_values_of_all_seeds_that_reach_a_number_of_samples() -> None:
    panel = (RUN.dataset, RUN.nz, RUN.algorithm)
    values = studies.values_at("figure2", *panel, 1e6, "test")
    found = studies.seeds("figure2", *panel)
    assert values == [curve.value_at(1e6, "test") for curve in found.values()]
    assert RUN.name in found
    assert studies.values_at("figure2", *panel, 1e12, "test") == []


def test_seeds_are_told_as_their_mean_and_range() -> None:
    assert studies.spread([]) == "–"
    assert studies.spread([-1.25]) == "−1.2 (one seed)"
    assert studies.spread([1.0, -2.0], "+") == "−0.5 (−2.0 to +1.0)"


def test_gaps_from_the_paper_agree_with_the_difference_of_the_two_curves() -> None:
    curve = curves.published("figure2", RUN.name)
    on_train, on_test = (difference(curve, RUN, split, 1e6) for split in ("train", "test"))
    assert np.allclose(studies.from_paper("figure2", RUN, 1e6)[0], (on_train, on_test))
    found = studies.by_step_size(RUN, 1e6)
    (row,) = found[(found.seed == "0") & (found.step == curve.step_size)].itertuples()
    assert (row.gap, row.test) == (on_train, on_test)


def test_the_first_points_compare_like_with_like() -> None:
    found = studies.first_points(RUN)
    assert set(found["warm-up"]) <= {0, 100}
    assert set(found.step) <= {0.01, 0.02}
    assert RUN.name in set(found.name[found["warm-up"] == 100])


@pytest.mark.parametrize(("bounds", "left"), [([577, 578], math.nan), ([577, 600, 578], 2.0)])
def test_a_run_has_left_the_plateau_once_it_is_above_it(bounds: list[float], left: float) -> None:
    curve = curves.published("figure2", RUN.name)
    table = pd.DataFrame({"samples": range(1, len(bounds) + 1), "train_running": bounds})
    assert studies.left_plateau(replace(curve, table=table)) == pytest.approx(left, nan_ok=True)


def test_the_papers_plateau_is_as_high_as_one_gaussian_for_each_pixel() -> None:
    for nz in experiments.NZ["freyface"]:
        assert np.abs(studies.plateau(nz, "train") - studies.PLATEAU).max() < 5
