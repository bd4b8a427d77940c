"""Curves held against the paper's and ours: never a false suspect, known mistakes found."""

import json
import math
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import aevb
from aevb.comparison import judge, reference
from aevb.errors import ConfigurationError
from aevb.results import curves
from aevb.results.curves import Curve
from aevb.results.lines import Line

LIKE: dict[str, Any] = {"like": "mnist-nz20-aevb", "split": "validation"}
CURVE = curves.published("figure2", "mnist-nz20-aevb-seed0")
SAMPLES = CURVE.table.samples.to_numpy(float)
BOUND = CURVE.table.validation.to_numpy(float)


def splits(curve: Curve) -> dict[str, str]:
    """Our columns of a curve, by split."""
    if "train_accurate" in curve.table:
        return {"train": "train", "test": "test"}
    found = {"train": "train_running", "validation": "validation", "test": "test"}
    return {split: column for split, column in found.items() if column in curve.table}


def judged(curve: Curve, split: str) -> judge.Judgement:
    values = curve.table[splits(curve)[split]]
    there = values.notna()
    return judge.judge(
        curve.table.samples[there],
        values[there],
        like=curve.name.rpartition("-seed")[0],
        split=split,
        minibatch=curve.configuration["minibatch"],
    )


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> Line:
    """Three seeds at -199, -200 and -201 nats a decade before their rise, and the paper's."""
    samples = np.logspace(5, 7, 41)
    rise = 100 * (np.log10(samples) - 5)

    def line(shift: float) -> Line:
        return Line(samples, rise - 200 + shift)

    curves_of = {f"seed{k}": line(k - 1) for k in range(3)} | {"paper": line(0.5)}
    only = {("mnist-nz20-aevb", "validation"): curves_of, ("mnist-nz20-aevb", "test"): curves_of}
    monkeypatch.setattr(judge, "_all", lambda: only)
    return line(0)


# ----------------------------------------------------------------------- the package's own curves


def test_the_packages_curves_are_those_of_the_files() -> None:
    assert judge.REFERENCE.read_text() == reference.as_text(), "run `aevb reference`"


