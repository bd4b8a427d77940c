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

# The paper's curves of Figure 3 leap from the untrained model, at the first point, over most of
# the rise; nothing is read on the way (`Line.value_at`).
LEAP = 10


def splits(run: Run) -> dict[str, tuple[str, str]]:
    """Which of our columns is compared with which split of the paper.

    Figure 2's test curves on MNIST are found to be of the validation images (the chapter `unsaid`).
    There `validation` is like the paper's, and `test`, all 10,000 test images, is shown beside it.

    Returns:
        By the name of our split, our column and the paper's split.
    """
    pairs = {split: (column, split) for split, column in curves.COLUMNS[run.study].items()}
    if run.study == "figure2" and run.dataset == "mnist":
        pairs = {"train": pairs["train"], "validation": ("validation", "test"), **pairs}
    return pairs


def on_papers_images(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a table of runs and splits whose images appear to be those the paper used.

    All rows but `test` of the runs that have `validation` (`splits`).
    """
    validated = table.run[table.split == "validation"]
    return table[(table.split != "test") | ~table.run.isin(validated)]


def paper_line(run: Run, split: str) -> Line:
    """The paper's curve for a run of its figures; `split` is the paper's, train or test."""
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


def column_beside(run: Run, split: str, curve: Curve) -> str:
    """Our column that is drawn beside the paper's train or test curve.

    On the images that the paper's curve seems to be of, where the file has them (`splits`).
    """
    columns = [column for column, papers in splits(run).values() if papers == split]
    return next(column for column in columns if column in curve.table or column == columns[-1])


def our_line(curve: Curve, run: Run, column: str) -> Line | None:
    """A column of our curve as it stands beside the paper's curve for `run`.

    The running train bound is averaged over the paper's window, the distance between two points of
    its log: about 235,000 samples on MNIST, 465,000 for AEVB on Frey Face.

    Returns:
        None where the file lacks the column.
    """
    if column not in curve.table:
        return None
    if column == "train_running":
        return curve.running_train(paper_line(run, "train").interval())
    return curve.line(column)


def difference(curve: Curve, run: Run, split: str, samples: float) -> float:
    """Ours minus the paper's at `samples`, in nats per datapoint; NaN where one has no value.

    Args:
        curve: ours, of any study.
        run: whose curve in the paper's figure it stands beside.
        split: one of `splits(run)`.
        samples: where both are read.
    """
    column, of_paper = splits(run)[split]
    ours, paper = our_line(curve, run, column), paper_line(run, of_paper)
    return math.nan if ours is None else ours.value_at(samples) - paper.value_at(samples)


def lines(figure: str) -> tuple[Lines, Lines]:
    """The paper's lines, by our runs with seed 0, and ours of the published runs of every seed.

    Splits are those of `splits`: the paper's test curves on MNIST stand under two names.
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
    """The run of the same panel of the paper's figure with a seed, and another algorithm."""
    algorithm = algorithm or run.algorithm
    if run.n_train:
        return experiments.figure3_run(run.n_train, algorithm, seed)
    return experiments.figure2_run(run.dataset, run.nz, algorithm, seed)


def papers_run(curve: Curve) -> Run:
    """The run of the paper's figures, with seed 0, that a curve of any study stands beside.

    Raises:
        ConfigurationError: if the paper's figures have none.
    """
    run = counterpart(names.paper_run(curve.name))
    if run not in experiments.RUNS[run.study](0):
        raise ConfigurationError(f"{curve.name}: the paper's figures have no such curve")
    return run


def right_edge(run: Run) -> float:
    """The samples at the right-hand edge of the paper's axis."""
    return experiments.budget_samples(run, "paper")


def target(run: Run, paper: float) -> float:
    """How near ours should end to the paper's value, in nats; NaN where no target is set.

    The paper's wake-sleep on Frey Face stays on a plateau that some of ours leave: no target there.
    """
    if run.study == "figure3":
        return 1.5
    if run.dataset == "mnist":
        return 1.0
    return 0.02 * abs(paper) if run.algorithm == "aevb" else math.nan


def furthest(run: Run, end: int, *, local: bool = True) -> Curve | None:
    """Of the local and the published curve of a run the one that goes further.

    Nothing beyond `end` samples counts. If both go as far, the local one; None if there is none.
    """
    roots = [paths.local(), paths.published()] if local else [paths.published()]
    found = [curve for root in roots if (curve := curves.find(run.study, run.name, root))]
    return max(found, key=lambda curve: min(end, curve.samples), default=None)
