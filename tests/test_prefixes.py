"""Fresh runs against the published ones of the same seed."""

import math
import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from published import MANIFEST, RUN, publish, put, write_curve

from aevb import cli, paths
from aevb.comparison import compare, same_seed
from aevb.errors import DamagedFileError
from aevb.results import curves
from aevb.training import experiments


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
    put(paths.published(), 10**7)
    put(paths.local(), 10**6)
    (row,) = same_seed.compared().to_dict("records")
    assert row == {
        "run": RUN.name,
        "other_settings": "",
        "check": "on the same kind of machine",
        "largest_difference": 0.0,
        "tolerance": 0.01,
    }
    assert same_seed.not_the_published() == ""
    put(paths.local(), 10**6, shift=0.6, hardware={"device": "cuda"})
    (other,) = same_seed.compared().to_dict("records")
    late = same_seed.LATE["mnist"]
    assert other == row | {
        "check": late.where,
        "largest_difference": pytest.approx(0.6),
        "tolerance": 10.0,
    }
    assert same_seed.not_the_published() == ""
    assert "0.6000 nats in mnist-nz20-aevb-seed0, of 1 runs; allowed 10" in compare.report("1e6")
    put(paths.local(), 10**4, hardware={"device": "cuda"})
    assert "1 of 1 local runs were not compared" in compare.report("1e4")


def test_on_another_processor_the_first_rows_tell_other_runs(project: Path) -> None:
    put(paths.published(), 10**7)
    other = partial(put, paths.local(), 10**6, hardware={"device": "cpu", "name": "another"})
    other(shift=0.4)
    checks = [same_seed.EARLY["mnist"], same_seed.LATE["mnist"]]
    assert list(same_seed.compared().check) == [check.where for check in checks]
    assert same_seed.not_the_published() == ""
    said = compare.report("1e6")
    assert "processor: 0.4000 nats in mnist-nz20-aevb-seed0, of 1 runs; allowed 0.5" in said
    assert "on another machine: 0.4000 nats in mnist-nz20-aevb-seed0, of 1 runs; allowed 10" in said
    other(shift=0.6)
    assert "at most 0.5 up to 15,000 samples, on another processor" in same_seed.not_the_published()
    # Not where rounding is not all that differs.
    other(shift=0.6, versions={"torch": "2+cu"})
    assert same_seed.not_the_published() != ""
    for settings in ({"versions": {"torch": "3"}}, {"precision": "float32, bfloat16"}):
        other(shift=0.6, **settings)
        assert same_seed.not_the_published() == ""


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
    put(paths.published(), 10**6)
    put(paths.local(), 10**6, **ours)
    assert (list(same_seed.compared().tolerance) == [0.01]) == same


def test_on_another_machine_a_run_may_be_early_or_late(project: Path) -> None:
    curve: dict[float, float] = {
        1e5: -300,
        1.122e5: -250,
        1.259e5: -200,
        1.413e5: -150,
        1.585e5: -100,
    }
    publish(RUN, curve)
    rows = [
        {"samples": s, **dict.fromkeys(("train_running", "train", "test"), value)}
        for s, value in zip(curve, [-300, -300, -300, -250, -200], strict=True)
    ]
    local = paths.curve(paths.local(), "figure2", RUN.name)
    write_curve(local, rows, hardware={"device": "cuda"})
    assert same_seed.not_the_published() == ""
    write_curve(local, rows)
    assert (
        "by 100.0000 nats; expected at most 0.01 on the same kind" in same_seed.not_the_published()
    )


def test_a_damaged_local_curve_is_not_passed_over(project: Path) -> None:
    put(paths.published(), 10**6)
    put(paths.local(), 10**6)
    file = paths.curve(paths.local(), RUN.study, RUN.name)
    whole = file.read_text()
    file.write_text("".join(whole.splitlines(keepends=True)[:-1]))
    with pytest.raises(DamagedFileError, match=r"ends at 100,000 samples, .* to 1,000,000"):
        same_seed.not_the_published()
    file.write_text(whole.replace("train_running", "foo"))
    with pytest.raises(
        DamagedFileError, match=r"foo.*expected that one has all those of the other"
    ):
        same_seed.not_the_published()


def test_a_curve_with_fewer_columns_is_compared_in_those(project: Path) -> None:
    put(paths.published(), 10**6)
    put(paths.local(), 10**6, shift=1.0)
    file = paths.curve(paths.local(), RUN.study, RUN.name)
    curves.read(file).drop(columns="validation").to_csv(file, index=False)
    assert "by 1.0000 nats" in same_seed.not_the_published()


def test_a_fresh_run_with_other_settings_is_not_compared(project: Path) -> None:
    put(paths.published(), 10**7)
    put(paths.local(), 10**6, shift=0.5, configuration={**MANIFEST["configuration"], "prior": 0.0})
    assert same_seed.compared().largest_difference.isna().all()
    assert "against the published runs" not in compare.report("1e6")
    with pytest.raises(SystemExit) as stopped:
        cli.compare("1e6")
    said = str(stopped.value)
    assert f"{RUN.name}: the local run has other settings" in said
    assert "prior is 0.0, not 1.0. " in said
    assert (
        f"Delete results/local/checkpoints/figure2/{RUN.name}.pt and results/local/curves/figure2/"
        in said
    )
    assert f"`aevb run {RUN.name} --budget 1000000`" in said
    for setting, then in (("step_size", 0.01), ("split", 0)):
        of_both = {**MANIFEST["configuration"], setting: then}
        put(paths.published(), 10**7, configuration=of_both)
        put(paths.local(), 10**6, configuration={**of_both, setting: 3})
        assert f"{setting} is 3, not {then}. " in same_seed.not_the_published()
        assert same_seed.compared().largest_difference.isna().all()


