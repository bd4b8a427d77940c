"""Runs as data: names, settings, budgets, commands."""

import re
from dataclasses import asdict, replace

import pytest

from aevb.errors import ConfigurationError
from aevb.results import curves
from aevb.training import experiments
from aevb.training.experiments import Run


def test_figure2_is_the_eighteen_runs_of_the_paper() -> None:
    runs = experiments.figure2()
    paper = curves.paper_figure("figure2")
    panels = set(paper[["dataset", "nz", "algorithm"]].itertuples(index=False, name=None))
    assert {(run.dataset, run.nz, run.algorithm) for run in runs} == panels
    assert len(runs) == len(panels) == 18
    assert {run.minibatch for run in runs if run.dataset == "mnist"} == {100}
    assert {run.minibatch for run in runs if run.dataset == "freyface"} == {500}
    assert {run.n_hidden for run in runs if run.dataset == "freyface"} == {200}
    assert {run.step_size for run in runs} <= {0.01, 0.02, 0.1}


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
        "mnist-nz20-aevb-seed0", "adam", ["optimiser=adam", "step_size=0.001", "warmup=0"]
    )
    expected = replace(
        experiments.figure2_run("mnist", 20, "aevb"),
        study="adam",
        optimiser="adam",
        step_size=0.001,
        warmup=0,
    )
    assert run == expected


def test_every_setting_is_in_a_manifest() -> None:
    run = experiments.figure2_run("freyface", 10, "wake-sleep", 3)
    assert run.configuration == asdict(run)
    assert {"hidden_layers": 1, "step_size": run.step_size, "split": 3}.items() <= (
        run.configuration.items()
    )


def test_each_seed_has_a_split_of_frey_face_of_its_own_and_mnist_has_none() -> None:
    for seed in (0, 4):
        runs = [*experiments.figure2(seed), *experiments.figure3(seed)]
        assert {run.split for run in runs if run.dataset == "freyface"} == {seed}
        assert {run.split for run in runs if run.dataset == "mnist"} == {0}
    shared = experiments.parse("freyface-nz2-aevb-seed4", "one-split", ["split=0"])
    assert (shared.seed, shared.split) == (4, 0)
    with pytest.raises(ConfigurationError, match="figure2 holds the runs of the paper's figure"):
        experiments.parse("freyface-nz2-aevb-seed4", "figure2", ["split=0"])


def test_a_step_size_that_was_chosen_holds_for_every_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = {("mnist", 5, "aevb"): 0.02, (1000, 3, "mcem"): 0.1}
    monkeypatch.setattr(experiments, "STEP_SIZES", chosen)
    names = {
        run.name: run.step_size
        for seed in (0, 3)
        for run in [*experiments.figure2(seed), *experiments.figure3(seed)]
    }
    assert {name for name, step_size in names.items() if step_size != Run().step_size} == {
        *("mnist-nz5-aevb-seed0", "mnist-nz5-aevb-seed3"),
        *("n1000-mcem-seed0", "n1000-mcem-seed3"),
    }
    assert names["mnist-nz5-aevb-seed3"] == 0.02
    assert names["n1000-mcem-seed3"] == 0.1


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("optimiser=sgd", "optimiser"),
        ("minibatch=0", "minibatch"),
        ("minibatch=many", "minibatch"),
        ("momentum=1", "momentum"),
        ("seed=1", "seed"),
        ("prior=inf", "prior"),
        ("step_size=-0.02", "step_size: Input should be greater than 0"),
        ("step_size=nan", "step_size: "),
        ("step_size=0.01,0.02", r"step_size: [^;]*, got '0\.01,0\.02'$"),
        ("split=-1", "split: Input should be greater than or equal to 0"),
        ("split=1", "split is a setting of freyface; mnist has a split of its own"),
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
        Run(study="test", n_hidden=8, minibatch=10, warmup=5, seed=3),
        Run(study="test", step_size=0.5),
        experiments.figure2_run("freyface", 5, "aevb", seed=3),
        replace(experiments.figure2_run("freyface", 5, "aevb", seed=3), study="test", split=1),
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
