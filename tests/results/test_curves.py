"""Curve files and lines: written whole, read back, averaged over windows."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from published import RUN, publish, write_curve

from aevb import paths
from aevb.errors import DamagedFileError
from aevb.files import atomic
from aevb.results import curves
from aevb.results.lines import EMPTY, Line

ROWS = [{"samples": 100, "test": -543.4321}, {"samples": 251_188_600, "test": -97.5}]


def line(values: dict[float, float]) -> Line:
    return Line(np.array(list(values)), np.array(list(values.values())))


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    target = tmp_path / "curve.csv"
    target.write_text("old")

    def interrupted() -> None:
        with atomic(target) as temporary:
            temporary.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file = tmp_path / "adam" / "mnist-nz3-aevb-seed12.csv"
    write_curve(file, ROWS, commit="some")
    curve = curves.read(file)
    assert curve.table.to_dict("records") == ROWS
    assert (curve.study, curve.name, curve.seed) == ("adam", "mnist-nz3-aevb-seed12", 12)
    assert curve.samples == 251_188_600
    assert curve.step_size == curve.configuration["step_size"] == 0.01
    assert curve.manifest["commit"] == "some"
    assert curve.value_at(100, "test") == -543.4321


def test_a_candidates_curve_has_the_seed_of_its_run(tmp_path: Path) -> None:
    file = tmp_path / "mnist-nz3-aevb-seed3-step0.01.csv"
    write_curve(file, ROWS)
    assert curves.read(file).seed == 3


def test_curves_are_found_by_run_and_by_study(project: Path) -> None:
    assert curves.find(RUN.study, RUN.name) is None
    with pytest.raises(FileNotFoundError):
        curves.published(RUN.study, RUN.name)
    ten, two = (paths.curve(paths.published(), "adam", f"a-seed{k}") for k in (10, 2))
    for file in (ten, two):
        write_curve(file, ROWS)
    ten.with_name("a-seed2-old.csv").write_text("nonsense")
    assert [curve.path for curve in curves.seeds("adam", "a-seed0")] == [two, ten]
    assert curves.seeds("adam", "a-seed0", paths.local()) == []
    ten.with_name("a-seed2-old.csv").unlink()
    curve = publish(RUN, {100: -543})
    assert [c.path for c in curves.in_study("*")] == [ten, two, curve.path]
    assert [c.path for c in curves.in_study("adam")] == [ten, two]
    assert curves.published(RUN.study, RUN.name).path == curve.path


@pytest.mark.parametrize(
    ("about", "told"),
    [({"samples": 20}, "to 20"), ({"name": "b"}, "it is b"), ({"configuration": {}}, "study None")],
)
def test_a_manifest_of_another_curve_is_refused(
    tmp_path: Path, about: dict[str, Any], told: str
) -> None:
    file = tmp_path / "study" / "a.csv"
    write_curve(file, ROWS, **about)
    with pytest.raises(DamagedFileError, match=rf"a\.csv ends at 251,188,600 samples.*{told}"):
        _ = curves.read(file).manifest


def test_a_manifest_of_the_first_edition_is_read_in_the_settings_of_today(tmp_path: Path) -> None:
    """Its runs chose among step sizes themselves, and named few settings that came later."""
    file = tmp_path / "curve.csv"
    then = {"step_sizes": [0.01, 0.02], "selection_window": 100, "pixels": "binary"}
    then |= {"study": tmp_path.name}
    write_curve(file, ROWS, configuration=then, step_size_selection={"step_size": 0.02})
    expected = {"study": tmp_path.name, "step_size": 0.02, "pixels": "binary", "split": 0}
    expected |= {"hidden_layers": 1, "sleep_first": False, "clip_dreams": False}
    assert curves.read(file).configuration == expected
    assert curves.read(file).step_size == 0.02


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "EmptyDataError"),
        ("samples,test\n", "and a row"),
        ("samples\n100\n", "one of values"),
        ("test,train\n1,2\n", "a column samples"),
        ("samples,test\n100,-543.4\n200,foo\n", "not only numbers in test"),
        ("samples,test\n100,-543.4\n2", "samples do not rise"),
        ("samples,test\n100,-543.4\n,", "samples do not rise"),
    ],
)
def test_a_damaged_curve_is_named(tmp_path: Path, content: str, told: str) -> None:
    file = tmp_path / "curve.csv"
    file.write_text(content)
    with pytest.raises(DamagedFileError, match=rf"{file} cannot be read \(.*{told}"):
        curves.read(file)


@pytest.mark.parametrize("content", ["", "{}", "[]", "[[1]]", "3", '{"name": "curve"}'])
def test_a_damaged_manifest_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "curve.json"
    file.write_text(content)
    with pytest.raises(DamagedFileError, match=rf"{file} cannot be read \("):
        curves.read_manifest(file.with_suffix(".csv"))


@pytest.mark.parametrize("wrong", [{"configuration": "none"}, {"step_size_selection": {}}])
def test_a_manifest_with_a_damaged_configuration_is_named(
    tmp_path: Path, wrong: dict[str, object]
) -> None:
    file = tmp_path / "curve.csv"
    write_curve(file, ROWS, **wrong)
    with pytest.raises(DamagedFileError, match=r"curve\.json cannot be read \("):
        curves.read_manifest(file)


def test_a_missing_curve_names_what_gives_it(project: Path) -> None:
    for results, told in (
        (paths.local(), "aevb run mnist-nz3-aevb-seed0 --study adam`"),
        (paths.published(), "in a checkout of the project"),
    ):
        for read in (curves.read, curves.read_manifest):
            with pytest.raises(FileNotFoundError, match=told):
                read(paths.curve(results, "adam", "mnist-nz3-aevb-seed0"))


def test_without_the_papers_curves_a_checkout_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"figure2\.csv.* in a checkout of the project"):
        curves.paper_figure("figure2")


def test_the_running_bound_is_averaged_over_any_window(tmp_path: Path) -> None:
    """Against a mean over single minibatches, of which a file holds the means between rows."""
    bounds = np.random.default_rng(0).normal(size=60)
    ends = [1, 2, 3, 5, 8, 13, 21, 34, 60]
    rows = [
        {"samples": 10 * end, "train_running": bounds[start:end].mean()}
        for start, end in zip([0, *ends], ends, strict=False)
    ]
    # Within a row only the mean is known.
    known = np.repeat([row["train_running"] for row in rows], np.diff([0, *ends]))
    file = tmp_path / "curve.csv"
    curves.write(file, rows, {})
    curve = curves.read(file)
    assert curve.mean_running(0, 600) == pytest.approx(bounds.mean())
    assert curve.mean_running(130, 340) == pytest.approx(bounds[13:34].mean())
    assert curve.mean_running(70, 150) == pytest.approx(known[7:15].mean())
    assert math.isnan(curve.mean_running(500, 601))
    averaged = curve.running_train(50)
    assert averaged.samples.tolist() == [10 * end for end in ends]
    expected = [known[max(0, end - 5) : end].mean() for end in ends]
    assert averaged.values == pytest.approx(expected, abs=1e-6)
    # Where rows are further apart than the window, it is the file's own column.
    assert averaged.values[6:] == pytest.approx(curve.table.train_running[6:])


def test_a_run_that_diverged_has_no_average_at_its_end(tmp_path: Path) -> None:
    file = tmp_path / "curve.csv"
    rows = [{"samples": 10 * k, "train_running": -math.inf if k == 3 else 1.0} for k in (1, 2, 3)]
    curves.write(file, rows, {})
    values = curves.read(file).running_train(5).values
    assert values[:2].tolist() == [1.0, 1.0]
    assert not math.isfinite(values[2])


def test_values_are_interpolated_in_log_samples_and_not_beyond_the_line() -> None:
    curve = line({1e2: -500.0, 1e4: -100.0})
    assert curve.value_at(1e3) == pytest.approx(-300)
    assert curve.value_at(1e4) == -100
    for outside in (curve.value_at(1e5), curve.value_at(10), EMPTY.value_at(1e3)):
        assert math.isnan(outside)


def test_a_leap_over_a_wide_gap_is_not_bridged() -> None:
    curve = line({100: 0.0, 1000: 20.0, 2000: 40.0, 9000: 41.0})
    assert curve.value_at(300) == pytest.approx(20 * math.log10(3))
    # The paper's curves leap from an untrained model, that of Monte Carlo EM at samples at which
    # ours has been updated.
    for samples in (99, 100, 300):
        assert math.isnan(curve.value_at(samples, leap=10))
    for samples, low, high in ((1000, 20, 20), (1500, 20, 40), (5000, 40, 41)):
        assert low <= curve.value_at(samples, leap=10) <= high


def test_a_level_is_reached_between_two_points() -> None:
    curve = line({1e2: 0.0, 1e4: 2.0, 1e6: 1.0, 1e8: 4.0})
    assert curve.first_reaching(1.0) == pytest.approx(1e3)
    assert curve.first_reaching(-1.0) == pytest.approx(1e2)
    assert curve.first_reaching(3.0) == pytest.approx(10 ** (6 + 4 / 3))
    assert math.isnan(curve.first_reaching(5.0))
    assert math.isnan(EMPTY.first_reaching(0.0))
    assert math.isnan(EMPTY.end)


def test_the_interval_of_a_log_is_seen_where_no_point_is_left_out() -> None:
    samples = [10.0, 21, 30, 61, 71, 200]  # 11, 9, three, 10, many
    assert line(dict.fromkeys(samples, 0.0)).interval() == 10


def test_a_number_that_was_changed_is_noticed_where_the_curve_is_read(project: Path) -> None:
    curve = publish(RUN, {100: -543.0, 1000: -300.0})
    curve.path.write_text(curve.path.read_text().replace("-300", "-295"))
    with pytest.raises(DamagedFileError, match=f"{curve.path} .* its manifest"):
        curves.read(curve.path)
