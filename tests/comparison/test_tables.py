"""Ours joined with the paper's, and the tables of how far apart they are."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from published import RUN, change, publish, put, straight

from aevb import data, paths
from aevb.comparison import pairs, tables
from aevb.results import curves
from aevb.training import experiments
from aevb.training.names import parse
from aevb.training.run import Run


def row_of(table: pd.DataFrame, split: str) -> pd.Series:
    (row,) = (r for _, r in table.iterrows() if (r.run, r.split) == (RUN.name, split))
    return row


def paper_value(run: Run, split: str, samples: float) -> float:
    """The paper's value, straight from its file."""
    paper = pd.read_csv(paths.paper() / f"{run.study}.csv")
    names = ("n_train",) if run.n_train else ("dataset", "nz")
    for column in (*names, "algorithm"):
        paper = paper[paper[column] == getattr(run, column)]
    paper = paper[paper["split"] == split].sort_values("samples")
    column = curves.PAPER_COLUMN[run.study]
    return float(np.interp(np.log10(samples), np.log10(paper.samples), paper[column]))


# ------------------------------------------------------------------------------------ the paper's


def test_every_curve_of_the_paper_stands_beside_a_run() -> None:
    for name, runs in experiments.RUNS.items():
        found = [pairs.paper_line(run, split) for run in runs(0) for split in curves.COLUMNS[name]]
        assert all(len(line.samples) > 10 for line in found)
        assert sum(len(line.samples) for line in found) == len(curves.paper_figure(name))


def test_the_papers_curves_end_where_its_figure_shows() -> None:
    """The right-hand edge of Figure 2 as read off its panels, to their printed precision."""
    for (name, split), bound in {
        ("mnist-nz3-aevb-seed0", "train"): -128.1,
        ("mnist-nz20-aevb-seed0", "test"): -99.5,
        ("mnist-nz200-wake-sleep-seed0", "test"): -103.7,
        ("freyface-nz10-aevb-seed0", "train"): 1462.6,
        ("freyface-nz2-wake-sleep-seed0", "test"): 569.1,
    }.items():
        run = parse(name)
        line = pairs.paper_line(run, split)
        last = min({"mnist": 2.5e8, "freyface": 1e8}[run.dataset], line.end)
        assert line.value_at(last) == pytest.approx(bound, abs=0.5)


@pytest.mark.parametrize(
    ("name", "window"),
    [
        ("mnist-nz20-aevb-seed0", 229_000),
        ("mnist-nz200-aevb-seed0", 186_000),
        ("freyface-nz5-aevb-seed0", 468_000),
        ("freyface-nz5-wake-sleep-seed0", 278_000),
    ],
)
def test_the_running_bound_is_averaged_over_the_papers_window(
    project: Path, name: str, window: float
) -> None:
    run = parse(name)
    assert pairs.paper_line(run, "train").interval() == pytest.approx(window, rel=0.01)
    start, end = 10**6 - window, 10**6
    curve = publish(run, {start: -500, 0.9 * end: -300, end: -200})
    line = pairs.our_line(curve, run, "train_running")
    assert line is not None
    mean = ((0.9 * end - start) * -300 + 0.1 * end * -200) / window
    assert line.value_at(end) == pytest.approx(mean, rel=0.01)
    other = pairs.our_line(curve, run, "test")
    assert other is not None
    assert other.value_at(end) == -200
    table = tables.differences("figure2", end).set_index(["run", "split"])
    assert table.ours[name, "train"] == line.value_at(end)


def test_our_first_rows_beside_the_papers_first_point() -> None:
    """At a million samples its windows move Frey Face by tens of nats, and MNIST by about one."""
    for dataset, low, high in (("freyface", 9, 35), ("mnist", 0.6, 1.2)):
        for nz in experiments.NZ[dataset]:  # type: ignore[index]
            run = experiments.figure2_run(dataset, nz, "aevb")  # type: ignore[arg-type]
            curve = curves.published(run.study, run.name)
            line = pairs.our_line(curve, run, "train_running")
            assert line is not None
            moved = curve.value_at(1e6, "train_running") - line.value_at(1e6)
            assert low < moved < high
            assert line.value_at(1e7) == pytest.approx(curve.value_at(1e7, "train_running"))


# ---------------------------------------------------------------------------------- at one budget


