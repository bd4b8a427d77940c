"""What readers are told to run and to look at, and the examples that they are to start from.

The examples are those of the chapter `cite`, section "How to extend", run as they stand there.
"""

import re
import shlex
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jupytext
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
import typer
from scipy import special, stats

from aevb import cli
from aevb.learners import LEARNERS
from aevb.model import networks
from aevb.training import job, names

ROOT = Path(__file__).resolve().parent.parent
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("results/*.md"), *ROOT.glob("book/*.md")]
PAGES += ROOT.glob("book/chapters/*.md")


def commands(program: str) -> list[str]:
    """Every command of `program` with its arguments, in code blocks and in code within lines."""
    found: list[str] = []
    for page in PAGES:
        text = page.read_text()
        blocks = re.findall(r"^```(?:bash)?\n(.*?)^```$", text, re.S | re.M)
        lines = "\n".join(blocks).splitlines() + re.findall(r"`([^`\n]+)`", text)
        found += [line for line in lines if re.match(rf"(\.venv/bin/)?{program} ", line)]
    return sorted(set(found))


AEVB, MAKE = commands("aevb"), commands("make")


def test_the_pages_tell_commands() -> None:
    assert any("--set optimiser=adam" in command for command in AEVB)
    assert any("LAUNCH=" in command for command in MAKE)


@pytest.mark.parametrize("command", AEVB)
def test_a_command_of_aevb_is_understood(command: str) -> None:
    _, name, *arguments = shlex.split(command, comments=True)
    group = typer.main.get_command(cli.app)
    assert isinstance(group, typer.core.TyperGroup)
    known = group.commands[name]
    told = known.make_context(name, arguments).params if arguments else {}  # else a mention
    for run in told.get("run_names") or []:
        names.parse(run, told.get("study"), told.get("setting") or ())


@pytest.mark.parametrize("command", MAKE)
def test_a_command_of_make_names_a_target_and_variables_that_are_there(command: str) -> None:
    makefile = (ROOT / "Makefile").read_text()
    for word in shlex.split(command, comments=True)[1:]:
        variable, assigns, _ = word.partition("=")
        if assigns:
            assert re.search(rf"^{variable} *\?=", makefile, re.M), word
        elif not re.fullmatch(r"-j\d*", word):
            assert re.search(rf"^{word}:.*##", makefile, re.M), word


def test_links_between_files_lead_somewhere() -> None:
    """Of the pages outside the book; test_browser follows those of the rendered book."""
    links = {
        (page, link)
        for page in PAGES
        if not page.is_relative_to(ROOT / "book")
        for link in re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text())
    }
    assert links
    assert [(page.name, link) for page, link in links if not (page.parent / link).exists()] == []


def test_every_column_of_results_is_explained() -> None:
    explained = "".join(
        (ROOT / "results" / page).read_text() for page in ("README.md", "paper/README.md")
    )
    files = [file for file in (ROOT / "results").rglob("*.csv") if "local" not in file.parts]
    columns = {
        column for file in files for column in pd.read_csv(file, nrows=0, comment="#").columns
    }
    assert {"train_running", "share_of_floor", "visible"} <= columns
    # The standard error of a column is explained with it.
    assert {c for c in columns if f"`{c.removesuffix('_se')}`" not in explained} == set()


def test_every_study_is_explained_and_there() -> None:
    text = (ROOT / "results" / "README.md").read_text()
    table = text.split("### Studies")[1].split("\n\n")[1]
    studies_named = re.findall(r"`([^`/]+)/`", table)
    patterns = {name: re.sub("<.+?>", r"[\\d.]+", name) for name in studies_named}
    studies = [folder.name for folder in (ROOT / "results" / "curves").iterdir()]
    there = {s: [n for n, p in patterns.items() if re.fullmatch(p, s)] for s in studies}
    assert [study for study, named in there.items() if not named] == []
    assert set(studies_named) == {name for named in there.values() for name in named}


# --------------------------------------------------------------------------- the chapter's examples


@pytest.fixture(scope="module")
def examples() -> Iterator[dict[str, Any]]:
    """What the section's cells leave behind, by name; what they register is forgotten again."""
    chapter = (ROOT / "book" / "chapters" / "cite.md").read_text()
    imports, cells = (
        [cell.source for cell in jupytext.reads(text, "md:myst").cells if cell.cell_type == "code"]
        for text in chapter.split("\n## How to extend\n")
    )
    left: dict[str, Any] = {"__name__": "examples"}
    lines = re.findall(r"^(?:import|from) .+$", imports[0], re.M)
    with (
        patch.dict(LEARNERS),
        patch.dict(networks.DECODERS),
        patch.object(plt, "show"),
    ):
        exec("\n".join(lines), left)
        for cell in cells:
            exec(cell, left)
        yield left
    plt.close("all")


