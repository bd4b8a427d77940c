"""Build the book: execute a chapter, or render the executed chapters as HTML or as a PDF.

    python book/build.py execute book/chapters/figure2.md   # writes book/notebooks/figure2.ipynb
    python book/build.py text book/chapters/figure2.md      # the same, if only its text changed
    python book/build.py html                               # writes book/_build/html
    python book/build.py pdf                                # writes book/_build/latex/aevb.pdf
    python book/build.py kernels                            # writes book/kernels/kernels.wasm

Make decides what is out of date; every call here does its work.
"""

import hashlib
import json
import math
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import jupytext
import nbformat
import papermill
import typer
import yaml  # type: ignore[import-untyped]
from filelock import FileLock
from ipykernel.kernelspec import get_kernel_dict
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from papermill.exceptions import PapermillExecutionError
from traitlets import default

from aevb.files import atomic

BOOK = Path(__file__).resolve().parent
CHAPTERS = BOOK / "chapters"
NOTEBOOKS = BOOK / "notebooks"
KERNELS = BOOK / "kernels"
BUILD = BOOK / "_build"
PDF = BUILD / "latex" / "aevb.pdf"

# What turns the book into a PDF, and the Debian packages that are enough for it.
PDF_TOOLS = ("xelatex", "latexmk", "rsvg-convert")
PDF_PACKAGES = (
    "apt-get install --no-install-recommends texlive-xetex texlive-fonts-recommended latexmk"
    " fonts-freefont-otf fonts-dejavu librsvg2-bin"
)

# What a chapter needs on Colab, which opens a notebook and nothing around it.
COLAB = """```
!git clone --depth 1 {} aevb
%pip install --quiet ./aevb
%cd aevb/book/notebooks
```"""

READING_PACE = 200  # words a minute; formulas are read slowly

# What makes an output differ from run to run or from machine to machine.
VOLATILE = {
    "a memory address": re.compile(r"\bat 0x[0-9a-f]{6,}"),
    "a path of this machine": re.compile(
        r"(?<![\w.:/])/(?:home|root|Users|tmp|private|var|usr|opt|work|scratch|mnt)/[\w.-]+"
        rf"|{re.escape(str(BOOK.parent))}|{re.escape(sys.prefix)}"
    ),
}

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, help=__doc__)


class ChapterError(Exception):
    """A chapter that failed, or whose output could not be reproduced."""


class ThisPython(AsyncKernelManager):
    """Starts kernels with this very interpreter, whatever the user has registered as "python3"."""

    @default("transport_encryption")
    def _encrypt(self) -> str:
        return "auto"  # without it, ipykernel warns on every start

    @property
    def kernel_spec(self) -> KernelSpec:
        """The kernel of the running environment."""
        return KernelSpec(**get_kernel_dict())


def read_chapter(source: Path) -> Any:
    """Return a MyST chapter as an unexecuted notebook, with only what a reader needs to open it."""
    notebook = jupytext.read(source)
    for key in ("jupytext", "language_info", "papermill"):
        notebook.metadata.pop(key, None)
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    notebook.metadata["language_info"] = {"name": "python"}
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"
    # jupytext writes format 4.5 (cell ids) only when asked
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def check_outputs(notebook: Any, chapter: str) -> None:
    """Refuse outputs that another run would not repeat.

    Raises:
        ChapterError: a cell wrote to stderr (a warning, a progress bar), or printed a memory
            address or a path of this machine.
    """
    for number, cell in enumerate(notebook.cells):
        for output in cell.get("outputs", []):
            where = f"{chapter}, cell {number}:"
            if output.get("name") == "stderr":
                raise ChapterError(f"{where} wrote to stderr\n{output.text}")
            data = output.get("data", {})
            text = "\n".join(
                [output.get("text", "")] + [data[mime] for mime in data if mime[:5] == "text/"]
            )
            for what, pattern in VOLATILE.items():
                if match := pattern.search(text):
                    raise ChapterError(f"{where} its output holds {what}: {match.group()}")


