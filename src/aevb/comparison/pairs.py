"""Our curves beside the paper's: the same split, the same images, the same window."""

import math
from collections.abc import Mapping

import pandas as pd

from aevb import paths
from aevb.errors import ConfigurationError
from aevb.results import curves
from aevb.results.curves import Curve
from aevb.results.lines import Line
from aevb.training import experiments, names
from aevb.training.run import Run

Lines = Mapping[tuple[Run, str], Line]  # by run and by the name of our split

# Nats. Most of the rise of the paper's curves of Figure 3 lies between their first two points; no
# value is read there (`Line.value_at`).
LEAP = 10


def splits(run: Run) -> dict[str, tuple[str, str]]:
    """Our column and the paper's split, by the name of our split.

    The paper's test curves on MNIST seem to be of the validation images (chapter `unsaid`). There
    both our `validation` and our `test` are compared with the paper's test.
    """
    pairs = {split: (column, split) for split, column in curves.COLUMNS[run.study].items()}
    if run.study == "figure2" and run.dataset == "mnist":
        pairs = {"train": pairs["train"], "validation": ("validation", "test"), **pairs}
    return pairs


def on_papers_images(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table of runs and splits whose images seem to be the paper's.

    All rows but `test` of runs with `validation`, see `splits`.
    """
    validated = table.run[table.split == "validation"]
    return table[(table.split != "test") | ~table.run.isin(validated)]


def paper_line(run: Run, split: str) -> Line:
    """The paper's curve for a run of its figures; `split` is train or test."""
    figure = "figure3" if run.n_train else "figure2"
    names = {"figure2": ("dataset", "nz", "algorithm"), "figure3": ("n_train", "algorithm")}
    identity = {name: getattr(run, name) for name in names[figure]}
    paper = curves.paper_figure(figure)
    for column, value in {**identity, "split": split}.items():
        paper = paper[paper[column] == value]
    paper = paper.sort_values("samples")
    visible = paper.samples[paper.visible]
    return Line(
        paper.samples.to_numpy(float),
        paper[curves.PAPER_COLUMN[figure]].to_numpy(float),
        (visible.min(), visible.max()),
    )


def drawn_column(run: Run, split: str, curve: Curve) -> str:
    """Our column to draw beside the paper's train or test curve.

    It is on the images that the paper seems to have used, if the file has them (`splits`).
    """
    columns = [column for column, papers in splits(run).values() if papers == split]
    return next(column for column in columns if column in curve.table or column == columns[-1])


def our_line(curve: Curve, run: Run, column: str) -> Line | None:
    """A column of our curve, for comparison with the paper's curve for `run`.

    The running train bound is averaged over the interval of the paper's log: about 235,000 samples
    on MNIST, 465,000 for AEVB on Frey Face.

    Returns:
        None if the file lacks the column.
    """
    if column not in curve.table:
        return None
    if column == "train_running":
        return curve.running_train(paper_line(run, "train").interval())
    return curve.line(column)


def difference(curve: Curve, run: Run, split: str, samples: float) -> float:
    """Ours minus the paper's at `samples`, in nats per datapoint; NaN if one has no value.

    Args:
        curve: ours, of any study.
        run: of the paper's figure.
        split: one of `splits(run)`.
        samples: where to read both.
    """
    column, of_paper = splits(run)[split]
    ours, paper = our_line(curve, run, column), paper_line(run, of_paper)
    return math.nan if ours is None else ours.value_at(samples) - paper.value_at(samples)


def lines(figure: str) -> tuple[Lines, Lines]:
    """The paper's lines, by our runs with seed 0; and ours, of published runs of every seed.

    By `splits`, the paper's test curves on MNIST stand under two names.
    """
    paper: dict[tuple[Run, str], Line] = {}
    ours: dict[tuple[Run, str], Line] = {}
    for run in experiments.RUNS[figure](0):
        published = curves.seeds(figure, run.name)
        for split, (column, of_paper) in splits(run).items():
            paper[run, split] = paper_line(run, of_paper)
            for curve in published:
                if (line := our_line(curve, run, column)) is not None:
                    ours[counterpart(run, seed=curve.seed), split] = line
    return paper, ours


def counterpart(run: Run, *, algorithm: str | None = None, seed: int = 0) -> Run:
    """The run of the same panel of the paper's figure with this algorithm and seed."""
    algorithm = algorithm or run.algorithm
    if run.n_train:
        return experiments.figure3_run(run.n_train, algorithm, seed)
    return experiments.figure2_run(run.dataset, run.nz, algorithm, seed)


def reference_run(curve: Curve) -> Run:
    """The run of the paper's figures, with seed 0, to compare a curve of any study with.

    Raises:
        ConfigurationError: if there is none.
    """
    run = counterpart(names.paper_run(curve.name))
    if run not in experiments.RUNS[run.study](0):
        raise ConfigurationError(f"{curve.name}: the paper's figures have no such curve")
    return run


def right_edge(run: Run) -> float:
    """The samples at the right-hand edge of the paper's axis."""
    return experiments.budget_samples(run, "paper")


def target(run: Run, paper: float) -> float:
    """How near to the paper's value ours should end, in nats.

    NaN for wake-sleep on Frey Face, where the paper's stays on a plateau that some of ours leave.
    """
    if run.study == "figure3":
        return 1.5
    if run.dataset == "mnist":
        return 1.0
    return 0.02 * abs(paper) if run.algorithm == "aevb" else math.nan


def furthest(run: Run, end: int, *, local: bool = True) -> Curve | None:
    """The longer of the local and the published curve of a run; the local one if equal.

    Samples beyond `end` do not count. None if there is no curve.
    """
    roots = [paths.local(), paths.published()] if local else [paths.published()]
    found = [curve for root in roots if (curve := curves.find(run.study, run.name, root))]
    return max(found, key=lambda curve: min(end, curve.samples), default=None)
