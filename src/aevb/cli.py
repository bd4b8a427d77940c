"""The `aevb` command: what the library does, from a terminal."""

import os
import re
import sys
from contextlib import closing
from functools import cache
from importlib.metadata import version
from typing import Annotated, Literal, get_args

import torch
import typer

from aevb import data, paths
from aevb.clinic import runs as clinic
from aevb.comparison import claims, receipt, reestimates, reference, report, same_seed
from aevb.errors import ConfigurationError, DamagedFileError
from aevb.judge_command import judge_curve
from aevb.older import runs as older
from aevb.results import archive, citing, curves, publishing
from aevb.terminal import Progress, StopOnSignal
from aevb.training import experiments, job, names, selection
from aevb.training.export import export
from aevb.training.job import Job
from aevb.training.loop import SECONDS_BETWEEN_CHECKPOINTS, Diverged, Stopped
from aevb.training.run import Run

app = typer.Typer(
    help="Reproduce Auto-Encoding Variational Bayes (arXiv:1312.6114).",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

MOST_THREADS = os.cpu_count() or 1


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"aevb {version('aevb')}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


@app.command("data")
def get_data() -> None:
    """Get and verify MNIST and Frey Face. MNIST is needed; Frey Face may be out of reach."""
    for name in get_args(data.Name):
        try:
            for file in data.fetch(name):
                print(f"{name}: {file} verified")
        except data.DataError as error:
            if name == "mnist" or isinstance(error, data.WrongFileError):
                raise
            print(f"{name} is left out. {error}", file=sys.stderr)


@app.command("run")
def train_runs(
    run_names: Annotated[
        list[str], typer.Argument(metavar="NAMES", help="Runs, such as mnist-nz20-aevb-seed0.")
    ],
    budget: Annotated[
        str,
        typer.Option(
            help="Samples, 'quick' or 'paper'; a run ends at the first log point there or beyond."
        ),
    ] = "quick",
    study: Annotated[
        str | None, typer.Option(help="Folder of the curve; else that of the paper's figure.")
    ] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="A setting, such as optimiser=adam.")
    ] = None,
    device: Annotated[Literal["cpu", "cuda"], typer.Option(help="Where to train.")] = "cpu",
    threads: Annotated[
        int, typer.Option(min=1, max=MOST_THREADS, help="CPU threads of this run.")
    ] = 1,
    checkpoint_seconds: Annotated[
        float, typer.Option(min=0, help="Seconds between checkpoints.")
    ] = SECONDS_BETWEEN_CHECKPOINTS,
) -> None:
    """Train runs to a budget, one after the other, continuing from their checkpoints."""
    runs = [names.parse(name, study, setting or ()) for name in run_names]
    samples = [experiments.budget_samples(run, budget) for run in runs]
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError(
            "device cuda: PyTorch finds no CUDA device here; without the option the CPU trains"
        )
    torch.set_num_threads(threads)
    stop, diverged = StopOnSignal(), []
    for run, end in zip(runs, samples, strict=True):
        try:
            job = Job(run, _load(run), torch.device(device))
            _train(job, end, stop, checkpoint_seconds)
        except Diverged as error:  # the other runs go on
            diverged.append(str(error))
            continue
        curve = curves.read(paths.curve(paths.local(), run.study, run.name))
        estimated = run.measure in ("marginal_loglik", "predictive_loglik")
        print(
            f"{run.name}: {'estimated log p(x) of test points' if estimated else 'test bound'} "
            f"{curve.table.test.iloc[-1]:.2f} nats at {curve.samples:,} samples "
            f"→ {curve.path.relative_to(paths.root())}"
        )
    if diverged:
        raise Diverged("\n".join(diverged))


@cache
def _dataset(name: data.Name, split: int, pixels: data.Pixels) -> data.Dataset:
    """A data set, loaded once for all runs of a command."""
    return data.load(name, split, pixels)


def _load(run: Run) -> data.Dataset:
    return _dataset(run.dataset, run.split, run.pixels)


def _train(
    job: Job,
    samples: float,
    stop: StopOnSignal,
    checkpoint_seconds: float = SECONDS_BETWEEN_CHECKPOINTS,
) -> None:
    if stop.requested():  # while the data were loaded
        raise Stopped
    with closing(Progress(job.run)) as progress:
        job.train(
            samples,
            report=progress,
            stop_requested=stop.requested,
            seconds_between_checkpoints=checkpoint_seconds,
        )


@app.command()
def select(
    run_names: Annotated[
        list[str], typer.Argument(metavar="NAMES", help="Runs, such as mnist-nz20-aevb-seed0.")
    ],
    threads: Annotated[int, typer.Option(min=1, max=MOST_THREADS, help="CPU threads.")] = 1,
) -> None:
    """Choose a step size by the paper's rule: train every candidate, take the highest bound."""
    torch.set_num_threads(threads)
    stop = StopOnSignal()
    for name in run_names:
        run = names.paper_run(name)
        samples = experiments.selection_samples(run)
        for candidate in experiments.candidates(run):
            try:
                _train(Job(candidate, _load(candidate)), samples, stop)
            except Diverged as error:
                print(error)
        scored = selection.scores(paths.local(), run)
        for step_size, score in scored.items():
            result = "diverged" if score is None else f"{run.learner.objective} {score:.2f} nats"
            print(f"{name}, step size {step_size:g}: {result}")
        print(f"{name}: step size {selection.chosen(scored):g}")


