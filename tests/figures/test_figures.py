"""The figures: which lines they draw, from which files."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from published import RUN, change, publish, put, straight
from torch import Tensor

from aevb import data, figures, paths
from aevb.comparison import pairs, tables
from aevb.errors import DamagedFileError
from aevb.results import curves, models
from aevb.training import experiments

TITLE = "MNIST, $N_\\mathbf{z}=20$"


def panels(figure: Figure) -> list[Axes]:
    return [ax for ax in figure.axes if ax.get_title()]


def panel(figure: Figure, split: str) -> Axes:
    """The panel of `TITLE` with a split."""
    (found,) = (ax for ax in panels(figure) if ax.get_title().startswith(f"{TITLE}\n{split}"))
    return found


def paper_lines(ax: Axes) -> list[Any]:
    return [line for line in ax.get_lines() if line.get_alpha() == 0.3]


@pytest.mark.parametrize("narrow", [False, True])
def test_figure2_draws_eighteen_panels_and_every_curve_of_the_paper(
    project: Path, narrow: bool
) -> None:
    put(paths.published(), RUN, straight(10**7))
    put(paths.local(), RUN, straight(10**6))
    drawn = panels(figures.figure2(narrow=narrow))
    assert len(drawn) == 18
    lines = [line for ax in drawn for line in paper_lines(ax)]
    assert len(lines) == 36
    assert sum(np.size(line.get_xdata()) for line in lines) == len(curves.paper_figure("figure2"))
    for split in ("train", "test"):
        # The published curve and the mark of its end, the local run beside it, two of the paper.
        assert len(panel(figures.figure2(), split).get_lines()) == 5
    assert sum(len(ax.get_lines()) for ax in figures.figure2(local=False).axes) == 36 + 4


def test_a_panel_of_figure2_says_how_far_both_of_ours_go(project: Path) -> None:
    put(paths.published(), RUN, straight(10**7))
    assert panel(figures.figure2(), "test").get_title() == f"{TITLE}\ntest"
    other = pairs.counterpart(RUN, algorithm="wake-sleep")
    put(paths.published(), other, straight(10**6))
    assert panel(figures.figure2(), "test").get_title() == f"{TITLE}\ntest, to 1\u00a0M"


def test_seeds_with_one_step_size_are_a_band_and_others_are_dotted(project: Path) -> None:
    for seed, offset in ((0, 0.0), (1, 1.0), (2, 2.0)):
        run = pairs.counterpart(RUN, seed=seed)
        step_size = 0.1 if seed == 2 else RUN.step_size
        put(paths.published(), replace(run, step_size=step_size), straight(10**6))
        change(curves.published("figure2", run.name), validation=-110.0 + offset)
    ax = panel(figures.figure2(), "test")
    (band,) = (c for c in ax.collections if len(c.get_paths()))
    heights = np.asarray(band.get_paths()[0].vertices)[:, 1]
    assert (heights.min(), heights.max()) == (-110, -109)
    (dotted,) = (line for line in ax.get_lines() if line.get_linestyle() == ":")
    assert set(np.asarray(dotted.get_ydata()).tolist()) == {-108}


def test_figure3_draws_four_panels_and_every_curve_of_the_paper(project: Path) -> None:
    lines = [line for ax in panels(figures.figure3()) for line in ax.get_lines()]
    assert len(lines) == 12
    assert sum(np.size(line.get_xdata()) for line in lines) == len(curves.paper_figure("figure3"))


def test_figure2_draws_each_column_in_its_style(project: Path) -> None:
    """Train is averaged over the paper's window; test is on MNIST of the validation images."""
    averaged = {}
    for root, offset in ((paths.published(), -110.0), (paths.local(), -120.0)):
        curve = put(root, RUN, dict.fromkeys((1e5, 9e5, 1e6), offset))
        change(curve, train_running=[offset, offset + 1, offset + 2], validation=offset + 3)
        line = pairs.our_line(curves.read(curve.path), RUN, "train_running")
        assert line is not None
        assert offset + 1 < line.values[-1] < offset + 2
        averaged[offset] = line.values.tolist()
    for split, published, local in (
        ("train", averaged[-110.0], averaged[-120.0]),
        ("test", [-107.0] * 3, [-117.0] * 3),
    ):
        lines = panel(figures.figure2(), split).get_lines()
        values = {
            line.get_marker(): np.asarray(line.get_ydata()).tolist()
            for line in lines
            if line.get_alpha() is None
        }
        assert values == {"None": published, "|": published[-1:], ".": local}


