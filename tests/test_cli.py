"""What the commands print, and how they fail."""

import hashlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml  # type: ignore[import-untyped]
from published import put, write_curve

from aevb import cli, data, figures, paths
from aevb.errors import DamagedFileError
from aevb.results import citing, curves
from aevb.training import experiments, job

RUN = experiments.figure2_run("mnist", 20, "aevb")

# The command on a small data set, interrupted after a while.
INTERRUPTED = """
import signal
from aevb import cli, data
from aevb.training import loop
from test_cli import small

class Interrupted(cli.Progress):
    def __call__(self, what, end, training):
        super().__call__(what, end, training)
        if training.samples > 1200:
            signal.raise_signal(signal.SIGINT)

cli.Progress, cli.SECONDS_BETWEEN_LINES = Interrupted, 1e-9
data.load, loop.SAMPLES_BETWEEN_REPORTS = small, 100
cli.main()
"""


def small(name: data.Name, split: int = 0) -> data.Dataset:
    """Stands in for `data.load`."""
    pixels = torch.rand(120, 12, generator=torch.Generator().manual_seed(0))
    return data.Dataset(name, pixels[:80], pixels[80:90], pixels[90:], (3, 4), split=split)


def test_an_interrupted_run_says_so_and_the_same_command_goes_on(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["run", RUN.name, "--study", "small", "--budget", "2000"]
    for setting in ("n_hidden=8", "minibatch=10", "warmup=5", "step_size=0.02"):
        arguments += ["--set", setting]
    interrupted = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *arguments],
        cwd=project,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert interrupted.returncode == 130, interrupted.stderr
    (said,) = interrupted.stderr.splitlines()
    assert said.startswith("stopped; the same command goes on from its last checkpoint")
    lines = interrupted.stdout.splitlines()
    assert re.fullmatch(
        rf"{RUN.name}, training: 1,\d\d0 of 2,000 samples, bound -\d\.\d nats, "
        r"[\d,]+ samples/s, \d\d:\d\d left",
        lines[-1],
    )

    monkeypatch.setattr(data, "load", small)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    curve = paths.curve(paths.local(), "small", RUN.name)
    stopped = curve.read_bytes()
    cli.app(arguments, standalone_mode=False)
    continued = curve.read_bytes()
    assert len(stopped) < len(continued)
    paths.checkpoint("small", RUN.name).unlink()
    curve.unlink()
    cli.app(arguments, standalone_mode=False)
    assert curve.read_bytes() == continued


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_and_a_termination_ask_a_run_to_stop(
    monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    handlers: dict[int, Callable[[int, None], None]] = {}
    monkeypatch.setattr("signal.signal", handlers.__setitem__)
    stop = cli._StopOnSignal()
    assert not stop.requested()
    handlers[number](number, None)
    assert stop.requested()


def test_the_runs_of_both_figures_are_listed(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [run.name for run in [*experiments.figure3(3), *experiments.figure2(3)]]
    cli.list_runs(seed=3)
    assert capsys.readouterr().out.splitlines() == names
    monkeypatch.setattr(data, "available", lambda: ["mnist"])
    cli.list_runs(seed=3, available=True)
    here = [name for name in names if not name.startswith("freyface")]
    assert capsys.readouterr().out.splitlines() == here
    assert len(here) < len(names) == 24


def test_the_model_that_is_exported_is_that_of_the_study_and_its_settings(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    exported: list[experiments.Run] = []

    def export(run: experiments.Run) -> Path:
        exported.append(run)
        return paths.model(paths.local(), run.study, run.name)

    monkeypatch.setattr(job, "export", export)
    arguments = ["--study", "other", "--set", "optimiser=adam", "--set", "prior=0"]
    cli.app(["export", RUN.name, *arguments], standalone_mode=False)
    assert capsys.readouterr().out == f"results/local/models/other/{RUN.name}.safetensors\n"
    cli.app(["export", RUN.name], standalone_mode=False)
    assert exported == [replace(RUN, study="other", optimiser="adam", prior=0.0), RUN]


@pytest.mark.parametrize(("arguments", "local"), [([], True), (["--published"], False)])
def test_figures_are_of_local_runs_too_unless_the_published_ones_are_asked_for(
    project: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    local: bool,
) -> None:
    def draw_all(*, local: bool = True) -> list[Path]:
        return [paths.figure(paths.local() if local else paths.published(), "figure2", "svg")]

    monkeypatch.setattr(figures, "draw_all", draw_all)
    cli.app(["figures", *arguments], standalone_mode=False)
    folder = "results/local/figures" if local else "results/figures"
    assert capsys.readouterr().out == f"{folder}/figure2.svg\n"


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
            write_curve(file, [{"samples": 10**6, "test": -98.5}])

    monkeypatch.setattr(job, "run_to", run_to)
    monkeypatch.setattr(data, "load", small)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    cli.run([name])
    assert capsys.readouterr().out.startswith(f"{name}: {said} → results/local/curves/")


def test_a_run_that_diverges_fails_in_one_line_and_keeps_its_curve(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(data, "load", small)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setenv("MAKEFLAGS", "--jobserver")  # no bar
    settings = ("--set", "n_hidden=8", "--set", "warmup=0", "--set", "step_size=1e30")
    arguments = ["aevb", "run", RUN.name, "--study", "large-steps", "--budget", "1e4", *settings]
    monkeypatch.setattr("sys.argv", arguments)
    for _ in range(2):  # and is not begun again
        with pytest.raises(SystemExit, match=r"^1$"):
            cli.main()
        told = capsys.readouterr()
        assert told.out == ""
        (line,) = told.err.splitlines()
        assert line.startswith(f"aevb: {RUN.name} diverged: the bound is ")
        assert "--set step_size" in line
    curve = paths.curve(paths.local(), "large-steps", RUN.name)
    assert 1 < len(curves.read(curve).table) < 10
    assert curves.read_manifest(curve)["diverged"] is True


def test_a_step_size_is_selected_from_the_curves_of_its_candidates(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of another seed too the candidates are of seed 0; one that diverges ends none of the rest."""
    monkeypatch.setattr(data, "load", small)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(torch, "set_num_threads", lambda _: None)
    monkeypatch.setitem(experiments.LOGGING_INTERVAL, "mnist", 2_000)
    monkeypatch.setattr(experiments, "CANDIDATES", (1000.0, 1e-5, 0.02))
    cli.app(["select", "mnist-nz20-aevb-seed7"], standalone_mode=False)
    diverged, *scores, choice = [
        line for line in capsys.readouterr().out.splitlines() if "samples/s" not in line
    ]
    assert diverged.startswith("mnist-nz20-aevb-seed0-step1000.0 diverged: the bound is ")
    assert [re.sub(r"-\d\.\d\d ", "… ", line) for line in scores] == [
        "mnist-nz20-aevb-seed7, step size 1000: diverged",
        "mnist-nz20-aevb-seed7, step size 1e-05: bound … nats",
        "mnist-nz20-aevb-seed7, step size 0.02: bound … nats",
    ]
    assert choice == "mnist-nz20-aevb-seed7: step size 0.02"
    folder = paths.curves(paths.local(), experiments.SELECTION)
    assert sorted(file.name for file in folder.glob("*.csv")) == [
        f"mnist-nz20-aevb-seed0-step{step}.csv" for step in ("0.02", "1000.0", "1e-05")
    ]


def test_the_bar_of_a_run_has_a_line_of_its_own(
    project: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_to(runs: list[experiments.Run], *_: object, report: job.Report, **__: object) -> None:
        training = job.start(runs, small("mnist"))
        report("training", 1000, training)
        assert "training" in capsys.readouterr().err
        file = paths.curve(paths.local(), RUN.study, RUN.name)
        write_curve(file, [{"samples": 1000, "test": -98.5}])

    monkeypatch.setattr(job, "run_to", run_to)
    monkeypatch.setattr(data, "load", small)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.delenv("MAKEFLAGS", raising=False)
    before_the_result: list[str] = []
    original = curves.read

    def read(file: Path) -> curves.Curve:
        before_the_result.append(capsys.readouterr().err)
        return original(file)

    monkeypatch.setattr(curves, "read", read)
    cli.run([RUN.name])
    assert before_the_result[0].endswith("\n")


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


def test_a_missing_gpu_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
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
    file = paths.curve(paths.published(), RUN.study, RUN.name)
    assert f" SHA-256 {hashlib.sha256(file.read_bytes()).hexdigest()},\n" in entry
    assert entry.count("{") == entry.count("}")
    released = yaml.safe_load((paths.root() / "CITATION.cff").read_text())["date-released"]
    assert f"  year   = {{{released.year}}},\n" in entry


def test_without_the_date_of_a_release_there_is_no_year_to_cite(project: Path) -> None:
    (paths.root() / "CITATION.cff").write_text("title: none\n")
    curve = put(paths.published(), RUN, {100: -543}, commit="0", versions={"aevb": "0"})
    with pytest.raises(DamagedFileError, match=r"CITATION\.cff: expected a line such as"):
        citing.bibtex(curve)


def test_where_a_curve_is_that_cannot_be_cited_here(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments, said in (
        ([RUN.name, "--study", "nowhere"], r"studies with a curve of that name: .*adam, .*figure2"),
        (["mnist-nz20-aevb-seed99"], "studies with a curve of that name: none"),
        (["mnist-nz2-aevb-seed0"], "studies with a curve of that name: hidden-layers-1, "),
        (["mnist-nz0-aevb-seed0"], "nz: Input should be greater than or equal to 1, got 0"),
    ):
        monkeypatch.setattr("sys.argv", ["aevb", "cite", *arguments])
        with pytest.raises(SystemExit, match="2"):
            cli.main()
        (line,) = capsys.readouterr().err.splitlines()
        assert re.search(said, line)


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


@pytest.mark.parametrize("pixels", ["grey", "binary"])
def test_the_options_of_run_reach_the_runner(pixels: str, monkeypatch: pytest.MonkeyPatch) -> None:
    images = torch.rand(4, 12)
    mnist = data.Dataset("mnist", images, images, images, (3, 4))
    got: dict[str, object] = {}

    class Done(Exception):
        pass

    def run_to(_: object, samples: float, dataset: data.Dataset, **options: object) -> None:
        got.update(samples=samples, pixels=dataset.pixels, **options)
        raise Done

    monkeypatch.setattr(job, "run_to", run_to)
    monkeypatch.setattr(data, "load", lambda *_: mnist)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch, "set_num_threads", lambda n: got.update(threads=n))
    with pytest.raises(Done):
        cli.run([RUN.name], "5e4", "other", [f"pixels={pixels}"], device="cuda", threads=3)
    told = {name: got[name] for name in ("samples", "pixels", "device", "threads")}
    gpu = torch.device("cuda")
    assert told == {"samples": 5e4, "pixels": pixels, "device": gpu, "threads": 3}


def test_a_run_trains_on_its_own_split(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, int]] = []

    class Done(Exception):
        pass

    def load(name: data.Name, split: int) -> data.Dataset:
        asked.append((name, split))
        raise Done

    monkeypatch.setattr(data, "load", load)
    for name in ("freyface-nz2-aevb-seed3", "mnist-nz20-aevb-seed3"):
        with pytest.raises(Done):
            cli.run([name])
    assert asked == [("freyface", 3), ("mnist", 0)]