@app.command("export")
def export_models(
    run_names: Annotated[
        list[str], typer.Argument(metavar="NAMES", help="Runs that have been trained here.")
    ],
    study: Annotated[str | None, typer.Option(help="Folder of the curve.")] = None,
    setting: Annotated[
        list[str] | None, typer.Option("--set", help="A setting, as it was trained with.")
    ] = None,
) -> None:
    """Write the trained models in half precision, for chapters and the browser to draw from."""
    for name in run_names:
        file = export(names.parse(name, study, setting or ()))
        print(file.relative_to(paths.root()))


@app.command()
def publish(
    studies: Annotated[list[str], typer.Argument(help="Folders of curves, such as figure2.")],
) -> None:
    """Publish local curves with manifests and models; longer published ones stay."""
    for file in publishing.publish(studies, report=print):
        print(file.relative_to(paths.root()))


@app.command("reestimate")
def write_reestimates() -> None:
    """Estimate log p(x) of the models of Figure 3 by other estimators; takes minutes."""
    print(reestimates.write().relative_to(paths.root()))


@app.command("clinic")
def run_clinic(
    configurations: Annotated[
        list[str], typer.Argument(metavar="NAMES", help="Such as mnist-nz20-seed0.")
    ],
) -> None:
    """Train VAEs with the usual mistakes, and write their curves to results/clinic."""
    for name in configurations:
        if not (sizes := re.fullmatch(r"mnist-nz(\d+)-seed(\d+)", name)):
            raise ConfigurationError(f"{name!r}: expected a name such as mnist-nz20-seed0")
        print(clinic.write(int(sizes[1]), int(sizes[2])))


@app.command("older")
def run_older(
    experiments_: Annotated[
        list[str], typer.Argument(metavar="NAMES", help="Such as rbm-pcd-seed0.")
    ],
) -> None:
    """Train older generative models of MNIST, and write their files to results/older."""
    torch.set_num_threads(1)
    for name in experiments_:
        print(older.write(name))


@app.command("reference")
def write_reference() -> None:
    """Copy what `aevb judge` needs into the package, from the published results."""
    print(*reference.write(), sep="\n")


app.command("judge")(judge_curve)


@app.command()
def cite(
    name: Annotated[str, typer.Argument(help="A published curve, such as mnist-nz20-aevb-seed0.")],
    study: Annotated[str | None, typer.Option(help="Folder of the curve.")] = None,
) -> None:
    """Print a BibTeX entry for a published curve."""
    run = names.paper_run(name)
    curve = curves.find(study or run.study, run.name)
    if curve is None:
        file = paths.curve(paths.published(), study or run.study, run.name)
        studies = sorted(f.parent.name for f in file.parent.parent.glob(f"*/{file.name}"))
        there = f"studies with a curve of that name: {', '.join(studies) or 'none'}"
        inside = paths.paper().is_dir()
        raise FileNotFoundError(
            f"no published curve at {file}: {there if inside else curves.CHECKOUT}"
        )
    print(citing.bibtex(curve))


@app.command("runs")
def list_runs(
    seed: Annotated[int, typer.Option(min=0, help="Of the runs.")] = 0,
    available: Annotated[bool, typer.Option(help="Only those whose data are here.")] = False,
    short_of: Annotated[
        str | None, typer.Option(help="Only those whose local curve ends before this budget does.")
    ] = None,
) -> None:
    """Print the runs of Figures 2 and 3; Figure 3 comes first, since it has the longest run."""
    here = data.available() if available else experiments.NZ
    for figure in reversed(experiments.RUNS.values()):
        for run in figure(seed):
            if run.dataset in here and (short_of is None or job.needs_training(run, short_of)):
                print(run.name)


@app.command("figures")
def draw_figures(
    published: Annotated[
        bool, typer.Option(help="From published curves alone, into results/figures.")
    ] = False,
) -> None:
    """Draw every figure from curve files and models, as SVG and PNG, into results/local/figures."""
    from aevb import figures  # here: it takes Matplotlib along, no other command does

    for file in figures.draw_all(local=not published):
        print(file.relative_to(paths.root()))


@app.command("archive")
def write_archive() -> None:
    """Write the published results as one zip, to deposit and cite."""
    print(archive.write(paths.local()).relative_to(paths.root()))


@app.command()
def compare(
    budget: Annotated[str, typer.Option(help="Samples, 'quick' or 'paper'.")] = "quick",
    seed: Annotated[int, typer.Option(min=0, help="Of the runs.")] = 0,
    summary: Annotated[
        bool, typer.Option("--summary", help="The README's table, from published curves.")
    ] = False,
    milestones: Annotated[
        bool,
        typer.Option("--milestones", help="Every published curve along the axis, and the claims."),
    ] = False,
    keep: Annotated[
        bool, typer.Option("--receipt", help="Keep the result as results/local/receipt.md.")
    ] = False,
) -> None:
    """Print our values beside the paper's; fail if fresh runs are not the published ones."""
    if summary or milestones:
        print(report.summary() if summary else f"{report.along_axis()}\n\n{claims.as_text()}")
        return
    print(report.comparison(budget, seed))
    if keep:
        for file in receipt.write(budget, seed):
            print(f"{file.relative_to(paths.root())} written")
    if wrong := same_seed.problems(seed):
        sys.exit(f"aevb: {wrong}")


def main() -> None:
    """Run the command; an error that a user can mend prints its message alone."""
    try:
        app()
    except Stopped:
        done = "stopped; the same command goes on from its last checkpoint, if it had one yet"
        print(done, file=sys.stderr)
        sys.exit(130)
    except Diverged as error:
        print(f"aevb: {error}", file=sys.stderr)
        sys.exit(1)
    except (data.DataError, ConfigurationError, DamagedFileError, OSError) as error:
        print(f"aevb: {error}", file=sys.stderr)
        sys.exit(2)