def test_ours_and_the_papers_are_read_at_the_same_samples(project: Path) -> None:
    put(paths.local(), RUN, straight(10**6))
    row = row_of(tables.differences("figure2", "1e6"), "test")
    assert row.samples == 10**6
    assert row.ours == -198
    assert row.paper == pytest.approx(paper_value(RUN, "test", 10**6))
    assert row.difference == row.ours - row.paper
    assert row.source == "local"


def test_the_papers_test_curves_on_mnist_stand_beside_two_of_ours(project: Path) -> None:
    curve = put(paths.local(), RUN, straight(10**6))
    change(curve, validation=curve.table.validation - 1)
    table = tables.differences("figure2", "1e6")
    rows = {split: row_of(table, split) for split in ("train", "validation", "test")}
    for split, theirs in {"train": "train", "validation": "test", "test": "test"}.items():
        assert rows[split].paper == pytest.approx(paper_value(RUN, theirs, 1e6))
    assert rows["validation"].ours == rows["test"].ours - 1
    judged = pairs.on_papers_images(table)
    assert list(judged.split[judged.run == RUN.name]) == ["train", "validation"]
    frey = experiments.figure2_run("freyface", 10, "aevb").name
    assert list(judged.split[judged.run == frey]) == ["train", "test"]


def test_the_curve_that_reaches_further_is_taken(project: Path) -> None:
    put(paths.published(), RUN, straight(10**7))
    put(paths.local(), RUN, straight(10**6, 0.5))
    for budget, local, source in (
        ("1e7", True, "published"),
        ("1e6", True, "local"),
        ("1e6", False, "published"),
    ):
        table = tables.differences("figure2", budget, local=local)
        assert row_of(table, "test").source == source


def test_beyond_our_curve_its_last_point_is_compared(project: Path) -> None:
    put(paths.local(), RUN, straight(10**6))
    assert row_of(tables.differences("figure2", "paper"), "train").samples == 10**6


def test_nothing_is_read_on_a_leap_of_the_papers_curve() -> None:
    """Its Monte Carlo EM leaps from the untrained model at 750,000 samples over the whole rise."""
    table = tables.differences("figure3", "1e5", local=False).set_index(["run", "split"])
    assert table.ours["n50000-mcem-seed0", "test"] < 0
    assert math.isnan(table.paper["n50000-mcem-seed0", "test"])


def test_beyond_the_papers_curve_one_log_point_stands_beside_it(project: Path) -> None:
    last = pairs.paper_line(RUN, "test").end
    for points, there in (((1e5, 1.1 * last), True), ((1e5, 1.1 * last, 1.2 * last), False)):
        publish(RUN, dict.fromkeys(points, -95.0))
        row = row_of(tables.differences("figure2", 1.2 * last), "test")
        assert math.isfinite(row.paper) == there


def test_a_column_that_an_older_curve_lacks_is_left_out(project: Path) -> None:
    change(publish(RUN, {1e5: -300, 1e6: -110}), validation=None)
    table = tables.differences("figure2", 1e6)
    assert set(table.split[table.run == RUN.name]) == {"train", "test"}
    _, ours = pairs.lines("figure2")
    assert set(ours) == {(RUN, "train"), (RUN, "test")}


# --------------------------------------------------------------------------------------- by seeds


def test_the_ends_are_of_the_seeds_that_go_furthest(project: Path) -> None:
    seeds = [experiments.figure3_run(1000, "aevb", seed) for seed in range(4)]
    for run, last in zip(seeds, (-110.0, -112.0, -114.0), strict=False):
        publish(run, {1e5: -300, 5e7: last})
    publish(seeds[3], {1e5: -300, 1e7: -500})
    table = tables.final_differences("figure3")
    table = table[table.curve == "n1000-aevb"]
    assert sorted(zip(table.seed, table.split, strict=True)) == [
        (seed, split) for seed in range(3) for split in ("test", "train")
    ]
    row = tables.over_seeds(table).set_index("split").loc["train"]
    assert (row.seeds, row.ours, row.spread, row.samples) == (3, -112, 2, 5e7)
    assert row.paper == pytest.approx(paper_value(seeds[0], "train", 5e7))
    assert row.difference == pytest.approx(-112 - row.paper)


def test_the_differences_of_figure_3_are_those_of_the_files() -> None:
    """The mean over seeds and its spread at the ends, computed anew from the files."""
    found = tables.over_seeds(tables.final_differences("figure3")).set_index(["curve", "split"])
    assert len(found) == 12
    for run in experiments.figure3():
        ends = pd.DataFrame([curve.table.iloc[-1] for curve in curves.seeds("figure3", run.name)])
        assert len(ends) == 3
        for split in ("train", "test"):
            last = min(ends.samples.iloc[0], pairs.paper_line(run, split).end)
            gaps = ends[split] - paper_value(run, split, last)
            key = (run.name.removesuffix("-seed0"), split)
            assert found.difference[key] == pytest.approx(gaps.mean())
            assert found.spread[key] == pytest.approx(gaps.std())


