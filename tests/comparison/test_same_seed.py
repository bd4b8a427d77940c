"""Fresh runs against the published ones of the same seed."""

import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from published import MANIFEST, RUN, change, publish, put, straight

from aevb import cli, paths
from aevb.comparison import report, same_seed
from aevb.errors import DamagedFileError
from aevb.results import curves
from aevb.training import experiments
from aevb.training.run import Run


def test_the_difference_of_two_curves_is_over_their_common_points() -> None:
    a = pd.DataFrame({"samples": [1, 2, 3], "test": [0.0, 1.0, 2.0], "train": [0.0, 0.0, 0.0]})
    b = pd.DataFrame({"samples": [2, 3, 4], "test": [1.5, 2.0, 9.0], "train": [0.0, -0.25, 9.0]})
    assert same_seed.largest_difference(a, b, ["test", "train"]) == 0.5
    assert same_seed.largest_difference(a, b, ["train"]) == 0.25
    assert pd.isna(same_seed.largest_difference(a, b.tail(1), ["test"]))


def test_a_curve_may_be_late_where_that_is_allowed() -> None:
    samples = [100_000, 112_200, 125_900, 141_300, 158_500]
    curve = pd.DataFrame({"samples": samples, "test": [-500.0, -400.0, -300.0, -200.0, -100.0]})
    late = curve.assign(test=[-500.0, -500.0, -500.0, -400.0, -310.0])
    assert same_seed.largest_difference(late, curve, ["test"]) == 210
    assert same_seed.largest_difference(late, curve, ["test"], delay=1.13) == 110
    assert same_seed.largest_difference(late, curve, ["test"], delay=1.26) == 10
    assert (
        same_seed.largest_difference(late, curve.assign(test=math.nan), ["test"], 1.26) == math.inf
    )


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_no_number_beside_a_number_is_an_infinite_difference(wrong: float) -> None:
    a = pd.DataFrame({"samples": [1, 2], "test": [0.0, wrong], "train": [0.0, 3.0]})
    b = pd.DataFrame({"samples": [1, 2], "test": [0.0, 1.0], "train": [0.0, 0.0]})
    for pair in ((a, b), (b, a)):
        assert same_seed.largest_difference(*pair, ["test", "train"]) == math.inf
        assert same_seed.largest_difference(*pair, ["train", "test"]) == math.inf
    assert same_seed.largest_difference(a, a, ["test", "train"]) == 0


def test_a_fresh_run_is_compared_with_the_published_one(project: Path) -> None:
    put(paths.published(), RUN, straight(10**7))
    put(paths.local(), RUN, straight(10**6))
    (row,) = same_seed.checks().to_dict("records")
    assert row == {
        "run": RUN.name,
        "other_settings": "",
        "check": "on the same kind of machine",
        "largest_difference": 0.0,
        "tolerance": 0.01,
    }
    assert same_seed.problems() == ""
    put(paths.local(), RUN, straight(10**6, 0.6), hardware={"device": "cuda"})
    (other,) = same_seed.checks().to_dict("records")
    late = same_seed.LATE["mnist"]
    assert other == row | {
        "check": late.where,
        "largest_difference": pytest.approx(0.6),
        "tolerance": 10.0,
    }
    assert same_seed.problems() == ""
    assert "0.6000 nats in mnist-nz20-aevb-seed0, of 1 runs; allowed 10" in report.comparison("1e6")
    put(paths.local(), RUN, straight(10**4), hardware={"device": "cuda"})
    assert "1 of 1 local runs were not compared" in report.comparison("1e4")


def test_on_another_processor_the_first_rows_tell_other_runs(project: Path) -> None:
    put(paths.published(), RUN, straight(10**7))

    def other(shift: float, **manifest: object) -> None:
        hardware = {"device": "cpu", "name": "another"}
        put(paths.local(), RUN, straight(10**6, shift), **{"hardware": hardware} | manifest)

    other(0.4)
    checks = [same_seed.EARLY["mnist"], same_seed.LATE["mnist"]]
    assert list(same_seed.checks().check) == [check.where for check in checks]
    assert same_seed.problems() == ""
    told = report.comparison("1e6")
    for check in checks:
        assert f"{check.where}: 0.4000 nats in {RUN.name}, of 1 runs; allowed" in told
    other(0.6)
    assert "at most 0.5 up to 15,000 samples, on another processor" in same_seed.problems()
    # Not where rounding is not all that differs.
    other(0.6, versions={"torch": "2+cu"})
    assert same_seed.problems() != ""
    for settings in ({"versions": {"torch": "3"}}, {"precision": "float32, bfloat16"}):
        other(0.6, **settings)
        assert same_seed.problems() == ""


