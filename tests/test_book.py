"""The book's sources, its executed notebooks, and the command that executes them."""

import hashlib
import importlib.util
import json
import os
import pkgutil
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import jupytext
import nbformat
import pytest
import typer
import yaml  # type: ignore[import-untyped]
from sphinx_external_toc.parsing import parse_toc_yaml

BOOK = Path(__file__).resolve().parent.parent / "book"
CHAPTERS = sorted(BOOK.glob("chapters/*.md"))
NOTEBOOKS = sorted(BOOK.glob("notebooks/*.ipynb"))
MACHINE = re.compile(
    r"/(home|root|tmp|Users|private|var|work|scratch)/\w|ipykernel_\d|site-packages"
)

CHAPTER = """---
kernelspec:
  display_name: Python 3
  language: python
  name: python3
---

# A chapter

```{code-cell} ipython3
:tags: [hide-input]

import matplotlib as mpl
import matplotlib.pyplot as plt
import matplotlib_inline.backend_inline

mpl.rcParams["svg.hashsalt"] = "test"
matplotlib_inline.backend_inline.set_matplotlib_formats("svg", metadata={"Date": None})
```

```{code-cell} ipython3
plt.plot([0, 1])
plt.show()
```
"""

# Sampling, autograd, a table and a figure, as chapters have them.
SAMPLED = """
import pandas as pd
import torch
from IPython.display import display
from aevb import figures
from aevb.learners.aevb import lower_bound
from aevb.model.networks import Architecture, Initialisation, initialised
from aevb.model.randomness import generator, normal

figures.use_style()
torch.set_num_threads(1)
model = initialised(Architecture(784, 100, 3, "bernoulli"), Initialisation(), generator(0, "a"))
x = torch.rand(200, 784, generator=generator(0, "x"))
bounds = lower_bound(model, x, normal(generator(0, "epsilon"), 1, 200, 3))
bounds.sum().backward()
slopes = {name: p.grad.abs().mean().item() for name, p in model.named_parameters()}
display(pd.DataFrame([slopes]).T)
plt.hist(bounds.detach().numpy())
plt.show()
"""


def load_build() -> ModuleType:
    spec = importlib.util.spec_from_file_location("build", BOOK / "build.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


build = load_build()


def cell(code: str) -> str:
    return f"\n```{{code-cell}} ipython3\n{code}\n```\n"


def execute(chapter: Path, output: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BOOK / "build.py"), "execute", str(chapter), str(output)]
    return subprocess.run(command, cwd=chapter.parent, capture_output=True, text=True, check=False)


def read(path: Path) -> Any:
    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


def test_toc_names_every_chapter_and_only_files_that_exist() -> None:
    pages = list(parse_toc_yaml(BOOK / "_toc.yml"))
    assert pages[0] == "intro"
    assert {p for p in pages if p.startswith("notebooks/")} == {
        f"notebooks/{chapter.stem}" for chapter in CHAPTERS
    }
    for page in pages:
        assert (BOOK / f"{page}.md").exists() or (BOOK / f"{page}.ipynb").exists()


def crosswalk() -> dict[str, list[str]]:
    """The cells of every row of the crosswalk, by the part of the paper."""
    _, _, tables = (BOOK / "notation.md").read_text().partition("(crosswalk)=")
    rows = [line.strip("| ").split(" | ") for line in tables.splitlines() if line.startswith("|")]
    parts = [row for row in rows if row[0] != "paper" and not row[0].startswith("---")]
    assert len({row[0] for row in parts}) == len(parts), "a part of the paper stands there twice"
    return {row[0]: row[1:] for row in parts}


def test_the_crosswalk_names_every_part_of_the_paper() -> None:
    sections = ["1", "2", "2.1", "2.2", "2.3", "2.4", "3", "4", "5", "6", "7"]
    appendices = ["A", "B", "C", "C.1", "C.2", "D", "E", "F", "F.1"]
    assert list(crosswalk()) == [
        *(f"Section {number}" for number in sections),
        *(f"Appendix {letter}" for letter in appendices),
        *(f"Equation {number}" for number in range(1, 25)),
        *(f"Figure {number}" for number in range(1, 6)),
        *(f"Algorithm {number}" for number in (1, 2)),
    ]


@pytest.mark.parametrize("part", crosswalk())
def test_the_crosswalk_leads_to_pages_labels_and_code_that_exist(part: str) -> None:
    _, place, code = crosswalk()[part]
    pages = [
        BOOK / f"{page.replace('notebooks/', 'chapters/')}.md"
        for page in re.findall(r"{doc}`(.+?)`", place)
    ]
    assert pages or "not treated" in place
    text = "\n".join(page.read_text() for page in pages)
    for label in re.findall(r"{eq}`(.+?)`", place):
        assert f"({label})" in text, label
    for label in re.findall(r"{numref}`(.+?)`", place):
        assert re.search(rf"name: {label}$", text, re.MULTILINE), label
    for name in re.findall(r"`([^`]+)`", code):
        assert pkgutil.resolve_name(f"aevb.{name}"), name


