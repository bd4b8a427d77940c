"""What is installed: the package, built to the same bytes twice, and packages pinned by digest."""

import os
import re
import shutil
import tarfile
from pathlib import Path
from zipfile import ZipFile

import pytest
from flit_core import buildapi

ROOT = Path(__file__).parent.parent
LOCKS = ("requirements.lock", "requirements-torch.lock")


def built(folder: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """The wheel and the sdist of a copy of the source."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        folder.mkdir(exist_ok=True)
        shutil.copyfile(ROOT / name, folder / name)
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
    shutil.copytree(ROOT / "src", folder / "src", ignore=unwanted, copy_function=shutil.copyfile)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    return folder / buildapi.build_wheel("."), folder / buildapi.build_sdist(".")


def test_wheel_and_sdist_are_the_same_bytes_whoever_builds_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.umask(0o022)
    try:
        one = built(tmp_path / "one", monkeypatch)
        os.umask(0o077)
        another = built(tmp_path / "another", monkeypatch)
    finally:
        os.umask(before)
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in another]


def test_wheel_and_sdist_have_every_file_of_the_library(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = (file for file in (ROOT / "src" / "aevb").rglob("*") if file.is_file())
    library = {
        str(file.relative_to(ROOT / "src")) for file in files if "__pycache__" not in file.parts
    }
    assert {"aevb/py.typed", "aevb/comparison/reference.csv"} < library
    wheel, sdist = built(tmp_path / "project", monkeypatch)
    assert library < {*ZipFile(wheel).namelist()}
    with tarfile.open(sdist) as packed:
        assert {f"aevb-0.1.0/src/{name}" for name in library} < {*packed.getnames()}


def pins(name: str) -> set[str]:
    """The packages of a file of requirements, each with its version."""
    return set(re.findall(r"^([\w.-]+==[\w.]+)", (ROOT / name).read_text(), re.MULTILINE))


def test_what_is_asked_for_is_locked_in_that_version() -> None:
    asked = pins("requirements.txt")
    torch = {pin for pin in asked if pin.startswith("torch")}
    assert len(torch) == 2
    locked = {pin.replace("_", "-").lower() for pin in pins("requirements.lock")}
    assert asked - torch <= locked, "run `make lock`"
    assert torch <= pins("requirements-torch.lock"), "run `make lock`"


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_has_a_digest_for_all_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert "--index" not in text
    packages = re.split(r"\n(?=\S)", text.strip())
    assert len(packages) > 10
    for package in packages:
        first, *digests = package.split(" \\\n")
        assert re.fullmatch(r"[a-z0-9-]+==[\w.]+( ; .+)?", first), first
        assert digests, first
        assert all(re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}", line) for line in digests), first