# --------------------------------------------------------------------------------- along the axis


def test_milestones_are_ours_minus_the_papers_with_the_spread_of_seeds(project: Path) -> None:
    publish(RUN, {1e5: -300, 1e6: -110, 1e7: -100})
    publish(experiments.figure2_run("mnist", 20, "aevb", 1), {1e5: -300, 1e6: -114})
    table = tables.milestones("figure2")
    assert len(table) == 30 * 6 + 16 * 6
    ours = table[(table.run == RUN.name) & (table.split == "test")].set_index("milestone")
    halfway = -110 + 10 * np.log10(3)
    for milestone, samples, value in (
        ("1 M", 1e6, -110),
        ("3 M", 3e6, halfway),
        ("10 M", 1e7, -100),
    ):
        expected = value - paper_value(RUN, "test", samples)
        assert ours.difference[milestone] == pytest.approx(expected)
    assert ours.difference[["30 M", "100 M", "edge"]].isna().all()
    assert list(ours.seeds) == [2, 1, 1, 0, 0, 0]
    assert ours.spread["1 M"] == pytest.approx(np.std([-110, -114], ddof=1))
    assert ours.spread.isna().sum() == 5
    assert table[table.run != RUN.name].difference.isna().all()


def test_the_mean_is_over_the_visible_axis_as_far_as_our_curve_goes(project: Path) -> None:
    left, right = pairs.paper_line(RUN, "test").visible
    publish(RUN, dict.fromkeys((1e5, 1e6, 2e6, 4e6, 3e8), -103.0))
    table = tables.mean_over_axis("figure2")
    row = row_of(table, "test")
    expected = [abs(-103 - paper_value(RUN, "test", s)) for s in (1e6, 2e6, 4e6)]
    assert row["mean"] == pytest.approx(np.mean(expected))
    assert (row["first"], row["last"]) == (1e6, 4e6)
    assert row.share == pytest.approx(np.log(4) / np.log(right / left))
    assert table[table.run != RUN.name]["mean"].isna().all()


def test_targets_count_the_curves_that_reach_the_edge() -> None:
    table = tables.targets().set_index("group")
    assert table.curves.sum() == 36 + 12
    there = tables.milestones("figure3")
    there = there[there.milestone == "edge"]
    for n_train in experiments.N_TRAIN:
        differences = there.difference[there.run.str.startswith(f"n{n_train}-")]
        row = table.loc[f"Figure 3, N = {n_train:,}"]
        assert row.reach == differences.notna().sum()
        assert row.within == (differences.abs() <= 1.5).sum()
    titles: dict[data.Name, str] = {"mnist": "MNIST", "freyface": "Frey Face"}
    names: dict[str, str] = {"aevb": "AEVB", "wake-sleep": "wake-sleep"}
    for dataset, title in titles.items():
        for algorithm, name in names.items():
            edge, gaps, within = experiments.PAPER_BUDGET[dataset], [], 0
            for nz in experiments.NZ[dataset]:
                run = experiments.figure2_run(dataset, nz, algorithm)
                curve = curves.published(run.study, run.name)
                if curve.samples < edge:
                    continue
                columns = {
                    "train": "train_running",
                    "test": "validation" if dataset == "mnist" else "test",
                }
                for split, column in columns.items():
                    theirs = paper_value(run, split, edge)
                    gaps.append(curve.value_at(edge, column) - theirs)
                    allowed = 1.0 if dataset == "mnist" else 0.02 * theirs
                    within += abs(gaps[-1]) <= allowed
            row = table.loc[f"Figure 2, {title}, {name}"]
            assert row.reach == len(gaps)
            if gaps:
                assert row.largest == pytest.approx(max(gaps, key=abs), abs=0.05)
            if dataset == "mnist" or algorithm == "aevb":
                assert row.within == within


def test_a_curve_above_the_papers_has_a_positive_difference(project: Path) -> None:
    paper = pairs.paper_line(RUN, "test").value_at(1e6)
    curve = publish(RUN, {10**5: paper, 10**6: paper + 3})
    assert pairs.difference(curve, RUN, "validation", 1e6) == pytest.approx(3, abs=1e-3)
