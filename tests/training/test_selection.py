"""The choice of step sizes from the curves of their candidates."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from published import write_curve
from tiny import curve

from aevb import paths
from aevb.errors import ConfigurationError
from aevb.results import curves
from aevb.training import experiments, selection
from aevb.training.run import SELECTION, Run

RUN = experiments.figure2_run("mnist", 20, "aevb")
PAPERS = [*experiments.figure2(), *experiments.figure3()]


def put(scores: dict[float, float], *, ends: int | None = None, run: Run = RUN) -> None:
    """Curves of a run's candidates: the score where they are compared, and others around it."""
    at = experiments.stopping_point(run, experiments.selection_samples(run))
    for candidate in experiments.candidates(run):
        step_size = candidate.step_size
        values = {100: -500.0, at: scores[step_size], 10 * at: -500.0 * step_size}
        rows = [
            {"samples": samples, "train_running": value}
            for samples, value in values.items()
            if samples <= (ends or math.inf)
        ]
        write_curve(curve(candidate), rows)


def diverge(candidate: Run, *values: float) -> None:
    """A curve that ends in these values, before candidates are compared."""
    rows = [{"samples": 100 * k, "train_running": v} for k, v in enumerate(values, 1)]
    write_curve(curve(candidate), rows, diverged=True)


def test_scores_are_the_running_bounds_where_candidates_are_compared(project: Path) -> None:
    put({0.01: -150.0, 0.02: -140.0, 0.1: -145.0})
    found = selection.scores(paths.local(), RUN)
    assert found == {0.01: -150.0, 0.02: -140.0, 0.1: -145.0}
    assert selection.chosen(found) == 0.02
    assert selection.scores(paths.local(), replace(RUN, seed=5)) == found
    put({0.01: -139.0, 0.02: -140.0, 0.1: -145.0})
    assert selection.chosen(selection.scores(paths.local(), RUN)) == 0.01
    frey = experiments.figure2_run("freyface", 2, "wake-sleep")
    put({0.01: -10.0, 0.02: 500.0, 0.1: 700.0}, run=frey)
    assert selection.chosen(selection.scores(paths.local(), frey)) == 0.1


def test_a_candidate_that_diverged_has_no_score_and_is_not_chosen(project: Path) -> None:
    put({0.01: -150.0, 0.02: math.inf, 0.1: math.nan})
    expected = {0.01: -150.0, 0.02: None, 0.1: None}
    assert selection.scores(paths.local(), RUN) == expected
    assert selection.chosen(expected) == 0.01
    for candidate, last in zip(experiments.candidates(RUN)[1:], (math.nan, -9e9), strict=True):
        diverge(candidate, -500.0, last)
    assert selection.scores(paths.local(), RUN) == expected


def test_where_all_candidates_diverged_none_is_chosen(project: Path) -> None:
    for candidate in experiments.candidates(RUN):
        diverge(candidate, -500.0, math.nan)
    found = selection.scores(paths.local(), RUN)
    assert found == {0.01: None, 0.02: None, 0.1: None}
    with pytest.raises(ConfigurationError, match=r"0\.01, 0\.02, 0\.1 "):
        selection.chosen(found)


def test_a_curve_that_ends_early_names_the_command_that_continues_it(project: Path) -> None:
    put({0.01: -150.0, 0.02: -140.0, 0.1: -145.0}, ends=100)
    end = experiments.stopping_point(RUN, 2_350_000)
    continues = rf"`aevb run {RUN.name}-step0\.01 --budget {end}`"
    with pytest.raises(ConfigurationError, match=rf"step0\.01\.csv .*{continues}"):
        selection.scores(paths.local(), RUN)


def test_a_curve_that_is_missing_names_the_command_that_makes_it(project: Path) -> None:
    put({0.01: -150.0, 0.02: -140.0, 0.1: -145.0})
    curve(experiments.candidates(RUN)[1]).unlink()
    with pytest.raises(FileNotFoundError, match=rf"aevb run {RUN.name}-step0\.02 --study step-"):
        selection.scores(paths.local(), RUN)


def published(candidate: Run) -> Path:
    return paths.curve(paths.published(), candidate.study, candidate.name)


PUBLISHED = [
    run for run in PAPERS if all(published(c).exists() for c in experiments.candidates(run))
]


def test_every_published_choice_is_that_of_the_rule() -> None:
    for run in PUBLISHED:
        for candidate in experiments.candidates(run):
            manifest = curves.read_manifest(published(candidate))
            assert manifest["configuration"] == candidate.configuration
        assert selection.chosen(selection.scores(paths.published(), run)) == run.step_size


def test_every_step_size_that_was_chosen_has_published_curves() -> None:
    """And is of a run of the paper's figures."""
    known = {(run.n_train or run.dataset, run.nz, run.algorithm) for run in PUBLISHED}
    assert experiments.STEP_SIZES.keys() <= known


def test_candidates_are_published_together_and_with_nothing_else() -> None:
    there = paths.curves(paths.published(), SELECTION).glob("*.csv")
    assert {*there} == {published(c) for run in PUBLISHED for c in experiments.candidates(run)}
