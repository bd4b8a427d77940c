"""The paper's runs, the candidates for their step sizes, and budgets."""

from dataclasses import replace

import pytest

from aevb.errors import ConfigurationError
from aevb.results import curves
from aevb.training import experiments
from aevb.training.run import Run

PAPERS = [*experiments.figure2(), *experiments.figure3()]
each_run = pytest.mark.parametrize("run", PAPERS, ids=lambda run: run.name)


def test_figure2_is_the_eighteen_runs_of_the_paper() -> None:
    runs = experiments.figure2()
    paper = curves.paper_figure("figure2")
    panels = set(paper[["dataset", "nz", "algorithm"]].itertuples(index=False, name=None))
    assert {(run.dataset, run.nz, run.algorithm) for run in runs} == panels
    assert len(runs) == len(panels) == 18
    sizes = {(run.dataset, run.minibatch, run.n_hidden) for run in runs}
    assert sizes == {("mnist", 100, 500), ("freyface", 500, 200)}
    assert {run.step_size for run in runs} <= {0.01, 0.02, 0.1}


def test_figure3_is_the_six_runs_of_the_paper() -> None:
    runs = experiments.figure3()
    paper = curves.paper_figure("figure3")
    panels = set(paper[["n_train", "algorithm"]].itertuples(index=False, name=None))
    assert {(run.n_train, run.algorithm) for run in runs} == panels
    assert len(runs) == len(panels) == 6
    # An iteration of MCEM is ten leapfrog steps and five weight updates on all points.
    per_update = {run.name: run.samples_per_update for run in runs}
    assert per_update["n1000-mcem-seed0"] == 15_000
    assert per_update["n50000-mcem-seed0"] == 750_000
    assert per_update["n1000-aevb-seed0"] == 100
    mcem = paper[(paper.n_train == 1000) & (paper.algorithm == "mcem")]
    assert (mcem.samples % 15_000 == 0).all()


@pytest.mark.parametrize("seed", [0, 4])
def test_each_seed_has_a_split_of_frey_face_of_its_own_and_mnist_has_none(seed: int) -> None:
    runs = [*experiments.figure2(seed), *experiments.figure3(seed)]
    splits = {(run.dataset, run.split) for run in runs}
    assert splits == {("freyface", seed), ("mnist", 0)}


def test_a_step_size_that_was_chosen_holds_for_every_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {("mnist", 5, "aevb"): 0.02, (1000, 3, "mcem"): 0.1}
    monkeypatch.setattr(experiments, "STEP_SIZES", chosen)
    runs = [run for seed in (0, 3) for run in experiments.figure2(seed) + experiments.figure3(seed)]
    changed = {run.name: run.step_size for run in runs if run.step_size != Run().step_size}
    assert changed == {
        "mnist-nz5-aevb-seed0": 0.02,
        "mnist-nz5-aevb-seed3": 0.02,
        "n1000-mcem-seed0": 0.1,
        "n1000-mcem-seed3": 0.1,
    }


@each_run
def test_candidates_differ_from_their_run_in_step_size_alone(run: Run) -> None:
    """And in the measure, where the likelihood would take longer than the training."""
    found = experiments.candidates(run)
    assert [candidate.step_size for candidate in found] == [0.01, 0.02, 0.1]
    for candidate in found:
        own = {"study": "step-size-selection", "step_size": candidate.step_size}
        if run.algorithm != "mcem":
            own["measure"] = "lower_bound"
        assert candidate.configuration == run.configuration | own


def test_candidates_are_those_of_the_papers_run_with_seed_0() -> None:
    """Whatever the seed and the other settings of the run that asks."""
    run = experiments.figure2_run("freyface", 5, "wake-sleep")
    expected = experiments.candidates(run)
    assert {(candidate.seed, candidate.split) for candidate in expected} == {(0, 0)}
    other_seed = experiments.figure2_run("freyface", 5, "wake-sleep", seed=3)
    for other in (other_seed, replace(run, study="other", step_size=0.5), expected[2]):
        assert experiments.candidates(other) == expected


@each_run
def test_candidates_are_compared_after_ten_intervals_of_the_authors_log(run: Run) -> None:
    """Those of Monte Carlo EM, whose iterations are long, after ten of these."""
    if run.algorithm == "mcem":
        interval = run.samples_per_update
    else:
        interval = {"mnist": 235_000, "freyface": 465_000}[run.dataset]
    assert experiments.selection_samples(run) == 10 * interval


def test_a_budget_is_a_number_of_samples_or_a_name() -> None:
    mnist, frey = (experiments.figure2_run(name, 5, "aevb") for name in ("mnist", "freyface"))
    few = experiments.figure3_run(1000, "mcem")
    assert experiments.budget_samples(mnist, "1e7") == 1e7
    assert experiments.budget_samples(mnist, "paper") == 2.5e8
    assert experiments.budget_samples(frey, "paper") == 1e8
    assert experiments.budget_samples(mnist, "quick") == 1e6
    assert experiments.budget_samples(few, "quick") == 2e5
    assert experiments.stopping_point(few, 1) == few.samples_per_update


@pytest.mark.parametrize("wrong", ["much", "-5", "0", "inf", "nan"])
def test_a_budget_that_is_none_is_refused(wrong: str) -> None:
    with pytest.raises(ConfigurationError, match=f"budget '{wrong}'.* 1e6.* 'quick'.* 'paper'"):
        experiments.budget_samples(PAPERS[0], wrong)


def test_a_named_budget_is_of_a_run_of_the_paper() -> None:
    fifty = replace(experiments.figure3_run(50, "aevb"), study="small")
    assert experiments.budget_samples(fifty, "1e4") == 1e4
    with pytest.raises(ConfigurationError, match=r"budget 'quick'.* n_train=50;.* 1e6"):
        experiments.budget_samples(fifty, "quick")