def execute_chapter(source: Path, target: Path) -> None:
    """Execute one MyST chapter and write it, with outputs, as a notebook.

    The cells run in the target's directory, where a reader opens the notebook. Two executions on
    one machine give the same bytes. The target appears only if everything went well.

    Arguments:
        source: the chapter, in jupytext's md:myst format.
        target: the notebook to write.

    Raises:
        ChapterError: a cell failed, or its output could not be reproduced; says which.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    plan = read_chapter(source)
    try:
        done = papermill.execute_notebook(
            plan,
            None,
            kernel_name="python3",
            kernel_manager_class=ThisPython,
            cwd=target.parent,
            progress_bar=False,
            coalesce_streams=True,  # what is printed comes in pieces that depend on the time
        )
    except PapermillExecutionError as error:
        traceback = re.sub(r"\x1b\[[0-9;]*m", "", "\n".join(error.traceback))
        raise ChapterError(f"{source.name}, cell {error.cell_index}:\n{traceback}") from None
    # The plan's own metadata: what papermill adds is of one run only (times, versions).
    done.metadata = plan.metadata
    for before, after in zip(plan.cells, done.cells, strict=True):
        after.metadata = before.metadata
        after["id"] = before["id"]
    check_outputs(done, source.name)
    nbformat.validate(done)
    with atomic(target) as part:
        nbformat.write(done, part)  # type: ignore[no-untyped-call]


def take_text(source: Path, notebook: Path) -> None:
    """Bring the text of an executed notebook up to its chapter's; outputs stay as they are.

    Arguments:
        source: the chapter.
        notebook: what its execution wrote.

    Raises:
        ChapterError: the code is not that of the execution.
    """
    plan, done = read_chapter(source), nbformat.read(notebook, 4)  # type: ignore[no-untyped-call]
    ours, executed = (
        [cell for cell in of.cells if cell.cell_type == "code"] for of in (plan, done)
    )
    if [cell.source for cell in ours] != [cell.source for cell in executed]:
        raise ChapterError(
            f"{source.name}: its code has changed since {notebook.name} was executed; expected "
            f"other text only: python book/build.py execute {source}"
        )
    for cell, before in zip(ours, executed, strict=True):
        cell.outputs, cell.execution_count = before.outputs, before.execution_count
    with atomic(notebook) as part:
        nbformat.write(plan, part)  # type: ignore[no-untyped-call]


def record_execution(notebook: Path, run_seconds: float) -> dict[str, Any]:
    """What the one execution of this process took; call it right after that.

    Args:
        notebook: what the execution wrote; its checksum ties the record to it.
        run_seconds: time on the clock.
    """
    kernel = resource.getrusage(resource.RUSAGE_CHILDREN)
    mb = 1e-6 if sys.platform == "darwin" else 1024e-6  # macOS counts in bytes, Linux in KiB

    # Here, since PyTorch in this process would count as memory of the kernels that it starts.
    import torch

    from aevb.results import provenance

    return {
        "notebook_sha256": hashlib.sha256(notebook.read_bytes()).hexdigest(),
        "run_seconds": round(run_seconds, 1),
        "processor_seconds": round(kernel.ru_utime + kernel.ru_stime, 1),
        "peak_memory_mb": round(kernel.ru_maxrss * mb),
        "processor": provenance.hardware(torch.device("cpu"))["name"],
        "versions": {**provenance.versions(), "matplotlib": version("matplotlib")},
    }


def write_record(source: Path, record: dict[str, Any]) -> None:
    """Keep what the execution of a published chapter took."""
    with atomic(BOOK / "executions" / f"{source.stem}.json") as part:
        part.write_text(json.dumps(record, indent=2) + "\n")


def execution_tables() -> str:
    """What the last execution of every chapter took, and where it was, in Markdown."""
    toc = yaml.safe_load((BOOK / "_toc.yml").read_text())
    pages = [Path(entry["file"]) for part in toc["parts"] for entry in part["chapters"]]
    lines = ["| chapter | run time (s) | processor time (s) | peak memory (MB) | environment |"]
    lines += ["|---|--:|--:|--:|:-:|"]
    environments: list[str] = []
    for page in pages:
        path = BOOK / "executions" / f"{page.name}.json"
        if not path.exists():  # a page without code
            continue
        record = json.loads(path.read_text())
        versions = ", ".join(f"{name} {number}" for name, number in record["versions"].items())
        environment = f"{record['processor']}: {versions}"
        if environment not in environments:
            environments.append(environment)
        took = (f"{record[key]:,}" for key in ("run_seconds", "processor_seconds"))
        lines.append(
            f"| {{doc}}`/{page}` | {' | '.join(took)} | {record['peak_memory_mb']:,} "
            f"| {environments.index(environment) + 1} |"
        )
    return "\n".join([*lines, "", *(f"{i}. {text}" for i, text in enumerate(environments, 1))])


def chapter_times() -> dict[str, str]:
    """How long each chapter takes to read and its cells to run, in Markdown, by page."""
    times = {}
    for chapter in sorted(CHAPTERS.glob("*.md")):
        cells = jupytext.read(chapter).cells
        prose = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        prose = re.sub(r"\$\$.*?\$\$", "", prose, flags=re.DOTALL)  # displayed formulas
        words = re.findall(r"\w[\w'’-]*", re.sub(r"\$[^$]+\$", "x", prose))
        minutes = math.ceil(len(words) / READING_PACE)
        told = f"{minutes} minutes to read, at {READING_PACE} words a minute."
        record = BOOK / "executions" / f"{chapter.stem}.json"
        if record.exists():
            seconds = math.ceil(json.loads(record.read_text())["processor_seconds"])
            told += f" The cells take {seconds} seconds of processor time ({{doc}}`/executions`)."
        times[f"notebooks/{chapter.stem}"] = told
    return times


def configuration(repository: str = "", binderhub: str = "") -> dict[str, Any]:
    """The book's configuration, with launch buttons where the repository has a public address.

    Args:
        repository: address of this repository, or nothing.
        binderhub: address of the BinderHub that its Binder buttons open.
    """
    config: dict[str, Any] = yaml.safe_load((BOOK / "_config.yml").read_text())
    if repository:
        config["repository"]["url"] = repository
        config["launch_buttons"]["binderhub_url"] = binderhub
        if repository.startswith("https://github.com/"):  # Colab opens no other
            config["launch_buttons"]["colab_url"] = "https://colab.research.google.com"
    config["parse"]["myst_substitutions"] = {
        "executions": execution_tables(),
        "colab": COLAB.format(repository or "ADDRESS-OF-THE-REPOSITORY"),
        "times": chapter_times(),
        "time": "{{ times[env.docname] }}",
    }
    return config


def render(builder: str, config: dict[str, Any], notebooks: Path = NOTEBOOKS) -> int:
    """Run one of Jupyter Book's builders on the book with these notebooks; any warning is an error.

    Returns:
        The builder's exit status.
    """
    BUILD.mkdir(exist_ok=True)
    file = BUILD / f"config-{builder}.yml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    # A copy beside the book, so that its relative paths hold: the notebooks in it can be others.
    with tempfile.TemporaryDirectory(prefix=".book-", dir=BOOK.parent) as copy:
        without = shutil.ignore_patterns(BUILD.name, NOTEBOOKS.name)
        shutil.copytree(BOOK, copy, ignore=without, dirs_exist_ok=True)
        shutil.copytree(notebooks, Path(copy, NOTEBOOKS.name))
        if builder == "latex":
            unfold(Path(copy, NOTEBOOKS.name))
        command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
        command += ["build", copy, "--path-output", str(BOOK), "--builder", builder]
        command += ["--config", str(file), "--all", "-W", "-n", "--keep-going"]
        return subprocess.run(command, check=False).returncode


def unfold(notebooks: Path) -> None:
    """Show the outputs of folded cells: in print they would be left out, tables and all."""
    for file in notebooks.glob("*.ipynb"):
        file.write_text(file.read_text().replace('"hide-cell"', '"hide-input"'))


@app.command()
def execute(
    source: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    output: Annotated[
        Path | None, typer.Argument(help="default: book/notebooks/NAME.ipynb")
    ] = None,
) -> None:
    """Execute one chapter from top to bottom and keep it as a notebook."""
    target = (output or NOTEBOOKS / f"{source.stem}.ipynb").resolve()
    BUILD.mkdir(exist_ok=True)
    try:
        # one at a time, under `make -j` too: kernels that start together race for ports
        with FileLock(BUILD / "execute.lock"):
            start = time.perf_counter()
            execute_chapter(source.resolve(), target)
            took = time.perf_counter() - start
    except ChapterError as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None
    if target.parent == NOTEBOOKS:
        write_record(source, record_execution(target, took))


@app.command()
def text(source: Annotated[Path, typer.Argument(exists=True, dir_okay=False)]) -> None:
    """Take over a chapter's text into its notebook, where no code changed since its execution."""
    notebook = NOTEBOOKS / f"{source.stem}.ipynb"
    try:
        take_text(source, notebook)
    except ChapterError as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None
    record = json.loads((BOOK / "executions" / f"{source.stem}.json").read_text())
    digest = hashlib.sha256(notebook.read_bytes()).hexdigest()
    write_record(source, record | {"notebook_sha256": digest})