@pytest.mark.parametrize(
    ("device", "shift", "said"),
    [
        ("cpu", 0.02, "differs from the published run of the same seed by 0.02"),
        ("cuda", 11.0, "differs from the published run of the same seed by 11.0"),
        ("cpu", math.nan, "diverged"),
        ("cuda", math.inf, "diverged"),
    ],
)
def test_a_fresh_run_that_is_not_the_published_one_fails(
    project: Path, device: str, shift: float, said: str
) -> None:
    put(paths.published(), 10**7)
    put(paths.local(), 10**6, shift=shift, hardware={"device": device})
    # Another that is as published must not hide it.
    for root in (paths.published(), paths.local()):
        put(root, 10**6, run=experiments.figure2_run("mnist", 200, "wake-sleep"))
    with pytest.raises(SystemExit, match=said) as stopped:
        cli.compare("1e6")
    assert str(stopped.value).startswith(f"aevb: {RUN.name} ")
    assert f" nats in {RUN.name}, of " in compare.report("1e6")


def test_the_first_rows_tell_apart_what_is_not_the_same_run() -> None:
    """The tolerance on another processor, held to all published curves that have a counterpart."""
    published = paths.published() / "curves"
    columns = ["train_running", "train", "test"]
    same: dict[str, float] = {}
    other: dict[str, float] = {}
    for run in experiments.figure2():
        ours = curves.read(paths.curve(paths.published(), "figure2", run.name))
        check = same_seed.EARLY[run.dataset]
        for file in published.glob(f"*/{run.name[:-1]}*.csv"):
            study, name = file.parent.name, file.stem
            if (study == "figure2") == (name == run.name):  # itself, or two things differ
                continue
            theirs = curves.read(file)
            theirs = theirs[theirs.samples <= check.last]
            apart = same_seed.largest_difference(theirs, ours, columns) / check.tolerance
            (same if study in ("float32", "test-points") else other)[f"{study}/{name}"] = apart
    assert len(same) >= 12
    assert max(same.values()) < 0.2
    rounded = {name: other.pop(name) for name in list(other) if name.startswith("bfloat16/")}
    assert len(other) > 80
    assert min(other.values()) > 1
    assert len(rounded) >= 12
    assert max(rounded.values()) > 1  # so precision must agree


def test_another_seed_is_compared_with_its_own(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one = replace(RUN, seed=1)
    for root, shift in ((paths.published(), 0.0), (paths.local(), 1.0)):
        put(root, 10**6, shift, run=one)
    assert list(same_seed.compared(1).run) == [one.name]
    assert same_seed.compared(0).empty
    with pytest.raises(SystemExit, match=f"aevb: {one.name} differs .* by 1.0"):
        cli.compare("1e6", seed=1)
    told = capsys.readouterr().out
    assert f"1.0000 nats in {one.name}" in told
    assert any(line.split()[:2] == [one.name, "train"] for line in told.splitlines())


def publish_first_edition(run: experiments.Run, **settings: object) -> None:
    """A published curve of the first edition, whose run selected the step size 0.1."""
    later = {"step_size", "split", "hidden_layers", "pixels", "sleep_first", "clip_dreams"}
    then = {name: value for name, value in run.configuration.items() if name not in later}
    then |= {"step_sizes": [0.01, 0.02, 0.1], "selection_window": 100_000, **settings}
    selected = {"step_size": 0.1}
    put(paths.published(), 10**7, run=run, configuration=then, step_size_selection=selected)


@pytest.mark.parametrize("run", [RUN, experiments.figure2_run("freyface", 2, "aevb")])
def test_a_curve_of_the_first_edition_is_compared_as_one_of_another_machine(
    project: Path, run: experiments.Run
) -> None:
    """It was made by other arithmetic."""
    publish_first_edition(run)
    today = run.configuration | {"step_size": 0.1}
    late = same_seed.LATE[run.dataset]
    for shift in (0.0, late.tolerance - 1):
        put(paths.local(), 10**6, shift, run, configuration=today)
        (row,) = same_seed.compared(run.seed).to_dict("records")
        assert row == {
            "run": run.name,
            "other_settings": "",
            "check": late.where,
            "largest_difference": pytest.approx(shift),
            "tolerance": late.tolerance,
        }
        assert same_seed.not_the_published(run.seed) == ""
    put(paths.local(), 10**6, late.tolerance + 1, run, configuration=today)
    said = f"{run.name} differs .* by {late.tolerance + 1:.4f} nats; .* {late.where}"
    assert re.match(said, same_seed.not_the_published(run.seed))


@pytest.mark.parametrize("changed", [{"step_size": 0.05}, {"split": 1}])
def test_a_curve_of_the_first_edition_with_another_step_size_or_split_is_no_yardstick(
    project: Path, changed: dict[str, float]
) -> None:
    run = experiments.figure2_run("freyface", 2, "aevb")
    publish_first_edition(run)
    today = run.configuration | {"step_size": 0.1} | changed
    put(paths.local(), 10**6, 1e4, run, configuration=today)
    assert same_seed.compared().empty
    assert same_seed.not_the_published() == ""


def test_other_settings_than_those_of_the_first_edition_are_told(project: Path) -> None:
    publish_first_edition(RUN, prior=16.0)
    put(paths.local(), 10**6, configuration=RUN.configuration)
    assert same_seed.compared().largest_difference.isna().all()
    (told,) = same_seed.compared().other_settings
    assert told == "prior is 1.0, not 16.0"
