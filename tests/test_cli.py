"""What the commands print, and how they fail."""

import hashlib
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import torch
import yaml  # type: ignore[import-untyped]
from published import write_curve
from tiny import IMAGES, TINY, checkpoint, curve, manifest, table

from aevb import cli, data, figures, paths, terminal
from aevb.errors import DamagedFileError
from aevb.results import citing, curves
from aevb.training import experiments, job, loop, names
from aevb.training.run import SELECTION, Run

RUN = experiments.figure2_run("mnist", 20, "aevb")
TRAIN_TINY = names.command(TINY, 2000).split()[1:]

# The command on a small data set, interrupted after a while.
INTERRUPTED = """
import signal
from aevb import cli, data, terminal
from aevb.training import loop
from test_cli import small

class Interrupted(terminal.Progress):
    def __call__(self, end, training):
        super().__call__(end, training)
        if training.samples > 1200:
            signal.raise_signal(signal.SIGINT)

cli.Progress, terminal.SECONDS_BETWEEN_LINES = Interrupted, 1e-9
data.load, loop.SAMPLES_BETWEEN_REPORTS = small, 100
cli.main()
"""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def small(name: data.Name, split: int = 0, pixels: data.Pixels = "grey") -> data.Dataset:
    """Stands in for `data.load`."""
    return replace(IMAGES, name=name, split=split, pixels=pixels)


def aevb(*arguments: str, out: io.StringIO | None = None) -> tuple[int, list[str], list[str]]:
    """A command's exit status and the lines of its output and its errors; into `out`, if given."""
    output, errors = out or io.StringIO(), out or io.StringIO()
    with (
        redirect_stdout(output),
        redirect_stderr(errors),
        patch("sys.argv", ["aevb", *arguments]),
        patch("signal.signal"),
        pytest.raises(SystemExit) as ended,
    ):
        cli.main()
    status = ended.value.code or 0
    assert isinstance(status, int)
    return status, output.getvalue().splitlines(), errors.getvalue().splitlines()