@pytest.mark.parametrize(
    ("ours", "same"),
    [
        ({"hardware": {"device": "cpu", "instructions": "AVX2"}}, False),  # the other does not say
        ({"hardware": {"device": "cpu"}, "precision": "bfloat16"}, False),
        ({"versions": {"torch": "3"}}, False),
        ({"makers": [MANIFEST, MANIFEST]}, True),
        ({"makers": [MANIFEST | {"hardware": {"device": "cuda"}}, MANIFEST]}, False),
        ({"makers": [MANIFEST | {"precision": "bfloat16"}, MANIFEST]}, False),
        ({"hardware": {"device": "cpu", "products": "MKL"}}, False),
    ],
)
def test_the_same_kind_of_machine_made_all_of_both(
    project: Path, ours: dict[str, Any], same: bool
) -> None:
    put(paths.published(), RUN, straight(10**6))
    put(paths.local(), RUN, straight(10**6), **ours)
    assert (list(same_seed.checks().tolerance) == [0.01]) == same


@pytest.mark.parametrize(
    ("theirs", "same"), [("25 17", True), ("26 2", False), ("", True), (None, True)]
)
def test_generations_of_a_processor_are_told_apart_where_both_manifests_tell(
    project: Path, theirs: str | None, same: bool
) -> None:
    known = {"device": "cpu", "name": "AMD EPYC", "instructions": "AVX2"}
    put(
        paths.published(),
        RUN,
        straight(10**6),
        hardware=known if theirs is None else known | {"family and model": theirs},
    )
    put(paths.local(), RUN, straight(10**6), hardware=known | {"family and model": "25 17"})
    assert (list(same_seed.checks().tolerance) == [0.01]) == same


def test_on_another_machine_a_run_may_be_early_or_late(project: Path) -> None:
    curve: dict[float, float] = {
        1e5: -300,
        1.122e5: -250,
        1.259e5: -200,
        1.413e5: -150,
        1.585e5: -100,
    }
    publish(RUN, curve)
    late = dict(zip(curve, [-300, -300, -300, -250, -200], strict=True))
    put(paths.local(), RUN, late, hardware={"device": "cuda"})
    assert same_seed.problems() == ""
    put(paths.local(), RUN, late)
    assert "by 100.0000 nats; expected at most 0.01 on the same kind" in same_seed.problems()


def test_a_damaged_local_curve_is_not_passed_over(project: Path) -> None:
    put(paths.published(), RUN, straight(10**6))
    local = put(paths.local(), RUN, straight(10**6))
    whole = local.path.read_text()
    local.path.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    with pytest.raises(DamagedFileError, match="its manifest"):
        same_seed.problems()
    local.path.write_text(whole)
    change(local, foo=local.table.train_running, train_running=None)
    with pytest.raises(
        DamagedFileError, match=r"foo.*expected that one has all those of the other"
    ):
        same_seed.problems()


def test_a_curve_with_fewer_columns_is_compared_in_those(project: Path) -> None:
    put(paths.published(), RUN, straight(10**6))
    change(put(paths.local(), RUN, straight(10**6, 1.0)), validation=None)
    assert "by 1.0000 nats" in same_seed.problems()


def test_a_fresh_run_with_other_settings_is_not_compared(project: Path) -> None:
    put(paths.published(), RUN, straight(10**7))
    other = RUN.configuration | {"prior": 0.0}
    put(paths.local(), RUN, straight(10**6, 0.5), configuration=other)
    assert same_seed.checks().largest_difference.isna().all()
    assert "against the published runs" not in report.comparison("1e6")
    with pytest.raises(SystemExit) as stopped:
        cli.compare("1e6")
    told = str(stopped.value)
    for part in (
        f"{RUN.name}: ",
        "prior is 0.0, not 1.0",
        f"results/local/checkpoints/figure2/{RUN.name}.pt",
        f"results/local/curves/figure2/{RUN.name}.csv",
        f"`aevb run {RUN.name} --budget 1000000`",
    ):
        assert part in told
    for setting, then in (("step_size", 0.02), ("split", 0)):
        put(paths.local(), RUN, straight(10**6), configuration=RUN.configuration | {setting: 3})
        assert f"{setting} is 3, not {then}" in same_seed.problems()
        assert same_seed.checks().largest_difference.isna().all()


@pytest.mark.parametrize(
    ("device", "shift", "told"),
    [
        ("cpu", 0.02, "differs from the published run of the same seed by 0.02"),
        ("cuda", 11.0, "differs from the published run of the same seed by 11.0"),
        ("cpu", math.nan, "diverged"),
        ("cuda", math.inf, "diverged"),
    ],
)
def test_a_fresh_run_that_is_not_the_published_one_fails(
    project: Path, device: str, shift: float, told: str
) -> None:
    put(paths.published(), RUN, straight(10**7))
    put(paths.local(), RUN, straight(10**6, shift), hardware={"device": device})
    # Another that is as published must not hide it.
    for root in (paths.published(), paths.local()):
        put(root, experiments.figure2_run("mnist", 200, "wake-sleep"), straight(10**6))
    with pytest.raises(SystemExit, match=told) as stopped:
        cli.compare("1e6")
    assert str(stopped.value).startswith(f"aevb: {RUN.name} ")
    assert f" nats in {RUN.name}, of " in report.comparison("1e6")