@app.command()
def html(
    repository: Annotated[
        str,
        typer.Option(
            envvar="BOOK_REPOSITORY_URL",
            help="Public address of this repository; with it, chapters get launch buttons.",
        ),
    ] = "",
    binderhub: Annotated[str, typer.Option(envvar="BOOK_BINDERHUB_URL")] = "https://mybinder.org",
    notebooks: Annotated[
        Path, typer.Option(exists=True, file_okay=False, help="The executed chapters to render.")
    ] = NOTEBOOKS,
) -> None:
    """Render the executed chapters as HTML; any warning is an error."""
    config = configuration(repository, binderhub)
    published = notebooks.resolve() == NOTEBOOKS
    if not published:  # Figure 2 as phones see it
        static = config["sphinx"]["config"]["html_static_path"]
        static[:] = [path.replace("../results/", "../results/local/") for path in static]
    if PDF.exists():
        config["sphinx"]["config"]["html_extra_path"] = [str(PDF)]
        config["sphinx"]["config"]["html_context"]["book_pdf"] = PDF.name
    index = BUILD / "html" / "index.html"
    # sphinx-tippy names its files anew every time
    shutil.rmtree(BUILD / "html" / "_static" / "tippy", ignore_errors=True)
    status = render("html", config, notebooks)
    if index.exists():  # can be looked at; out of date after a failure, and with local runs in it
        import explorer  # here, since they take PyTorch with them, which no other command needs
        import figure2
        import training

        for page in (explorer, figure2, training):
            page.write(BUILD / "html")
        os.utime(index, None if published and not status else (0, 0))
    if status:
        raise typer.Exit(status)
    typer.echo(f"The book: {index}")


