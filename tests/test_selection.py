"""The choice of step sizes: which runs are its candidates, and what their curves say."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from published import write_curve

from aevb import paths
from aevb.errors import ConfigurationError
from aevb.results import curves
from aevb.training import experiments, selection
from aevb.training.experiments import Run

RUN = experiments.figure2_run("mnist", 20, "aevb")
PAPERS = [*experiments.figure2(), *experiments.figure3()]
# By the keys of `experiments.STEP_SIZES`.
NAMES = {(run.n_train or run.dataset, run.nz, run.algorithm): run for run in PAPERS}


def curve(candidate: Run) -> Path:
    return paths.curve(paths.local(), candidate.study, candidate.name)


def put(scores: dict[float, float], *, ends: int | None = None, run: Run = RUN) -> None:
    """Curves of a run's candidates: the score where they are compared, and others around it."""
    at = experiments.end_of(run, experiments.selection_samples(run))
    for candidate in experiments.candidates(run):
        values = {
            100: -500.0,
            at: scores[candidate.step_size],
            10 * at: -500.0 * candidate.step_size,
        }
        rows = [
            {"samples": samples, "train_running": value, "test": -1.0}
            for samples, value in values.items()
            if samples <= (ends or math.inf)
        ]
        write_curve(curve(candidate), rows)


def diverge(candidate: Run, *values: float) -> None:
    """A curve that ends in these values, before candidates are compared."""
    rows = [{"samples": 100 * k, "train_running": v} for k, v in enumerate(values, 1)]
    write_curve(curve(candidate), rows, diverged=True)


@pytest.mark.parametrize("run", PAPERS, ids=lambda run: run.name)
def test_candidates_differ_from_their_run_in_step_size_alone(run: Run) -> None:
    found = experiments.candidates(run)
    assert [candidate.step_size for candidate in found] == [0.01, 0.02, 0.1]
    for candidate in found:
        own = {"study": "step-size-selection", "step_size": candidate.step_size}
        if run.algorithm != "mcem":
            own["measure"] = "lower_bound"
        assert candidate.configuration == run.configuration | own
        assert candidate.name == f"{run.name}-step{candidate.step_size}"


@pytest.mark.parametrize("name", ["freyface-nz5-wake-sleep", "n1000-aevb", "n50000-mcem"])
def test_every_seed_has_the_same_candidates(name: str) -> None:
    of_seed = {seed: experiments.paper_run(f"{name}-seed{seed}") for seed in (0, 3)}
    found = [experiments.candidates(run) for run in of_seed.values()]
    assert found[0] == found[1]
    assert {(candidate.seed, candidate.split) for candidate in found[0]} == {(0, 0)}
    assert experiments.candidates(found[0][2]) == found[0]


def test_other_settings_of_a_run_do_not_reach_its_candidates() -> None:
    """A step size is chosen for the run of the paper."""
    other = replace(RUN, study="other", prior=16.0, step_size=0.5)
    assert experiments.candidates(other) == experiments.candidates(RUN)


@pytest.mark.parametrize("run", PAPERS, ids=lambda run: run.name)
def test_the_name_of_a_candidate_says_which_run_it_is(run: Run) -> None:
    for candidate in experiments.candidates(run):
        for one in (candidate, replace(candidate, seed=3)):
            assert experiments.paper_run(one.name) == one
            assert experiments.parse(one.name) == one
            command = f"aevb run {one.name} --budget 2350000"
            assert experiments.command(one, 2_350_000) == command


def test_a_candidate_has_a_name_in_its_study_alone() -> None:
    candidate = experiments.paper_run("mnist-nz20-aevb-seed0-step0.02")
    assert candidate.study == experiments.SELECTION
    assert replace(candidate, study="other").name == RUN.name
    another = experiments.paper_run("mnist-nz20-aevb-seed0-step0.0005")
    assert another == replace(candidate, step_size=0.0005)


@pytest.mark.parametrize(
    "name",
    [
        *("mnist-nz20-aevb-seed0-step0.020", "mnist-nz20-aevb-seed0-step", "mnist-step0.02"),
        *("mnist-nz20-aevb-seed0-step0.0", "mnist-nz20-aevb-seed0-step0.02-step0.01"),
    ],
)
def test_a_wrong_name_of_a_candidate_is_refused(name: str) -> None:
    """Two names of one run would make two curves of it."""
    with pytest.raises(ConfigurationError):
        experiments.paper_run(name)


def test_candidates_are_compared_after_ten_intervals_of_the_authors_log() -> None:
    """Monte Carlo EM, whose iterations are long, after ten of those."""
    samples = {run.name: experiments.selection_samples(run) for run in PAPERS}
    assert samples["n1000-mcem-seed0"] == 10 * 15_000
    assert samples["n50000-mcem-seed0"] == 10 * 750_000
    for run in PAPERS:
        if run.algorithm != "mcem":
            assert samples[run.name] == 10 * {"mnist": 235_000, "freyface": 465_000}[run.dataset]


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
    with pytest.raises(ConfigurationError, match=r"0\.01, 0\.02, 0\.1 all diverged; expected one"):
        selection.chosen(found)


def test_a_curve_that_ends_early_names_the_command_that_continues_it(project: Path) -> None:
    put({0.01: -150.0, 0.02: -140.0, 0.1: -145.0}, ends=100)
    end = experiments.end_of(RUN, 2_350_000)
    said = (
        rf"step0\.01\.csv ends at 100 samples; expected {end:,}: continue it with "
        rf"`aevb run {RUN.name}-step0\.01 --budget {end}`"
    )
    with pytest.raises(ConfigurationError, match=said):
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
    assert experiments.STEP_SIZES.keys() <= {key for key, run in NAMES.items() if run in PUBLISHED}


def test_candidates_are_published_together_and_with_nothing_else() -> None:
    there = paths.curves(paths.published(), experiments.SELECTION).glob("*.csv")
    assert {*there} == {published(c) for run in PUBLISHED for c in experiments.candidates(run)}
