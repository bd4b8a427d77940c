"""Runs as data: names, settings, budgets, commands."""

import re
from dataclasses import asdict, replace

import pytest

from aevb import curves, experiments
from aevb.experiments import ConfigurationError, Run


def test_figure2_is_the_eighteen_runs_of_the_paper() -> None:
    runs = experiments.figure2()
    paper = curves.paper_figure("figure2")
    panels = set(paper[["dataset", "nz", "algorithm"]].itertuples(index=False, name=None))
    assert {(run.dataset, run.nz, run.algorithm) for run in runs} == panels
    assert len(runs) == len(panels) == 18
    assert {run.minibatch for run in runs if run.dataset == "mnist"} == {100}
    assert {run.minibatch for run in runs if run.dataset == "freyface"} == {500}
    assert {run.n_hidden for run in runs if run.dataset == "freyface"} == {200}
    assert all(run.step_sizes == (0.01, 0.02, 0.1) for run in runs)


def test_figure3_is_the_six_runs_of_the_paper() -> None:
    runs = experiments.figure3()
    paper = curves.paper_figure("figure3")
    assert {(run.n_train, run.algorithm) for run in runs} == set(
        paper[["n_train", "algorithm"]].drop_duplicates().itertuples(index=False, name=None)
    )
    assert len(runs) == 6
    # An iteration of MCEM is ten leapfrog steps and five weight updates on all points.
    per_update = {run.name: experiments.samples_per_update(run) for run in runs}
    assert per_update["n1000-mcem-seed0"] == 15_000
    assert per_update["n50000-mcem-seed0"] == 750_000
    assert per_update["n1000-aevb-seed0"] == 100
    mcem = paper[(paper.n_train == 1000) & (paper.algorithm == "mcem")]
    assert (mcem.samples % 15_000 == 0).all()


@pytest.mark.parametrize(
    "run", experiments.figure2(seed=4) + experiments.figure3(seed=4), ids=lambda run: run.name
)
def test_a_name_says_which_run_it_is(run: Run) -> None:
    assert experiments.parse(run.name) == run


@pytest.mark.parametrize(
    "name", ["mnist", "mnist-nz20-aevb", "cifar-nz2-aevb-seed0", "mnist-nz0-aevb-seed0"]
)
def test_a_wrong_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError):
        experiments.parse(name)


def test_an_ablation_is_a_configuration() -> None:
    run = experiments.parse(
        "mnist-nz20-aevb-seed0", "adam", ["optimiser=adam", "step_sizes=0.001,0.002", "warmup=0"]
    )
    expected = replace(
        experiments.figure2_run("mnist", 20, "aevb"),
        study="adam",
        optimiser="adam",
        step_sizes=(0.001, 0.002),
        warmup=0,
    )
    assert run == expected


def test_a_setting_that_came_later_leaves_the_hashes_of_other_runs_alone() -> None:
    run = experiments.figure2_run("mnist", 20, "aevb")
    assert "hidden_layers" not in run.configuration
    assert replace(run, hidden_layers=2).configuration["hidden_layers"] == 2
    assert {*asdict(run)} == {*run.configuration} | set(experiments.LATER)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("optimiser=sgd", "optimiser"),
        ("minibatch=0", "minibatch"),
        ("minibatch=many", "minibatch"),
        ("momentum=1", "momentum"),
        ("seed=1", "seed"),
        ("prior=inf", "prior"),
        ("step_sizes=0.01,-0.02", "step_sizes.1"),
        ("step_sizes=nan", "step_sizes.0"),
        ("step_sizes=0.01,0.01", "step_sizes has a candidate twice"),
        ("step_sizes=a", r"step_sizes\.0: [^;]*, got 'a'$"),
        ("optimiser=Adam", "'adam', got 'Adam'"),
        ("warmup", "--set warmup: expected NAME=VALUE"),
    ],
)
def test_a_wrong_setting_is_named(setting: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        experiments.parse("mnist-nz20-aevb-seed0", "other", [setting])


def test_a_setting_given_twice_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="expected each setting once"):
        experiments.parse("mnist-nz20-aevb-seed0", "other", ["prior=1", "prior=2"])


