"""What `aevb compare` prints, and numbers in words."""

import math
from pathlib import Path

import pytest
from published import RUN, publish, put, straight

from aevb import cli, data, paths
from aevb.comparison import claims, pairs, report, tables, wording
from aevb.training import experiments


def cells(text: str, run: str, split: str) -> list[str]:
    """The cells of a printed table's row."""
    (line,) = (line for line in map(str.split, text.splitlines()) if line[:2] == [run, split])
    return line


def test_a_diverged_run_is_called_so(project: Path) -> None:
    put(paths.local(), RUN, straight(10**6, math.nan))
    told = cells(report.comparison("1e6"), RUN.name, "test")
    assert told[-3:] == ["diverged", "−124.2", "–"]


def test_a_word_stands_where_there_is_no_number() -> None:
    told = report.comparison("1e5")
    assert cells(told, "n50000-mcem-seed0", "test")[-2:] == ["none", "–"]
    assert "nan" not in told.lower()


def test_the_report_says_what_is_missing(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(paths.local(), RUN, straight(10**6))
    told = report.comparison("1e6")
    assert RUN.name in told
    assert "mnist-nz3-wake-sleep-seed0" in told.split("No curve yet for:")[1]
    assert "`aevb data`" not in told
    monkeypatch.setattr(data, "available", lambda: ["mnist"])
    assert "`aevb data`" in report.comparison("1e6")


def test_a_summary_of_nothing_says_so(project: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no published curve in .*curves: run this in a"):
        report.summary()


def test_the_summary_gives_the_range_of_samples_and_names_groups(project: Path) -> None:
    publish(RUN, {1e5: -300, 1e6: -110})
    publish(experiments.figure2_run("mnist", 3, "aevb"), {1e5: -300, 1e7: -110})
    publish(experiments.figure2_run("freyface", 2, "wake-sleep"), {1e5: 0, 1e7: 500})
    _, _, mnist, frey = report.summary().splitlines()
    assert mnist.startswith("| Figure 2, MNIST, AEVB | 4 | 1 | 1.0 to 10.0 M | ")
    assert frey.startswith("| Figure 2, Frey Face, wake-sleep | 2 | 1 | 10.0 M | ")
    table = pairs.on_papers_images(tables.differences("figure2", "paper"))
    differences = table.difference[table.run.str.contains("aevb")].dropna()
    assert len(differences) == 4
    largest = wording.signed(max(differences, key=abs))
    assert f"{differences.abs().mean():.1f} nats | {largest} nats (" in mnist


def test_the_readme_has_the_summary_of_the_files() -> None:
    readme = (paths.root() / "README.md").read_text()
    assert report.summary() in readme, "put what `aevb compare --summary` prints into README.md"


def test_a_cell_has_the_spread_of_seeds(project: Path) -> None:
    publish(RUN, {1e5: -300, 1e6: -110})
    publish(experiments.figure2_run("mnist", 20, "aevb", 1), {1e5: -300, 1e6: -114})
    text = report.milestones("figure2").set_index(["curve", "split"])
    assert text["1 M"]["mnist-nz20-aevb", "test"].endswith("\u00a0(2.8)")
    assert text["100 M"]["mnist-nz20-aevb", "test"] == "–"


def test_the_milestones_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    cli.compare(milestones=True)
    told = capsys.readouterr().out
    for run in (run for runs in experiments.RUNS.values() for run in runs(0)):
        assert wording.without_seed(run) in told
    for verdict in claims.verdicts():
        for part in (verdict.claim, verdict.paper.evidence, verdict.ours.evidence):
            assert part in told


@pytest.mark.parametrize(
    ("samples", "text"),
    [(100, "0.0001"), (223_900, "0.224"), (1e7, "10"), (2.5e8, "250"), (2.6249e9, "2,620")],
)
def test_millions_have_three_digits(samples: float, text: str) -> None:
    assert wording.millions(samples) == f"{text}\u00a0M"
