"""What the commands print, and how they fail."""

import re
from pathlib import Path

import pytest
import torch
import yaml  # type: ignore[import-untyped]
from published import MANIFEST

from aevb import cli, curves, data, experiments, paths, runner

RUN = experiments.figure2_run("mnist", 20, "aevb")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (RUN.name, "test bound -98.50 nats at 1,000,000 samples"),
        ("n1000-aevb-seed0", "estimated log p(x) of test points -98.50 nats at 1,000,000 samples"),
    ],
)
def test_a_run_ends_with_its_last_test_value_called_what_it_is(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    said: str,
) -> None:
    def run_to(runs: list[experiments.Run], *_: object, **__: object) -> None:
        for run in runs:
            file = paths.curve(paths.local(), run.study, run.name)
            curves.write(file, [{"samples": 10**6, "test": -98.5}], MANIFEST)

    monkeypatch.setattr(runner, "run_to", run_to)
    monkeypatch.setattr(data, "load", lambda _: None)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    cli.run([name])
    assert capsys.readouterr().out.startswith(f"{name}: {said} → results/local/curves/")


def test_what_monte_carlo_em_reports_is_not_called_a_bound() -> None:
    assert cli.Progress(RUN).quantity == "bound"
    assert cli.Progress(experiments.figure3_run(1000, "mcem")).quantity == "log p(x, z)"


def test_a_wrong_configuration_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["aevb", "run", "mnist-nz20-adam-seed0"])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match("aevb: no run is called .*: expected <mnist", line)


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_a_missing_gpu_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["aevb", "run", RUN.name, "--device", "cuda"])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("aevb: device cuda: PyTorch finds no CUDA device here")


def test_a_published_curve_can_be_cited(capsys: pytest.CaptureFixture[str]) -> None:
    cli.cite(RUN.name)
    entry = capsys.readouterr().out
    manifest = curves.read_manifest(paths.curve(paths.published(), RUN.study, RUN.name))
    assert entry.startswith(f"@misc{{aevb-reproduction-figure2-{RUN.name},")
    assert f"results/curves/figure2/{RUN.name}.csv" in entry
    assert manifest["configuration_sha256"] in entry
    assert entry.count("{") == entry.count("}")
    released = yaml.safe_load((paths.root() / "CITATION.cff").read_text())["date-released"]
    assert f"  year   = {{{released.year}}},\n" in entry


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        (["compare"], "results/paper/figure2.csv"),
        (["compare", "--summary"], "results/paper/figure2.csv"),
        (["compare", "--milestones"], "results/paper/figure2.csv"),
        (["figures"], "results/paper/figure2.csv"),
        (["cite", RUN.name], f"results/curves/figure2/{RUN.name}.csv"),
    ],
)
def test_outside_a_checkout_what_is_missing_is_told_in_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    missing: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["aevb", *arguments])
    with pytest.raises(SystemExit, match="2"):
        cli.main()
    told = capsys.readouterr()
    assert told.out == ""
    (line,) = told.err.splitlines()
    assert str(tmp_path / missing) in line
    assert "run this in a checkout of the project" in line
    assert not list(tmp_path.iterdir())