@pytest.mark.parametrize(
    ("name", "setting", "said"),
    [
        ("mnist-nz20-wake-sleep-seed0", "n_samples=5", "n_samples is a setting of aevb"),
        ("n1000-mcem-seed0", "estimator=A", "estimator is a setting of aevb"),
        ("freyface-nz2-aevb-seed0", "clip_dreams=True", "clip_dreams is a setting of wake-sleep"),
        ("mnist-nz2-wake-sleep-seed0", "clip_dreams=True", "a setting of Gaussian pixels"),
        ("freyface-nz2-aevb-seed0", "sleep_first=True", "sleep_first is a setting of wake-sleep"),
        ("n1000-mcem-seed0", "encoder_log_variance_factor=0.1", "a setting of aevb and wake-sleep"),
        ("freyface-nz2-aevb-seed0", "measure=lower_bound_by_subset", "test images of mnist"),
        ("n1000-mcem-seed0", "measure=lower_bound", "marginal_loglik for mcem"),
        ("mnist-nz20-aevb-seed0", "measure=marginal_loglik", "at most 5 latent dimensions, not 20"),
        ("mnist-nz20-aevb-seed0", "prior=x", "prior: Input should be a valid number"),
    ],
)
def test_a_setting_that_would_do_nothing_is_refused(name: str, setting: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as refused:
        experiments.parse(name, "other", [setting])
    assert re.match(rf"{name}: [a-z]", str(refused.value))


def test_other_settings_cannot_take_the_place_of_a_curve_of_the_paper() -> None:
    with pytest.raises(ConfigurationError, match="--study"):
        experiments.parse("mnist-nz20-aevb-seed0", settings=["optimiser=adam"])
    for study in ("figure2", "figure3"):
        with pytest.raises(ConfigurationError, match=f"{study} holds the runs of the paper's"):
            experiments.parse("mnist-nz20-aevb-seed0", study, ["optimiser=adam"])
    with pytest.raises(ConfigurationError, match="figure2 holds the runs of the paper's"):
        experiments.parse("n1000-aevb-seed0", "figure2")
    for name in ("mnist-nz7-aevb-seed0", "n2000-aevb-seed0", "mnist-nz2-mcem-seed0"):
        with pytest.raises(ConfigurationError, match="the paper's figure alone"):
            experiments.parse(name)
        assert experiments.parse(name, "other").name == name
    assert experiments.parse("n1000-aevb-seed0", "figure3") == experiments.figure3_run(1000, "aevb")


def test_monte_carlo_em_has_its_measure_on_every_data_set() -> None:
    run = experiments.parse("mnist-nz2-mcem-seed0", "new", ["minibatch=50000"])
    assert (run.measure, run.nz, run.warmup) == ("marginal_loglik", 2, 0)
    made = "aevb run mnist-nz2-mcem-seed0 --budget 10 --study new --set minibatch=50000"
    assert experiments.command(run, 10) == made
    with pytest.raises(ConfigurationError, match="at most 5 latent dimensions, not 20"):
        experiments.parse("mnist-nz20-mcem-seed0", "new")


def test_an_algorithm_that_the_paper_does_not_have_needs_a_study(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(experiments.ALGORITHMS, "figure2", ("wake-sleep",))
    with pytest.raises(ConfigurationError, match="need a --study"):
        experiments.parse("mnist-nz20-aevb-seed0")
    run = experiments.parse("mnist-nz20-aevb-seed0", "new")
    assert experiments.command(run, 10) == "aevb run mnist-nz20-aevb-seed0 --budget 10 --study new"


@pytest.mark.parametrize("study", ["", "figure2/", "./figure2", "../../curves", ".hidden", "a b"])
def test_a_study_is_the_name_of_a_folder(study: str) -> None:
    with pytest.raises(ConfigurationError, match="study"):
        experiments.parse("mnist-nz20-aevb-seed0", study)


def test_budgets() -> None:
    mnist, frey = (experiments.figure2_run(name, 5, "aevb") for name in ("mnist", "freyface"))
    assert experiments.budget_of(mnist, "1e7") == 1e7
    assert experiments.budget_of(mnist, "paper") == 2.5e8
    assert experiments.budget_of(frey, "paper") == 1e8
    assert experiments.budget_of(mnist, "quick") == 1e6
    assert experiments.budget_of(experiments.figure3_run(1000, "mcem"), "quick") == 2e5
    for wrong in ("much", "-5", "0", "inf", "nan"):
        with pytest.raises(ConfigurationError, match="budget"):
            experiments.budget_of(mnist, wrong)
    fifty = experiments.parse("n50-aevb-seed0", "small")
    assert experiments.budget_of(fifty, "1e4") == 1e4
    with pytest.raises(ConfigurationError, match="none of those is of n50"):
        experiments.budget_of(fifty, "quick")


@pytest.mark.parametrize(
    ("run", "said"),
    [
        (replace(experiments.figure3_run(1000, "aevb"), study="other", nz=5), "cannot set nz"),
        (
            Run(study="figure2", dataset="mnist", prior=0.0),
            "figure2 holds the runs of the paper's figure alone",
        ),
    ],
)
def test_a_run_that_no_command_makes_says_so(run: Run, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said):
        experiments.command(run, 1000)


@pytest.mark.parametrize(
    "run",
    [
        experiments.figure2_run("mnist", 20, "wake-sleep"),
        experiments.figure3_run(50_000, "mcem", seed=2),
        Run(study="test", n_hidden=8, minibatch=10, selection_window=500, seed=3),
        Run(study="test", step_sizes=(0.5,)),
    ],
)
def test_the_command_of_a_manifest_makes_its_run(run: Run) -> None:
    """At the paper's scale too, where a rounded budget would end at the next log point."""
    end = experiments.end_of(run, "paper")
    words = experiments.command(run, end).split()
    assert words[:2] == ["aevb", "run"]
    options: dict[str, list[str]] = {"--study": [], "--set": [], "--budget": []}
    for option, value in zip(words[3::2], words[4::2], strict=True):
        options[option].append(value)
    study = options["--study"][0] if options["--study"] else None
    assert experiments.parse(words[2], study, options["--set"]) == run
    assert [experiments.end_of(run, value) for value in options["--budget"]] == [end]