def test_config_works_offline() -> None:
    config = yaml.safe_load((BOOK / "_config.yml").read_text())
    sphinx = config["sphinx"]["config"]
    assert config["execute"]["execute_notebooks"] == "off"
    assert config["only_build_toc_files"] is True
    assert "sphinx_thebe" not in sphinx["extensions"]
    assert "sphinx.ext.intersphinx" not in sphinx["extensions"]
    assert (BOOK / "assets" / sphinx["mathjax_path"]).is_file()
    assert (BOOK / config["html"]["favicon"]).is_file()
    for script in sphinx["tippy_js"]:
        assert (BOOK / "assets" / script).is_file()
    assert not any(sphinx[f"tippy_enable_{kind}tips"] for kind in ("wiki", "doi"))
    for path in [*config["bibtex_bibfiles"], *sphinx["html_static_path"]]:
        assert (BOOK / path).exists()
    assert not (BOOK / "_static").exists(), "Jupyter Book would put its scripts on every page"


def test_mathjax_brings_its_licence_and_names_no_cdn() -> None:
    mathjax = BOOK / "assets" / "mathjax"
    assert "Apache License" in (mathjax / "LICENSE").read_text()
    for script in mathjax.rglob("*.js"):
        assert not re.search("cdn|unpkg", script.read_text()), script


def test_every_chapter_is_executed() -> None:
    assert [n.stem for n in NOTEBOOKS] == [c.stem for c in CHAPTERS]


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_is_its_chapter_executed(notebook: Path) -> None:
    source = jupytext.read(BOOK / "chapters" / f"{notebook.stem}.md")
    executed = read(notebook)
    assert [(c.cell_type, c.source) for c in executed.cells] == [
        (c.cell_type, c.source) for c in source.cells
    ], f"out of date: python book/build.py execute book/chapters/{notebook.stem}.md"
    assert [c.metadata for c in executed.cells] == [c.metadata for c in source.cells]
    code = [c for c in executed.cells if c.cell_type == "code"]
    assert [c.execution_count for c in code] == list(range(1, len(code) + 1))
    for output in (output for c in code for output in c.outputs):
        assert output.output_type != "error"
        assert output.get("name") != "stderr"


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_notebook_holds_nothing_of_one_machine_or_run(notebook: Path) -> None:
    content = read(notebook)
    nbformat.validate(content)
    assert content.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    assert [c.id for c in content.cells] == [f"cell-{i}" for i in range(len(content.cells))]
    for c in content.cells:
        for output in c.get("outputs", []):
            # base64 may hold anything
            texts = {k: v for k, v in output.get("data", {}).items() if k != "image/png"}
            assert not MACHINE.search(json.dumps([output.get("text"), texts]))
            assert "<dc:date>" not in texts.get("image/svg+xml", "")


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_execution_is_recorded_and_fits_a_small_machine(notebook: Path) -> None:
    file = BOOK / "executions" / f"{notebook.stem}.json"
    again = f"python book/build.py execute book/chapters/{notebook.stem}.md"
    assert file.exists(), f"not recorded: {again}"
    record = json.loads(file.read_text())
    digest = hashlib.sha256(notebook.read_bytes()).hexdigest()
    assert record["notebook_sha256"] == digest, f"the record of another execution: {again}"
    assert 0 < record["processor_seconds"] <= 60
    assert 0 < record["peak_memory_mb"] <= 2000
    row = rf"^\| {{doc}}`/notebooks/{notebook.stem}` \| .*{record['processor_seconds']}"
    assert re.search(row, build.execution_tables(), re.MULTILINE)


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda p: p.stem)
def test_figures_say_what_they_show(notebook: Path) -> None:
    for c in read(notebook).cells:
        if any("image/svg+xml" in o.get("data", {}) for o in c.get("outputs", [])):
            assert c.metadata.get("mystnb", {}).get("image", {}).get("alt"), c.source