def test_the_first_rows_tell_apart_what_is_not_the_same_run() -> None:
    """The tolerance on another processor, held to all published curves that have a counterpart."""
    columns = ["train_running", "train", "test"]
    same: dict[str, float] = {}
    other: dict[str, float] = {}
    published = curves.in_study("*")
    for run in experiments.figure2():
        ours, check = curves.published(run.study, run.name), same_seed.EARLY[run.dataset]
        for curve in published:
            # Itself is left out, and what differs in two things.
            if (curve.study == run.study) == (curve.name == run.name) or not re.fullmatch(
                run.name[:-1] + r"\d+", curve.name
            ):
                continue
            same_step = curve.step_size == ours.step_size
            if same_step == curve.study.startswith("step-size-") and curve.study != run.study:
                continue
            rows = curve.table[curve.table.samples <= check.last]
            apart = same_seed.largest_difference(rows, ours.table, columns) / check.tolerance
            if len(rows) < 3:  # before the parameters move
                continue
            kind = same if curve.study in ("float32", "test-points") else other
            kind[f"{curve.study}/{curve.name}"] = apart
    assert len(same) >= 5
    assert max(same.values()) < 0.2
    rounded = {name: other.pop(name) for name in list(other) if name.startswith("bfloat16/")}
    assert len(other) > 80
    assert min(other.values()) > 1
    assert len(rounded) >= 5
    assert max(rounded.values()) > 1  # so precision must agree


def test_another_seed_is_compared_with_its_own(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = replace(RUN, seed=1)
    for root, shift in ((paths.published(), 0.0), (paths.local(), 1.0)):
        put(root, run, straight(10**6, shift))
    assert list(same_seed.checks(1).run) == [run.name]
    assert same_seed.checks(0).empty
    with pytest.raises(SystemExit, match=f"aevb: {run.name} differs .* by 1.0"):
        cli.compare("1e6", seed=1)
    told = capsys.readouterr().out
    assert f"1.0000 nats in {run.name}" in told
    assert any(line.split()[:2] == [run.name, "train"] for line in told.splitlines())


def publish_first_edition(run: Run, **settings: object) -> None:
    """A published curve of the first edition, whose run selected the step size 0.1."""
    later = {"step_size", "split", "hidden_layers", "pixels", "sleep_first", "clip_dreams"}
    then = {name: value for name, value in run.configuration.items() if name not in later}
    then |= {"step_sizes": [0.01, 0.02, 0.1], "selection_window": 100_000, **settings}
    about = {"configuration": then, "step_size_selection": {"step_size": 0.1}}
    put(paths.published(), run, straight(10**7), **about)


@pytest.mark.parametrize("run", [RUN, experiments.figure2_run("freyface", 2, "aevb")])
def test_a_curve_of_the_first_edition_is_compared_as_one_of_another_machine(
    project: Path, run: Run
) -> None:
    """It was made by other arithmetic."""
    publish_first_edition(run)
    today = run.configuration | {"step_size": 0.1}
    late = same_seed.LATE[run.dataset]
    for shift in (0.0, late.tolerance - 1):
        put(paths.local(), run, straight(10**6, shift), configuration=today)
        (row,) = same_seed.checks(run.seed).to_dict("records")
        assert row == {
            "run": run.name,
            "other_settings": "",
            "check": late.where,
            "largest_difference": pytest.approx(shift),
            "tolerance": late.tolerance,
        }
        assert same_seed.problems(run.seed) == ""
    put(paths.local(), run, straight(10**6, late.tolerance + 1), configuration=today)
    told = f"{run.name} differs .* by {late.tolerance + 1:.4f} nats; .* {late.where}"
    assert re.match(told, same_seed.problems(run.seed))


@pytest.mark.parametrize("changed", [{"step_size": 0.05}, {"split": 1}])
def test_a_curve_of_the_first_edition_with_another_step_size_or_split_is_no_yardstick(
    project: Path, changed: dict[str, float]
) -> None:
    run = experiments.figure2_run("freyface", 2, "aevb")
    publish_first_edition(run)
    today = run.configuration | {"step_size": 0.1} | changed
    put(paths.local(), run, straight(10**6, 1e4), configuration=today)
    assert same_seed.checks().check.tolist() == [same_seed.NOT_COMPARED]
    assert same_seed.problems() == ""
    assert "1 local runs are not compared" in report.comparison(1e6)


def test_other_settings_than_those_of_the_first_edition_are_told(project: Path) -> None:
    publish_first_edition(RUN, prior=16.0)
    put(paths.local(), RUN, straight(10**6))
    assert same_seed.checks().largest_difference.isna().all()
    (told,) = same_seed.checks().other_settings
    assert told == "prior is 1.0, not 16.0"
