"""Names of runs, settings on the command line, and the command that makes a run."""

import shlex
from dataclasses import replace

import pytest
from tiny import TINY

from aevb.errors import ConfigurationError
from aevb.learners import LEARNERS
from aevb.learners.aevb import AEVB
from aevb.training import experiments, names
from aevb.training.run import SELECTION, Run

RUN = experiments.figure2_run("mnist", 20, "aevb")
FACES = experiments.figure2_run("freyface", 5, "aevb")
CANDIDATE = "mnist-nz20-aevb-seed0-step0.02"


@pytest.mark.parametrize(
    "run", [*experiments.figure2(seed=4), *experiments.figure3(seed=4)], ids=lambda run: run.name
)
def test_a_name_says_which_run_it_is(run: Run) -> None:
    """And which candidate for the step size of a run."""
    assert names.parse(run.name) == run
    for candidate in experiments.candidates(run):
        for one in (candidate, replace(candidate, seed=3)):
            assert names.paper_run(one.name) == one
            assert names.parse(one.name) == one
            assert names.command(one, 1000) == f"aevb run {one.name} --budget 1000"


@pytest.mark.parametrize("name", ["mnist", "mnist-nz20-aevb", "cifar-nz2-aevb-seed0", "n0-aevb"])
def test_a_name_of_nothing_is_refused_with_names_that_are_right(name: str) -> None:
    with pytest.raises(ConfigurationError, match=f"'{name}'.* mnist-nz20-aevb-seed0,.* n1000-mcem"):
        names.parse(name)


@pytest.mark.parametrize(
    "wrong", ["-step0.020", "-step", "-step0.0", "-step-1", "-step0.02-step0.01"]
)
def test_a_candidate_has_one_name_alone(wrong: str) -> None:
    """Two names of one run would make two curves of it."""
    with pytest.raises(ConfigurationError):
        names.paper_run(RUN.name + wrong)


def test_a_candidate_has_its_name_in_its_study_alone() -> None:
    candidate = names.paper_run(CANDIDATE)
    assert candidate.study == SELECTION
    assert replace(candidate, study="other").name == RUN.name
    other = replace(candidate, step_size=0.0005)
    assert names.paper_run("mnist-nz20-aevb-seed0-step0.0005") == other


def test_settings_take_the_place_of_the_papers() -> None:
    run = names.parse(RUN.name, "adam", ["optimiser=adam", "step_size=0.001", "warmup=0"])
    assert run == replace(RUN, study="adam", optimiser="adam", step_size=0.001, warmup=0)
    shared = names.parse("freyface-nz2-aevb-seed4", "one-split", ["split=0"])
    assert (shared.seed, shared.split) == (4, 0)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        (["optimiser=sgd"], "optimiser: .*'adam'.* 'sgd'"),
        (["minibatch=many"], "minibatch: .* 'many'"),
        (["step_size=0.01,0.02"], r"step_size: [^;]* '0\.01,0\.02'$"),
        (["momentum=1"], "cannot set momentum: .*step_size"),
        (["seed=1"], "cannot set seed: "),
        (["warmup"], "--set warmup: .*NAME=VALUE"),
        (["prior=1", "prior=2"], "--set prior=1 prior=2"),
        (["split=1"], f"{RUN.name}: split .* freyface"),
        (["prior=x", "nz=2"], "cannot set nz"),
    ],
)
def test_a_wrong_setting_is_named(settings: list[str], named: str) -> None:
    with pytest.raises(ConfigurationError, match=f"^[^\\n]*{named}"):
        names.parse(RUN.name, "other", settings)


@pytest.mark.parametrize(
    ("name", "study", "settings"),
    [
        (RUN.name, None, ["optimiser=adam"]),
        (RUN.name, "figure2", ["optimiser=adam"]),
        (RUN.name, "figure3", []),
        ("n1000-aevb-seed0", "figure2", []),
        ("freyface-nz2-aevb-seed4", "figure2", ["split=0"]),
        ("mnist-nz7-aevb-seed0", None, []),
        ("n2000-aevb-seed0", None, []),
        ("n1000-nz2-aevb-seed0", None, []),
        ("mnist-nz2-mcem-seed0", None, []),
        ("mnist-nz20-new-seed0", None, []),
    ],
)
def test_a_run_that_is_not_the_papers_needs_a_study_of_its_own(
    name: str, study: str | None, settings: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new algorithm's too, which is a line in the registry."""
    monkeypatch.setitem(LEARNERS, "new", AEVB)
    with pytest.raises(ConfigurationError, match=f"{name}: .*figure[23].* --study"):
        names.parse(name, study, settings)
    run = names.parse(name, "other", settings)
    assert (run.study, run.name) == ("other", name)
    assert names.command(run, 10).startswith(f"aevb run {name} --budget 10 --study other")


def test_the_dimensions_of_figure_3_are_left_out_of_a_name() -> None:
    assert names.parse("n1000-nz2-aevb-seed0", "other").nz == 2
    with pytest.raises(ConfigurationError, match="n1000-nz3-aevb-seed0"):
        names.parse("n1000-nz3-aevb-seed0", "other")


@pytest.mark.parametrize("study", ["", "figure2/", "./figure2", "../../curves", ".hidden", "a b"])
def test_a_study_is_the_name_of_a_folder(study: str) -> None:
    with pytest.raises(ConfigurationError, match="study: "):
        names.parse(RUN.name, study)


def test_monte_carlo_em_has_its_measure_on_every_data_set() -> None:
    run = names.parse("mnist-nz2-mcem-seed0", "new", ["minibatch=50000"])
    assert (run.measure, run.nz, run.warmup) == ("marginal_loglik", 2, 0)
    with pytest.raises(ConfigurationError, match=r"marginal_loglik .* 5 .* 20"):
        names.parse("mnist-nz20-mcem-seed0", "new")


@pytest.mark.parametrize(
    "run",
    [
        experiments.figure2_run("mnist", 20, "wake-sleep"),
        experiments.figure3_run(50_000, "mcem", seed=2),
        TINY,
        Run(study="test", step_size=0.5),
        experiments.figure2_run("freyface", 5, "aevb", seed=3),
        replace(experiments.figure2_run("freyface", 5, "aevb", seed=3), study="test", split=1),
        names.parse("mnist-nz2-mcem-seed0", "new", ["minibatch=50000"]),
        replace(RUN, study="test", sleep_first=False, pixels="binary"),
    ],
    ids=lambda run: run.name,
)
def test_the_command_of_a_run_makes_it(run: Run) -> None:
    """At the paper's scale too, where a rounded budget would end at the next log point."""
    end = experiments.stopping_point(run, "paper")
    aevb, verb, name, *options = shlex.split(names.command(run, end))
    assert (aevb, verb) == ("aevb", "run")
    given: dict[str, list[str]] = {"--budget": [], "--study": [], "--set": []}
    for option, value in zip(options[::2], options[1::2], strict=True):
        given[option].append(value)
    study = given["--study"][0] if given["--study"] else None
    assert names.parse(name, study, given["--set"]) == run
    assert [experiments.stopping_point(run, budget) for budget in given["--budget"]] == [end]


@pytest.mark.parametrize(
    ("run", "named"),
    [
        (replace(FACES, study="other", n_train=1000), "cannot set dataset"),
        (Run(study="figure2", prior=0.0), "figure2 .* --study"),
    ],
)
def test_a_run_that_no_command_makes_says_so(run: Run, named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        names.command(run, 1000)