def test_text_is_taken_over_and_outputs_stay_but_not_under_other_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "BOOK", tmp_path)
    monkeypatch.setattr(build, "NOTEBOOKS", tmp_path)
    chapter, notebook = tmp_path / "tiny.md", tmp_path / "tiny.ipynb"
    record = tmp_path / "executions" / "tiny.json"
    record.parent.mkdir()
    record.write_text('{"notebook_sha256": "", "run_seconds": 1.0}')
    chapter.write_text(CHAPTER + cell("print(1)"))
    executed = build.read_chapter(chapter)
    for one in (c for c in executed.cells if c.cell_type == "code"):
        seen = {"output_type": "stream", "name": "stdout", "text": "seen"}
        one.outputs, one.execution_count = [seen], 7
    notebook.write_text(json.dumps(executed))
    chapter.write_text(CHAPTER + "A second thought.\n" + cell("print(1)"))
    build.text(chapter)
    after = read(notebook)
    assert [c.source for c in after.cells] == [c.source for c in jupytext.read(chapter).cells]
    assert "A second thought." in [c.source for c in after.cells]
    assert {(c.outputs[0].text, c.execution_count) for c in after.cells if "outputs" in c} == {
        ("seen", 7)
    }
    digest = hashlib.sha256(notebook.read_bytes()).hexdigest()
    assert json.loads(record.read_text()) == {"notebook_sha256": digest, "run_seconds": 1.0}
    chapter.write_text(CHAPTER + cell("print(2)"))
    with pytest.raises(typer.Exit):
        build.text(chapter)
    assert "tiny.md: its code has changed since tiny.ipynb" in capsys.readouterr().err
    assert hashlib.sha256(notebook.read_bytes()).hexdigest() == digest


def test_every_exercise_is_solved_under_its_title() -> None:
    text = "\n".join(file.read_text() for file in BOOK.glob("chapters/solutions*.md"))
    _, *parts = re.split(r"^\(solutions-([\w-]+)\)=$", text, flags=re.M)
    solutions = dict(zip(parts[::2], parts[1::2], strict=True))
    for chapter in CHAPTERS:
        _, _, exercises = chapter.read_text().partition("\n## Exercises\n")
        asked = re.findall(r"^(\d+\. )\*\*(.+?)\.\*\* ", exercises.split("\n## ")[0], re.M)
        solved = re.findall(r"^### (\d+\. )(.+)$", solutions.pop(chapter.stem, ""), re.M)
        assert asked == solved, chapter.name
        if exercises:
            assert 3 <= len(asked) <= 6, chapter.name
            assert f"{{ref}}`solutions-{chapter.stem}`" in exercises
    assert not solutions, "of no chapter"


def test_a_chapter_says_how_long_it_takes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "executions").mkdir()
    (tmp_path / "executions" / "tiny.json").write_text('{"processor_seconds": 3.2}')
    words = "it's " * 391 + "one formula $x + y$, another $$x + y + z$$ and no code\n"
    (tmp_path / "tiny.md").write_text(CHAPTER + words + cell("print(1)"))
    monkeypatch.setattr(build, "BOOK", tmp_path)
    monkeypatch.setattr(build, "CHAPTERS", tmp_path)
    (told,) = build.chapter_times().values()
    assert re.findall(r"\d+", told) == ["2", "200", "4"]  # the title counts too


def test_executing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    chapter = tmp_path / "tiny.md"
    slow = "import time\nprint('one', flush=True)\ntime.sleep(0.5)\nprint('two')"
    chapter.write_text(
        CHAPTER
        + cell("from pathlib import Path\nprint(Path.cwd().name)")
        + cell(SAMPLED)
        + cell(slow)
    )
    outputs = [tmp_path / "here" / "tiny.ipynb", tmp_path / "there" / "here" / "tiny.ipynb"]
    for output in outputs:
        done = execute(chapter, output)
        assert done.returncode == 0, done.stderr
        assert [p.name for p in output.parent.iterdir()] == ["tiny.ipynb"]
    first, second = (output.read_bytes() for output in outputs)
    assert first == second
    assert b"image/svg+xml" in first
    assert b'"here\\n"' in first, "cells run where the notebook lies"
    assert b"papermill" not in first
    assert read(outputs[0]).cells[-1].outputs[0].text == "one\ntwo\n", "in one piece"


@pytest.mark.parametrize(
    ("code", "complaint"),
    [
        pytest.param("1 / 0", "ZeroDivisionError: division by zero", id="error"),
        pytest.param("import warnings; warnings.warn('careful')", "careful", id="warning"),
    ],
)
def test_a_failing_chapter_says_where_and_leaves_the_old_notebook(
    tmp_path: Path, code: str, complaint: str
) -> None:
    chapter, output = tmp_path / "broken.md", tmp_path / "broken.ipynb"
    chapter.write_text("# Broken\n" + cell("fine = 1") + "\nThen:\n" + cell(code))
    output.write_text("the old notebook")
    done = execute(chapter, output)
    assert done.returncode == 1
    assert "broken.md, cell 3" in done.stderr
    assert complaint in done.stderr
    assert output.read_text() == "the old notebook"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken.ipynb", "broken.md"]