def references_in_place(tex: str) -> str:
    """The LaTeX of the book with the list of references in its chapter.

    Sphinx gathers all citations at the end of the document, and leaves the chapter empty.
    """
    listed = re.compile(
        r"\\begin{sphinxthebibliography}.*?\\end{sphinxthebibliography}\n", re.DOTALL
    )
    chapter = re.compile(r"\\chapter{References}\n(\\label.*\n)")
    (entries,) = listed.findall(tex)
    title = r"\renewcommand{\bibname}{References}" + "\n"
    tex, found = chapter.subn(lambda _: title + entries, listed.sub("", tex))
    if found != 1:
        raise ValueError(f"expected one chapter of references, not {found}")
    return tex


def compile_kernels(target: Path) -> None:
    """Compile kernels.ts to WebAssembly; the same source gives the same bytes.

    The compiler, of the version in book/kernels/package.json, is installed with npm.

    Raises:
        subprocess.CalledProcessError: npm or the compiler failed, and says why.
    """
    place = BUILD / "kernels"
    place.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "kernels.ts"):
        shutil.copy(KERNELS / name, place)
    quiet = ["--no-package-lock", "--no-audit", "--no-fund", "--loglevel=error"]
    subprocess.run(["npm", "install", *quiet], cwd=place, check=True)
    subprocess.run(["npm", "run", "--silent", "build"], cwd=place, check=True)
    shutil.copy(place / "kernels.wasm", target)


@app.command()
def kernels() -> None:
    """Compile what the page `train` computes with; needs npm."""
    if not shutil.which("npm"):
        typer.echo("The compiler needs npm. On Debian: apt-get install npm", err=True)
        raise typer.Exit(1)
    compile_kernels(KERNELS / "kernels.wasm")


@app.command()
def pdf() -> None:
    """Render the executed chapters as one PDF; the next HTML book offers it for download."""
    if missing := [tool for tool in PDF_TOOLS if not shutil.which(tool)]:
        typer.echo(f"The PDF needs {', '.join(missing)}. On Debian: {PDF_PACKAGES}", err=True)
        raise typer.Exit(1)
    config = configuration()
    config["sphinx"]["config"]["extensions"].append("sphinxcontrib.rsvgconverter")
    shutil.rmtree(PDF.parent, ignore_errors=True)
    if status := render("latex", config):
        raise typer.Exit(status)
    source = PDF.with_suffix(".tex")
    source.write_text(references_in_place(source.read_text()))
    # Jupyter Book's class asks for these letters, which the book does not use and Debian has only
    # among 500 MB of other fonts (texlive-fonts-extra).
    (PDF.parent / "bbm.sty").touch()
    command = ["latexmk", "-pdf", "-dvi-", "-ps-", "-silent", "-interaction=nonstopmode"]
    command += ["-halt-on-error", "aevb.tex"]
    if subprocess.run(command, cwd=PDF.parent, check=False).returncode:
        PDF.unlink(missing_ok=True)
        log = PDF.with_suffix(".log")
        typer.echo(f"XeLaTeX failed, see {log}. Expected on Debian: {PDF_PACKAGES}", err=True)
        raise typer.Exit(1)
    typer.echo(f"The book: {PDF}")


if __name__ == "__main__":
    app()