def test_every_curve_of_the_paper_is_within_the_axes() -> None:
    seen = []
    for ax in panels(figures.figure2(local=False)):
        (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
        for line in paper_lines(ax):
            x, y = np.asarray(line.get_xdata()), np.asarray(line.get_ydata())
            seen.append(((x >= left) & (x <= right) & (y >= low) & (y <= high)).any())
    assert len(seen) == 36
    assert all(seen)


def test_figures_are_the_same_bytes_every_time_and_say_what_made_them(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One figure of curves and one of images."""
    for name in set(figures.FIGURES) - {"figure3", "figure4"}:
        monkeypatch.delitem(figures.FIGURES, name)
    run = experiments.figure3_run(1000, "aevb")
    put(paths.published(), run, straight(10**7))
    first = {file: file.read_bytes() for file in figures.draw_all()}
    assert {file.suffix for file in first} == {".svg", ".png"}
    assert {file: file.read_bytes() for file in figures.draw_all()} == first
    assert all(b"aevb figures" in content for content in first.values())


def test_a_figure_of_published_curves_reads_no_local_one(project: Path) -> None:
    local = put(paths.local(), RUN, straight(10**6)).path
    local.write_text("half a file")
    figures.figure2(local=False)
    with pytest.raises(DamagedFileError, match=local.name):
        figures.figure2()


@pytest.mark.parametrize(("name", "n_panels", "algorithms"), [("figure2", 9, 2), ("figure3", 2, 3)])
def test_differences_have_a_line_for_every_curve_and_a_band_for_seeds(
    name: str, n_panels: int, algorithms: int
) -> None:
    drawn = panels(figures.differences(name))
    assert len(drawn) == n_panels
    for ax in drawn:
        styles = [line.get_linestyle() for line in ax.get_lines()[1:]]
        assert sorted(styles) == sorted(["-", "--"] * algorithms)
    table = tables.along_axis(name)
    table = pairs.on_papers_images(table[table.visible])
    lines = [line for ax in drawn for line in ax.get_lines()[1:]]
    assert sum(np.size(line.get_xdata()) for line in lines) == len(table[table.seed == 0])
    seeds = table.groupby(["run", "split", "samples"]).difference.agg(["min", "max"]).dropna()
    assert (seeds["max"] > seeds["min"]).any()
    bands = [path for ax in drawn for band in ax.collections for path in band.get_paths()]
    edges = np.concatenate([np.asarray(path.vertices)[:, 1] for path in bands])
    assert np.isin(seeds, edges).all()


def test_beyond_the_axis_every_curve_is_seen_to_its_end() -> None:
    for ax, nz in zip(figures.beyond_axis().axes, experiments.NZ["freyface"], strict=True):
        assert ax.get_title() == f"Frey Face, $N_\\mathbf{{z}}={nz}$"
        (left, right), (low, high) = ax.get_xlim(), ax.get_ylim()
        lines = [np.asarray(line.get_xydata()) for line in ax.get_lines()]
        assert len(lines) >= 4  # of each split the paper's and ours
        for line in lines:
            x, y = line[line[:, 0] >= left].T
            assert x.max() == line[:, 0].max() < right
            assert low < y.min() <= y.max() < high


def test_figure4_is_the_decoder_on_the_grid_with_z2_upwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def decoder(z: Tensor) -> SimpleNamespace:
        return SimpleNamespace(mean=torch.special.ndtr(z[..., 1:]).expand(-1, 28 * 20))

    stub = SimpleNamespace(decoder=decoder)
    monkeypatch.setattr(models, "stored", lambda *_, **__: Path("a model"))
    monkeypatch.setattr(models, "read", lambda _: (stub, {}))
    monkeypatch.setitem(data.IMAGE_SHAPE, "mnist", (28, 20))
    for ax, rows in zip(figures.figure4().axes, (10, 20), strict=True):
        sheet = np.asarray(ax.images[0].get_array())
        assert np.allclose(sheet[::28, 0], 1 - (np.arange(rows) + 0.5) / rows, atol=1e-5)
        assert np.allclose(sheet, sheet[:, :1])


def test_a_local_run_stands_in_where_none_is_published(project: Path) -> None:
    def markers() -> list[str]:
        lines = panel(figures.figure2(), "train").get_lines()
        return sorted(str(line.get_marker()) for line in lines if line.get_alpha() is None)

    put(paths.local(), RUN, straight(10**6))
    assert markers() == ["None", "|"]
    publish(RUN, straight(10**5))
    assert markers() == [".", "None", "|"]
