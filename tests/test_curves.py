"""Curve files: written whole, read back, compared."""

import math
from pathlib import Path

import pandas as pd
import pytest

from aevb import paths
from aevb.comparison import compare
from aevb.errors import DamagedFileError
from aevb.files import atomic
from aevb.results import curves
from aevb.training import experiments


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
    target = tmp_path / "deep" / "curve.csv"
    rows = [{"samples": 100, "test": -543.4321}, {"samples": 251_188_600, "test": -97.5}]
    manifest = dict.fromkeys(curves.FIELDS, "said") | {"configuration": {"prior": 1.0}}
    curves.write(target, rows, manifest)
    assert curves.read(target).to_dict("records") == rows
    assert curves.read_manifest(target) == manifest


def test_a_manifest_of_the_first_edition_is_read_in_the_settings_of_today(tmp_path: Path) -> None:
    """Its runs chose among step sizes themselves, and named few settings that came later."""
    target = tmp_path / "curve.csv"
    then = {"prior": 1.0, "step_sizes": [0.01, 0.02], "selection_window": 100, "pixels": "binary"}
    manifest = dict.fromkeys(curves.FIELDS, "said") | {"configuration": then}
    curves.write(
        target,
        [{"samples": 100, "test": 0.0}],
        manifest | {"step_size_selection": {"step_size": 0.02}},
    )
    expected = {"prior": 1.0, "step_size": 0.02, "pixels": "binary", "split": 0}
    expected |= {"hidden_layers": 1, "sleep_first": False, "clip_dreams": False}
    assert curves.read_manifest(target)["configuration"] == expected
    assert curves.step_size(target) == 0.02
    now = dict.fromkeys(curves.FIELDS, "said") | {"configuration": {"step_size": 0.03}}
    curves.write_manifest(target, now)
    assert curves.read_manifest(target) == now
    assert curves.step_size(target) == 0.03


@pytest.mark.parametrize(
    ("content", "said"),
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
def test_a_curve_that_is_none_is_named(tmp_path: Path, content: str, said: str) -> None:
    file = tmp_path / "curve.csv"
    file.write_text(content)
    with pytest.raises(DamagedFileError, match=rf"{file} cannot be read \(.*{said}"):
        curves.read(file)


@pytest.mark.parametrize("content", ["", "{}", "[]", "[[1]]", "3", '{"name": "curve"}'])
def test_a_manifest_that_is_none_is_named(tmp_path: Path, content: str) -> None:
    file = tmp_path / "curve.json"
    file.write_text(content)
    with pytest.raises(DamagedFileError, match=rf"{file} cannot be read \("):
        curves.read_manifest(file.with_suffix(".csv"))


@pytest.mark.parametrize("wrong", [{"configuration": "none"}, {"step_size_selection": {}}])
def test_a_manifest_whose_configuration_is_none_is_named(
    tmp_path: Path, wrong: dict[str, object]
) -> None:
    file = tmp_path / "curve.csv"
    curves.write_manifest(
        file, dict.fromkeys(curves.FIELDS, "said") | {"configuration": {}} | wrong
    )
    with pytest.raises(DamagedFileError, match=r"curve\.json cannot be read \("):
        curves.read_manifest(file)


def test_a_missing_curve_names_what_gives_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for results, said in (
        (paths.local(), "aevb run mnist-nz3-aevb-seed0 --study adam`"),
        (paths.published(), "in a checkout of the project"),
    ):
        for read in (curves.read, curves.read_manifest):
            with pytest.raises(FileNotFoundError, match=said):
                read(paths.curve(results, "adam", "mnist-nz3-aevb-seed0"))


def test_without_the_papers_curves_a_checkout_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"figure2\.csv.* in a checkout of the project"):
        curves.paper_figure("figure2")


def test_values_are_interpolated_in_log_samples_and_not_beyond_the_curve() -> None:
    curve = pd.DataFrame({"samples": [1e2, 1e4], "test": [-500.0, -100.0]})
    assert curves.value_at(1e3, curve, "test") == pytest.approx(-300)
    assert curves.value_at(1e4, curve, "test") == -100
    assert pd.isna(curves.value_at(1e5, curve, "test"))
    assert pd.isna(curves.value_at(10, curve, "test"))
    assert pd.isna(curves.value_at(1e3, curve.head(0), "test"))


def test_the_papers_curves_end_where_its_figure_shows() -> None:
    """The right-hand edge of Figure 2 as read off its panels, to their printed precision."""
    end = {"mnist": 2.5e8, "freyface": 1e8}
    for (name, split), bound in {
        ("mnist-nz3-aevb-seed0", "train"): -128.1,
        ("mnist-nz20-aevb-seed0", "test"): -99.5,
        ("mnist-nz200-wake-sleep-seed0", "test"): -103.7,
        ("freyface-nz10-aevb-seed0", "train"): 1462.6,
        ("freyface-nz2-wake-sleep-seed0", "test"): 569.1,
    }.items():
        run = experiments.parse(name)
        curve = compare.paper_curve(run, split)
        assert curve.samples.is_monotonic_increasing
        last = min(end[run.dataset], curve.samples.max())
        assert curves.value_at(last, curve, "lower_bound") == pytest.approx(bound, abs=0.5)


def test_a_leap_over_a_wide_gap_is_not_bridged() -> None:
    curve = pd.DataFrame({"samples": [100, 1000, 2000, 9000], "y": [0.0, 20.0, 40.0, 41.0]})
    assert curves.value_at(300, curve, "y") == pytest.approx(20 * math.log10(3))
    # The paper's curves leap from an untrained model, that of Monte Carlo EM at samples at which
    # ours has been updated.
    for samples in (100, 300):
        assert math.isnan(curves.value_at(samples, curve, "y", leap=10))
    for samples, low, high in ((1000, 20, 20), (1500, 20, 40), (5000, 40, 41)):
        assert low <= curves.value_at(samples, curve, "y", leap=10) <= high
    assert math.isnan(curves.value_at(99, curve, "y", leap=10))