@pytest.mark.parametrize(
    ("printed", "complaint"),
    [(str(object()), "a memory address"), (sys.executable, "a path of this machine")],
    ids=["address", "path"],
)
@pytest.mark.parametrize("kind", ["stream", "execute_result"])
def test_an_output_that_another_run_would_not_repeat_is_refused(
    printed: str, complaint: str, kind: str
) -> None:
    output = (
        {"output_type": kind, "name": "stdout", "text": printed}
        if kind == "stream"
        else {"output_type": kind, "data": {"text/plain": printed}}
    )
    notebook = nbformat.from_dict({"cells": [{}, {"outputs": [output]}]})  # type: ignore[no-untyped-call]
    with pytest.raises(build.ChapterError, match=rf"broken.md, cell 1: .*{complaint}"):
        build.check_outputs(notebook, "broken.md")


@pytest.mark.parametrize(
    ("repository", "buttons"),
    [
        ("", set()),
        ("https://github.com/someone/aevb", {"binderhub_url", "colab_url"}),
        ("https://gitlab.com/someone/aevb", {"binderhub_url"}),
    ],
)
def test_launch_buttons_need_a_public_address(repository: str, buttons: set[str]) -> None:
    config = build.configuration(repository, "https://binder.example")
    assert {key for key in config["launch_buttons"] if key.endswith("_url")} == buttons
    assert config["repository"]["url"] == repository
    assert repository in config["parse"]["myst_substitutions"]["colab"]


def test_binder_makes_its_image_with_the_data() -> None:
    script = BOOK.parent / "postBuild"
    assert os.access(script, os.X_OK)
    assert "\naevb data\n" in script.read_text()


def test_pdf_without_its_tools_names_the_packages(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(BOOK / "build.py"), "pdf"],
        env={**os.environ, "PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "needs xelatex, latexmk, rsvg-convert" in done.stderr
    assert "apt-get install --no-install-recommends texlive-xetex" in done.stderr


def test_the_book_is_built_with_other_notebooks_beside_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a-chapter.ipynb").touch()
    sources = []

    def builder(command: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        source = Path(command[command.index("build") + 1])
        assert [file.name for file in (source / "notebooks").iterdir()] == ["a-chapter.ipynb"]
        assert (source / ".." / "results" / "figures" / "figure2.svg").exists()
        assert {"_config.yml", "intro.md", "assets"} <= {file.name for file in source.iterdir()}
        assert not (source / "_build").exists()
        sources.append(source)
        return subprocess.CompletedProcess(command, 3)

    monkeypatch.setattr(build.subprocess, "run", builder)
    assert build.render("html", {}, tmp_path) == 3
    (source,) = sources
    assert not source.exists()


def test_a_book_with_local_runs_has_their_figure_and_counts_as_out_of_date(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = tmp_path / "html" / "index.html"
    index.parent.mkdir()
    rendered = []

    def render(_: str, config: dict[str, Any], notebooks: Path) -> int:
        index.touch()
        rendered.append((config["sphinx"]["config"]["html_static_path"][-1], notebooks))
        return 0

    monkeypatch.setattr(build, "BUILD", tmp_path)
    monkeypatch.setattr(build, "render", render)
    for page in ("explorer", "figure2", "training"):
        monkeypatch.setitem(sys.modules, page, SimpleNamespace(write=lambda _: None))
    build.html("", "", tmp_path)
    assert index.stat().st_mtime == 0
    build.html("", "", build.NOTEBOOKS)
    assert index.stat().st_mtime > 0
    figure = "figures/figure2-narrow.svg"
    assert rendered == [
        (f"../results/local/{figure}", tmp_path),
        (f"../results/{figure}", build.NOTEBOOKS),
    ]


def test_references_stand_in_their_chapter_of_the_pdf() -> None:
    entries = "\\begin{sphinxthebibliography}{1}\nx\n\\end{sphinxthebibliography}\n"
    chapter = "\\chapter{References}\n\\label{\\detokenize{a}}\n"
    done = build.references_in_place(f"{chapter}\\chapter{{Next}}\n{entries}")
    assert done.count(entries) == 1
    assert done.index(entries) < done.index("\\chapter{Next}")
    assert "\\chapter{References}" not in done
    with pytest.raises(ValueError, match="expected one chapter of references"):
        build.references_in_place(entries)


def test_no_output_of_a_cell_is_left_out_of_the_pdf(tmp_path: Path) -> None:
    shutil.copytree(BOOK / "notebooks", tmp_path / "notebooks")
    build.unfold(tmp_path / "notebooks")
    for file in (tmp_path / "notebooks").glob("*.ipynb"):
        for cell in read(file).cells:
            assert not {"hide-cell", "hide-output"} & set(cell.metadata.get("tags", [])), file.name
