"""What readers are told to run and to look at: commands that the project has, files that exist."""

import re
import shlex
from pathlib import Path

import pandas as pd
import pytest
import typer

from aevb import cli
from aevb.training import experiments

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
    for run in told.get("names") or []:
        experiments.parse(run, told.get("study"), told.get("setting") or ())


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
    columns = {column for file in files for column in pd.read_csv(file, nrows=0).columns}
    assert {"train_running", "share_of_floor", "visible"} <= columns
    # The standard error of a column is explained with it.
    assert {c for c in columns if f"`{c.removesuffix('_se')}`" not in explained} == set()


def test_every_study_is_explained_and_there() -> None:
    text = (ROOT / "results" / "README.md").read_text()
    table = text.split("### Studies")[1].split("\n\n")[1]
    names = re.findall(r"`([^`/]+)/`", table)
    patterns = {name: re.sub("<.+?>", r"[\\d.]+", name) for name in names}
    studies = [folder.name for folder in (ROOT / "results" / "curves").iterdir()]
    there = {s: [n for n, p in patterns.items() if re.fullmatch(p, s)] for s in studies}
    assert [study for study, named in there.items() if not named] == []
    assert set(names) == {name for named in there.values() for name in named}
