"""What made a file."""

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest
import torch

from aevb.model import products
from aevb.results import provenance


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a tester", "-c", "user.email=tester@example.org")
    command = ["git", *identity, *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """The library in the environment of another project, which is a git repository."""
    git(tmp_path, "init")
    (tmp_path / ".gitignore").write_text(".venv\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "of another project")
    folder = tmp_path / ".venv" / "aevb" / "results"
    folder.mkdir(parents=True)
    shutil.copy(provenance.__file__, folder)
    return folder


def commit_of(library: Path) -> str | None:
    spec = importlib.util.spec_from_file_location("a_copy", library / "provenance.py")
    assert spec is not None
    assert spec.loader is not None
    copy = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copy)
    commit: str | None = copy.commit()
    return commit


def test_a_commit_is_of_this_source_and_says_if_that_was_edited(library: Path) -> None:
    assert commit_of(library) is None  # not the commit of the project around it
    git(library, "add", "--force", "provenance.py")
    git(library, "commit", "-m", "of this project")
    head = git(library, "rev-parse", "HEAD").strip()
    assert commit_of(library) == head
    (library / "another.py").touch()
    git(library, "add", "--force", "another.py")
    assert commit_of(library) == f"{head}-dirty"


def test_the_hardware_says_what_computes_matrix_products(monkeypatch: pytest.MonkeyPatch) -> None:
    for kernel in ("MKL", "oneDNN"):
        monkeypatch.setattr(products, "KERNEL", kernel)
        assert provenance.hardware(torch.device("cpu"))["products"] == kernel
