"""Build the book: execute a chapter, or render the executed chapters as HTML.

    python book/build.py execute book/chapters/figure2.md   # writes book/notebooks/figure2.ipynb
    python book/build.py html                               # writes book/_build/html

Make decides what is out of date; every call here does its work.
"""

import os
import re
import subprocess
import sys
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

BOOK = Path(__file__).resolve().parent

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
    part = target.with_suffix(".ipynb.part")
    nbformat.write(done, part)  # type: ignore[no-untyped-call]
    part.replace(target)


@app.command()
def execute(
    source: Annotated[Path, typer.Argument(exists=True, dir_okay=False)],
    output: Annotated[
        Path | None, typer.Argument(help="default: book/notebooks/NAME.ipynb")
    ] = None,
) -> None:
    """Execute one chapter from top to bottom and keep it as a notebook."""
    target = (output or BOOK / "notebooks" / f"{source.stem}.ipynb").resolve()
    (BOOK / "_build").mkdir(exist_ok=True)
    try:
        # one at a time, under `make -j` too: kernels that start together race for ports
        with FileLock(BOOK / "_build" / "execute.lock"):
            execute_chapter(source.resolve(), target)
    except ChapterError as error:
        typer.echo(error, err=True)
        raise typer.Exit(1) from None


@app.command()
def html(
    repository: Annotated[
        str,
        typer.Option(
            envvar="BOOK_REPOSITORY_URL",
            help="Public address of this repository; with it, chapters get a Binder button.",
        ),
    ] = "",
    binderhub: Annotated[str, typer.Option(envvar="BOOK_BINDERHUB_URL")] = "https://mybinder.org",
) -> None:
    """Render the executed chapters; any warning is an error."""
    config = yaml.safe_load((BOOK / "_config.yml").read_text())
    if repository:
        config["repository"]["url"] = repository
        config["launch_buttons"]["binderhub_url"] = binderhub
    build = BOOK / "_build"
    build.mkdir(exist_ok=True)
    (build / "config.yml").write_text(yaml.safe_dump(config, sort_keys=False))
    index = build / "html" / "index.html"
    command = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    command += ["build", str(BOOK), "--config", str(build / "config.yml")]
    command += ["--all", "-W", "-n", "--keep-going"]
    status = subprocess.run(command, check=False).returncode
    if index.exists():  # after a failure it can be looked at, but counts as out of date
        import explorer  # here, since it takes PyTorch with it, which no other command needs

        explorer.write(build / "html")
        os.utime(index, (0, 0) if status else None)
    if status:
        raise typer.Exit(status)
    typer.echo(f"The book: {index}")


if __name__ == "__main__":
    app()