def test_on_another_data_set_a_bound_is_above_any_model_without_z(examples: dict[str, Any]) -> None:
    x = examples["discs"].test.double().numpy()
    mean = x.mean(0)

    def score(p: Any) -> float:
        return float((special.xlogy(x, p) + special.xlogy(1 - x, 1 - p)).sum(1).mean())

    assert examples["floor"] == pytest.approx(score(mean), abs=1e-3)
    for optimiser in ("Adagrad", "RMSprop"):
        assert score(mean) + 20 < examples["bounds"][optimiser].test.iloc[-1] < score(x)


def test_an_optimiser_of_torch_makes_the_curve_of_our_own(examples: dict[str, Any]) -> None:
    run, discs = examples["own"], examples["discs"]
    ours, theirs = job.start(run, discs), job.start(run, discs)
    adagrad = partial(torch.optim.Adagrad, lr=run.step_size, initial_accumulator_value=1e-8, eps=0)
    theirs.learner.ascents["model"] = examples["FromTorch"](
        theirs.learner.model.named_parameters(), adagrad
    )
    bounds = []
    for _ in range(20):
        ours.advance(1)
        theirs.advance(1)
        assert theirs.running_bound == pytest.approx(ours.running_bound, abs=1e-3)
        bounds.append(ours.running_bound)
    assert bounds[-1] > bounds[0] + 1


def test_a_likelihood_is_a_density_of_its_draws(examples: dict[str, Any]) -> None:
    x, log_rate = examples["photons"].test[:5], torch.linspace(-2, 2, 256)
    poisson = examples["Poisson"](log_rate)
    expected = stats.poisson.logpmf(x.numpy(), log_rate.exp().numpy()).sum(1)
    np.testing.assert_allclose(poisson.log_prob(x), expected, rtol=1e-5)
    many = examples["Poisson"](log_rate.expand(20_000, -1)).draw(torch.Generator().manual_seed(0))
    error = (many.mean(0) - log_rate.exp()) / (log_rate.exp() / len(many)).sqrt()
    assert error.abs().max() < 4.5
    assert error.std() == pytest.approx(1, abs=0.15)


def test_a_decoder_learns_but_not_more_than_the_truth(examples: dict[str, Any]) -> None:
    x = examples["photons"].test.double().numpy()
    finer = 3 + 9 * (np.arange(200) + 0.5) / 200
    centres = map(np.ravel, np.meshgrid(finer, finer))
    rates = 0.1 + 5 * examples["discs_around"](*centres).double().numpy()

    def log_prob(x: Any, rates: Any) -> Any:
        """Of all counts at all rates, `(images, rates)`."""
        constant = special.gammaln(x + 1).sum(1, keepdims=True)
        return x @ np.log(rates).T - rates.sum(1) - constant

    exact = special.logsumexp(log_prob(x[:50], rates), 1) - np.log(len(rates))
    np.testing.assert_allclose(examples["truth"][:50], exact, rtol=0, atol=0.5)
    assert examples["truth"][:50].mean().item() == pytest.approx(exact.mean(), abs=0.05)
    no_z = log_prob(x, x.mean(0, keepdims=True)).mean()
    assert examples["worst"] == pytest.approx(no_z, abs=1e-2)
    end = examples["bounds"]["photons"].iloc[-1]
    assert no_z + 100 < end.test < examples["truth"].mean()
    assert end.train < examples["truth"].mean()


def test_a_learner_of_one_sample_is_aevb_and_more_samples_are_nearer_to_the_likelihood(
    examples: dict[str, Any],
) -> None:
    learnt, log_px = examples["learnt"], examples["log_px"]
    pd.testing.assert_frame_equal(learnt["IWAE, L = 1"], learnt["AEVB, estimator A"])
    for name in log_px:
        end = learnt[name].iloc[-1]
        assert end.test < log_px[name] + 3 * end.test_se
    assert log_px["IWAE, L = 1"] < log_px["IWAE, L = 10"] < examples["ceiling"]


def test_what_the_examples_register_is_known_to_runs(examples: dict[str, Any]) -> None:
    assert names.parse("mnist-nz2-iwae-seed0", "mine", ["n_samples=5"]).learner is examples["IWAE"]
    assert names.parse("mnist-nz2-aevb-seed0", "mine", ["likelihood=poisson"])


@pytest.mark.data("mnist")
def test_the_python_of_the_readme_trains_a_run_and_draws_it(project: Path) -> None:
    (code,) = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.S | re.M)
    exec(code.replace("samples=1e5", "samples=1e4"), {})
    assert (project / "mine.png").stat().st_size > 10_000