def test_a_judgement_loads_neither_pytorch_nor_pandas_and_needs_no_checkout(
    tmp_path: Path,
) -> None:
    file = tmp_path / "mine.csv"
    file.write_text("samples,test_elbo\n1000000,-123\n3000000,-112\n10000000,-104.6\n")
    script = (
        "import atexit, sys\n"
        "names = ('torch', 'pandas', 'scipy', 'matplotlib')\n"
        "atexit.register(lambda: print([n for n in names if n in sys.modules]))\n"
        "from aevb.__main__ import main\n"
        f"sys.argv = ['aevb', 'judge', {str(file)!r}, '--like', 'mnist-nz20-aevb']\n"
        "main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
    assert "Inside the band: 3 of 3 points" in done.stdout


def test_no_published_curve_of_the_paper_s_figures_is_accused_and_all_are_inside() -> None:
    for figure in ("figure2", "figure3"):
        for curve in curves.in_study(figure):
            for split in splits(curve):
                found = judged(curve, split)
                assert found.inside, (curve.name, found.verdict)
                assert not found.suspects, curve.name
                assert not any("first point" in note for note in found.notes), curve.name


def test_held_against_the_other_seeds_none_is_accused_and_most_are_inside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = judge._all()
    inside = []
    for figure in ("figure2", "figure3"):
        for curve in curves.in_study(figure):
            for split in splits(curve):
                key = (curve.name.rpartition("-seed")[0], split)
                others = {s: c for s, c in whole[key].items() if s != f"seed{curve.seed}"}
                monkeypatch.setattr(judge, "_all", lambda k=key, o=others: {**whole, k: o})
                found = judged(curve, split)
                assert not found.suspects, (curve.name, found.suspects)
                inside.append(found.inside)
    assert np.mean(inside) > 0.8


def test_no_curve_with_another_setting_is_accused_of_a_mistake_of_counting() -> None:
    found = 0
    for curve in curves.in_study("*"):
        like = (curve.name.rpartition("-seed")[0], "test")
        if like in judge._all() and curve.samples > 4 * judge.FIRST_SAMPLES:
            found += 1
            assert not judged(curve, "test").suspects, curve.path
    assert found > 100


def test_the_papers_own_curves_are_inside_and_not_accused() -> None:
    for (name, split), sources in judge._all().items():
        if "paper" in sources:
            paper = sources["paper"]
            x, y = paper.samples[paper.samples >= 1e6], paper.values[paper.samples >= 1e6]
            found = judge.judge(x, y, like=name, split=split)
            assert found.inside, (name, found.verdict)
            assert not found.suspects


# --------------------------------------------------------------------------------- known answers


def test_the_band_is_three_deviations_about_our_mean_and_the_papers(known: Line) -> None:
    (point,) = judge.judge([1e6], [-97.0], **LIKE).points
    assert point.ours == pytest.approx(-100)  # SD 1
    assert point.paper == pytest.approx(-99.5)
    assert (point.low, point.high) == pytest.approx((-103, -96.5))
    assert point.inside
    assert not judge.judge([1e6], [-96.4], **LIKE).inside
    assert not judge.judge([1e6], [-103.1], **LIKE).inside


def test_a_shifted_curve_is_that_far(known: Line) -> None:
    found = judge.judge(known.samples, known.values - 7, **LIKE)
    assert not found.inside
    assert "−7.0 nats from ours, −7.5 from the paper's" in found.verdict
    assert found.compared[0].samples >= judge.FIRST_SAMPLES
    assert "OUTSIDE" in str(found)


def test_one_point_in_ten_may_lie_outside(known: Line) -> None:
    values = known.values.copy()
    points = len(judge.judge(known.samples, values, **LIKE).compared)
    values[-(points // 10) :] += 50
    assert judge.judge(known.samples, values, **LIKE).inside
    values[-(points // 10) - 1 :] += 50
    assert not judge.judge(known.samples, values, **LIKE).inside


def test_where_one_seed_goes_on_the_last_deviation_stays() -> None:
    found = judge.reference("mnist-nz20-aevb", "validation")
    assert found.spread.end < found.seeds["seed0"].end
    beyond = found.point(5e7, -101)
    assert beyond.ours == pytest.approx(found.seeds["seed0"].value_at(5e7))
    width = beyond.high - max(beyond.ours, beyond.paper)
    assert width == pytest.approx(3 * found.spread.values[-1])


def test_a_train_curve_is_averaged_over_the_papers_window() -> None:
    """Epoch means and minibatch means of one run are the same curve."""
    fine = np.arange(1, 200_001) * 100.0
    rising = -100 - 3e7 / (fine + 1e5)
    epochs = rising.reshape(-1, 500).mean(1)  # of 50,000 images
    window = judge.reference("mnist-nz20-aevb", "train").window
    assert 2e5 < window < 3e5
    for x, y, error in ((fine, rising, 1e-3), (fine[499::500], epochs, 0.5)):
        points = judge.judge(x, y, like="mnist-nz20-aevb", split="train").points
        assert len(points) > 20
        for point in points[5:]:
            last = (fine > point.samples - window) & (fine <= point.samples)
            assert point.yours == pytest.approx(rising[last].mean(), abs=error)


@pytest.mark.parametrize(
    ("times", "factor", "mistake"),
    [
        (1, -1, "a loss, not a bound"),
        (1, 1 / 784, "a mean over the 784 pixels"),
        (1, -1 / 784, "a loss, and a mean over the 784 pixels"),
        (1, 1 / math.log(2), "bits, not nats"),
        (1, -1 / math.log(2) / 784, "a loss, and bits per pixel"),
        (1, 100, "a sum over the 100 datapoints"),
        (0.01, 1, "updates, of 100 datapoints, are counted as samples"),
        (100, 1, "samples are counted as updates of 100"),
    ],
)
def test_a_mistake_of_units_is_found_and_no_other(
    times: float, factor: float, mistake: str
) -> None:
    found = judge.judge(SAMPLES * times, BOUND * factor, **LIKE)
    assert not found.inside
    (suspect,) = found.suspects
    assert mistake in suspect.mistake
    assert re.search(r"corrected, \d+ of \d+ points lie in the band", suspect.evidence_for)
    assert suspect.check in str(found)


def test_a_mistake_is_found_in_the_means_of_many_minibatches() -> None:
    samples = np.arange(50_000) * 100.0  # from an untrained model
    line = CURVE.line("train_running")
    values = np.interp(np.log10(samples + 1), np.log10(line.samples), line.values) / 784
    found = judge.judge(samples, values, like="mnist-nz20-aevb", split="train")
    assert [suspect.mistake for suspect in found.suspects] == [
        "the values are a mean over the 784 pixels, not their sum"
    ]


@pytest.mark.parametrize(("times", "epochs"), [(1 / 1.2, "60,000"), (1.2, "50,000")])
def test_epochs_of_another_size_are_found_where_the_spread_allows(
    known: Line, times: float, epochs: str
) -> None:
    found = judge.judge(known.samples * times, known.values + 0.1, **LIKE)
    (suspect,) = found.suspects
    assert suspect.mistake.startswith(f"epochs of {epochs} images")


def test_nothing_is_suspected_from_two_points_or_of_a_diverged_run() -> None:
    assert not judge.judge(SAMPLES[-2:], -BOUND[-2:], **LIKE).suspects
    diverged = judge.judge(
        SAMPLES, BOUND - 1e4 * np.random.default_rng(0).random(len(BOUND)), **LIKE
    )
    assert not diverged.inside
    assert not diverged.suspects


@pytest.mark.parametrize(
    ("weight", "words"), [(0.0, "leave the KL divergence out"), (0.5, "divergence 0.5 times")]
)
def test_the_weight_of_the_kl_is_told_from_the_columns(weight: float, words: str) -> None:
    kl = np.linspace(5, 25, len(BOUND))
    recon = BOUND + kl
    found = judge.judge(SAMPLES, recon - weight * kl, **LIKE, reconstruction=recon, kl=kl)
    (suspect,) = found.suspects
    assert words in suspect.mistake
    assert (
        "with the KL counted once, 100% of those compared lie in the band" in suspect.evidence_for
    )
    assert not judge.judge(SAMPLES, BOUND, **LIKE, reconstruction=recon, kl=kl).suspects


def test_a_start_that_is_not_an_untrained_model_is_noted() -> None:
    x, y = np.append(0, SAMPLES), np.append(-543.4, BOUND)
    assert not judge.judge(x, y, **LIKE).notes
    y[0] = -700
    (note,) = judge.judge(x, y, **LIKE).notes
    assert "−700.0 nats; ours is −543.4, −784 ln 2" in note


def test_the_start_of_an_untrained_model_is_that_of_the_files() -> None:
    for (name, split), sources in judge._all().items():
        start = judge.reference(name, split).data[1]
        for source, line in sources.items():
            if source != "paper" and line.samples[0] <= 500:
                assert line.values[0] == pytest.approx(start, abs=2), (name, source)


# ----------------------------------------------------------------------------- input that is wrong


@pytest.mark.parametrize(
    ("samples", "bound", "words"),
    [
        ([1e6, 2e6], [-100.0], "expected one of each"),
        ([], [], "expected one of each"),
        ([1e6, 2e6], [-100.0, math.nan], "point 2 .*is not finite"),
        ([2e6, 1e6], [-100.0, -101.0], "do not rise at point 2"),
        ([1e6, 1e6], [-100.0, -101.0], "do not rise at point 2"),
        ([-1, 1e6], [-100.0, -101.0], "expected 0 or more"),
        ([1, 2, 3], [-100.0, -99.0, -98.0], "train longer, or check"),
    ],
)
def test_numbers_that_are_no_curve(samples: list[float], bound: list[float], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words) as error:
        judge.judge(samples, bound, **LIKE)
    assert "\n" not in str(error.value)


def test_what_to_hold_it_against_is_asked_for() -> None:
    with pytest.raises(ConfigurationError, match=r"mnist-nz3-aevb, .*n50000-mcem"):
        judge.judge([1e6], [-100])
    with pytest.raises(ConfigurationError, match=r"no configuration is called 'vae'.*mnist"):
        judge.judge([1e6], [-100], like="vae")
    with pytest.raises(ConfigurationError, match=r"no split 'validation'.*train, test"):
        judge.judge([1e6], [-100], like="n1000-aevb", split="validation")
    with pytest.raises(ConfigurationError, match="every point of the bound"):
        judge.judge(SAMPLES, BOUND, **LIKE, reconstruction=[1], kl=[1])


# ------------------------------------------------------------------------------------ the command


def command(*arguments: str, content: str = "") -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "aevb", "judge", *arguments],
        input=content,
        capture_output=True,
        text=True,
    )


def as_csv(name: str, values: Any) -> str:
    rows = [f"{x:.0f},{y:.4f}" for x, y in zip(SAMPLES, values, strict=True)]
    return "\n".join([f"samples,{name}", *rows])


def test_the_status_tells_inside_from_outside_from_wrong_input() -> None:
    options = ("-", "--like", "mnist-nz20-aevb")
    inside = command(*options, content=as_csv("val_elbo", BOUND))
    assert inside.returncode == 0
    assert inside.stdout.startswith("standard input: 'val_elbo' read as a bound in nats")
    assert len(inside.stdout.splitlines()) <= 24
    assert command(*options, content=as_csv("val_elbo", BOUND - 20)).returncode == 1
    wrong = command(*options, content="")
    assert wrong.returncode == 2
    assert wrong.stderr.startswith("aevb: standard input is empty")
    assert len(wrong.stderr.splitlines()) == 1


def test_json_holds_the_numbers_of_the_judgement() -> None:
    done = command("-", "--like", "mnist-nz20-aevb", "--json", content=as_csv("val_elbo", BOUND))
    told = json.loads(done.stdout)
    found = judge.judge(SAMPLES, np.round(BOUND, 4), **LIKE)
    assert told["inside"] is True
    assert told["verdict"] == found.verdict
    assert told["points"][-1]["yours"] == pytest.approx(found.points[-1].yours)
    assert told["points"][0]["paper"] is None


def test_the_library_exports_it_and_its_example_is_true() -> None:
    assert aevb.judge is judge.judge
    found = aevb.judge([1e6, 3e6, 1e7], [-125, -113, -105.4], **LIKE)
    assert found.inside