def trained_at_once(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Let jobs train nothing and leave a curve; returns what each is asked for."""
    asked: list[dict[str, Any]] = []

    class Job:
        def __init__(self, run: Run, _: data.Dataset, device: torch.device) -> None:
            self.run, self.device = run, device

        def train(self, budget: float, *, report: terminal.Progress, **more: Any) -> None:
            told = {"run": self.run, "device": self.device.type, "budget": budget}
            told["seconds"] = more["seconds_between_checkpoints"]
            asked.append(told | {"report": report})  # which is kept, or its bar would end here
            report(1000, job.start(TINY, IMAGES))
            write_curve(curve(self.run), [{"samples": 10**6, "test": -98.5}])

    monkeypatch.setattr(cli, "Job", Job)
    monkeypatch.setattr(cli, "_dataset", small)
    return asked


def test_an_interrupted_run_says_so_and_the_same_command_goes_on(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, *TRAIN_TINY],
        cwd=project,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert interrupted.returncode == 130, interrupted.stderr
    acknowledged, stopped_at = interrupted.stderr.split("\n")[1:3]
    assert acknowledged == "stopping; once more stops at once"
    assert stopped_at.startswith("stopped; the same command goes on")
    assert re.fullmatch(
        rf"{TINY.name}: 1,\d\d0 of 2,000 samples, bound -\d\.\d nats, [\d,]+ samples/s, \S+ left",
        interrupted.stdout.splitlines()[-1],
    )
    monkeypatch.setattr(data, "load", small)
    stopped = curve().read_bytes()
    assert aevb(*TRAIN_TINY)[0] == 0
    continued = curve().read_bytes()
    assert len(stopped) < len(continued)
    checkpoint().unlink()
    curve().unlink()
    assert aevb(*TRAIN_TINY)[0] == 0
    assert curve().read_bytes() == continued


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_asks_a_run_to_stop_and_the_second_ends_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], number: signal.Signals
) -> None:
    handlers: dict[int, Callable[[int, None], None]] = {}
    monkeypatch.setattr("signal.signal", handlers.__setitem__)
    stop = terminal.StopOnSignal()
    assert not stop.requested()
    handlers[number](number, None)
    assert stop.requested()
    assert "stopping" in capsys.readouterr().err
    with pytest.raises(loop.Stopped):
        handlers[number](number, None)


def test_the_library_is_run_as_a_module_and_tells_its_version() -> None:
    command = [sys.executable, "-m", "aevb", "--version"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert told == f"aevb {version('aevb')}\n"


def test_characters_that_a_terminal_lacks_are_replaced() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "aevb", "compare", "--summary"],
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True,
        check=True,
    )
    assert b"?" in told.stdout


def test_runs_are_trained_in_turn_with_the_options_of_the_command(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each ends with its last test value, called what it is."""
    asked = trained_at_once(monkeypatch)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    threads: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", threads.append)
    few = experiments.figure3_run(1000, "aevb")
    options = "--budget 5e4 --study other --set pixels=binary --device cuda --threads 1"
    options += " --checkpoint-seconds 5"
    status, out, _ = aevb("run", RUN.name, few.name, *options.split())
    runs = [replace(run, study="other", pixels="binary") for run in (RUN, few)]
    assert [(t["run"], t["device"], t["budget"], t["seconds"]) for t in asked] == [
        (run, "cuda", 5e4, 5) for run in runs
    ]
    assert (status, threads) == (0, [1])
    for run, line, what in zip(runs, out, ("bound", r"log p\(x\)"), strict=True):
        value = rf"{what}.* -98\.50 nats at 1,000,000 samples"
        assert re.match(rf"{run.name}: .*{value} .*/local/curves/other/{run.name}\.csv", line)


def test_the_bar_of_a_run_has_a_line_of_its_own(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained_at_once(monkeypatch)
    monkeypatch.delenv("MAKEFLAGS", raising=False)
    terminal = Terminal()
    aevb("run", RUN.name, out=terminal)
    bar, result, _ = terminal.getvalue().split("\n")
    assert RUN.name in bar
    assert " nats at 1,000,000 samples " in result


def test_what_monte_carlo_em_reports_is_not_called_a_bound() -> None:
    assert terminal.Progress(RUN).quantity == "bound"
    assert terminal.Progress(experiments.figure3_run(1000, "mcem")).quantity == "log p(x, z)"


def test_a_run_that_diverges_fails_in_one_line_and_keeps_its_curve(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "load", small)
    run = replace(TINY, study="large-steps", step_size=1e30)
    for _ in range(2):  # and is not begun again
        status, out, (line,) = aevb(*names.command(run, 10_000).split()[1:])
        assert (status, out) == (1, [])
        assert re.match(rf"aevb: {run.name} .*--set step_size", line)
    assert 1 < len(table(run)) < 20
    assert manifest(run)["diverged"] is True


def test_a_checkpoint_that_cannot_be_read_is_told_in_one_line(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(data, "load", small)
    checkpoint().parent.mkdir(parents=True)
    checkpoint().write_bytes(b"of something else")
    status, _, (line,) = aevb(*TRAIN_TINY)
    assert status == 2
    assert re.match(rf"aevb: {checkpoint()} .* delete it", line)


def test_a_step_size_is_selected_from_the_curves_of_its_candidates(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another seed too the candidates are of seed 0; one that diverges ends none of the rest."""
    monkeypatch.setattr(data, "load", small)
    monkeypatch.setitem(experiments.LOGGING_INTERVAL, "mnist", 2_000)
    monkeypatch.setattr(experiments, "CANDIDATES", (1000.0, 1e-5, 0.02))
    _, out, _ = aevb("select", "mnist-nz20-aevb-seed7")
    diverged, *scores, choice = [line for line in out if "samples/s" not in line]
    assert diverged.startswith("mnist-nz20-aevb-seed0-step1000.0 diverged: ")
    expected = ("1000: diverged", "1e-05: bound -", "0.02: bound -")
    for line, score in zip(scores, expected, strict=True):
        assert line.startswith(f"mnist-nz20-aevb-seed7, step size {score}")
    assert choice == "mnist-nz20-aevb-seed7: step size 0.02"
    assert {file.name for file in paths.curves(paths.local(), SELECTION).glob("*.csv")} == {
        f"mnist-nz20-aevb-seed0-step{step}.csv" for step in ("0.02", "1000.0", "1e-05")
    }


def test_the_runs_of_both_figures_are_listed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = [run.name for run in [*experiments.figure3(3), *experiments.figure2(3)]]
    assert aevb("runs", "--seed", "3") == (0, runs, [])
    monkeypatch.setattr(data, "available", lambda: ["mnist"])
    here = [name for name in runs if not name.startswith("freyface")]
    assert aevb("runs", "--seed", "3", "--available") == (0, here, [])
    assert len(here) < len(runs) == 24


def test_runs_that_are_short_of_a_budget_are_listed(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def needs_training(run: Run, budget: str) -> bool:
        asked.append(budget)
        return run == RUN

    monkeypatch.setattr(job, "needs_training", needs_training)
    assert aevb("runs", "--short-of", "1e5") == (0, [RUN.name], [])
    assert asked == ["1e5"] * 24


def test_the_model_that_is_exported_is_that_of_the_study_and_its_settings(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    exported: list[Run] = []

    def export(run: Run) -> Path:
        exported.append(run)
        return paths.model(paths.local(), run.study, run.name)

    monkeypatch.setattr(cli, "export", export)
    options = ["--study", "other", "--set", "optimiser=adam", "--set", "prior=0"]
    _, out, _ = aevb("export", RUN.name, *options)
    assert out == [f"results/local/models/other/{RUN.name}.safetensors"]
    aevb("export", RUN.name)
    assert exported == [replace(RUN, study="other", optimiser="adam", prior=0.0), RUN]


@pytest.mark.parametrize(
    ("options", "folder"),
    [([], "results/local/figures"), (["--published"], "results/figures")],
)
def test_figures_are_of_local_runs_too_unless_the_published_ones_are_asked_for(
    project: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], folder: str
) -> None:
    def draw_all(*, local: bool = True) -> list[Path]:
        return [paths.figure(paths.local() if local else paths.published(), "figure2", "svg")]

    monkeypatch.setattr(figures, "draw_all", draw_all)
    assert aevb("figures", *options) == (0, [f"{folder}/figure2.svg"], [])


def test_a_published_curve_can_be_cited() -> None:
    entry = "\n".join(aevb("cite", RUN.name)[1])
    file = paths.curve(paths.published(), RUN.study, RUN.name)
    released = yaml.safe_load((paths.root() / "CITATION.cff").read_text())["date-released"]
    assert entry.startswith(f"@misc{{aevb-reproduction-figure2-{RUN.name},")
    assert f"results/curves/figure2/{RUN.name}.csv" in entry
    assert curves.read_manifest(file)["configuration_sha256"] in entry
    assert f" SHA-256 {hashlib.sha256(file.read_bytes()).hexdigest()},\n" in entry
    assert f"  year   = {{{released.year}}},\n" in entry
    assert entry.count("{") == entry.count("}")


def test_without_its_description_a_curve_cannot_be_cited(project: Path) -> None:
    (paths.root() / ".zenodo.json").write_text("{}")
    file = paths.curve(paths.published(), RUN.study, RUN.name)
    write_curve(file, [{"samples": 100, "test": -1.0}], commit="0", versions={"aevb": "0"})
    with pytest.raises(DamagedFileError, match=r"zenodo\.json lacks title"):
        citing.bibtex(curves.read(file))


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ("run mnist-nz20-adam-seed0", "mnist-nz20-adam-seed0.*<mnist"),
        (f"run {RUN.name} --device cuda", "device cuda"),
        (f"run {RUN.name} --budget much", "budget 'much'.* 1e6"),
        (f"cite {RUN.name} --study nowhere", "nowhere.* adam, .*figure2"),
        ("cite mnist-nz20-aevb-seed99", "seed99.* none"),
        ("cite mnist-nz2-aevb-seed0", "nz2.* hidden-layers-1, "),
        ("cite mnist-nz0-aevb-seed0", "nz: .* 0"),
    ],
)
def test_what_a_user_can_mend_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, arguments: str, named: str
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    status, out, (line,) = aevb(*arguments.split())
    assert (status, out) == (2, [])
    assert re.match(f"aevb: .*{named}", line)


@pytest.mark.parametrize(
    ("arguments", "missing"),
    [
        ("compare", "results/paper/figure2.csv"),
        ("compare --summary", "results/paper/figure2.csv"),
        ("compare --milestones", "results/paper/figure2.csv"),
        ("figures", "results/paper/figure"),
        (f"cite {RUN.name}", f"results/curves/figure2/{RUN.name}.csv"),
    ],
)
def test_outside_a_checkout_what_is_missing_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: str, missing: str
) -> None:
    monkeypatch.chdir(tmp_path)
    status, out, (line,) = aevb(*arguments.split())
    assert (status, out) == (2, [])
    assert str(tmp_path / missing) in line
    assert curves.CHECKOUT in line
    assert not list(tmp_path.iterdir())
