"""The archive of the results: whole, the same bytes every time, described."""

import json
import shutil
import subprocess
import zipfile
from hashlib import sha256
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from aevb import paths
from aevb.errors import DamagedFileError
from aevb.results import archive

ROOT = paths.root()


@pytest.fixture
def results(project: Path) -> Path:
    """A project with some results, a run of this machine, and the files of a deposit."""
    for name in (".zenodo.json", "CITATION.cff", "LICENSE"):
        shutil.copy(ROOT / name, project)
    (project / "results" / "curves").mkdir()
    (project / "results" / "curves" / "a.csv").write_text("samples,test\n100,-543.4\n")
    (project / "results" / "local").mkdir()
    (project / "results" / "local" / "mine.csv").write_text("not for others")
    (project / "results" / ".part").write_text("half a file")
    return project


def contents(file: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(file) as opened:
        assert opened.testzip() is None
        return {
            entry.filename.removeprefix("aevb-results-0.1.0/"): opened.read(entry)
            for entry in opened.infolist()
        }


def test_it_holds_what_is_published_and_nothing_of_this_machine(results: Path) -> None:
    inside = contents(archive.write(results))
    assert inside["results/curves/a.csv"].startswith(b"samples,test")
    assert "results/paper/figure2.csv" in inside
    assert {"CITATION.cff", "LICENSE", "codemeta.json", "ro-crate-metadata.json"} < set(inside)
    assert not [name for name in inside if "local" in name or ".part" in name]


def test_it_is_the_same_bytes_whenever_it_is_made(results: Path) -> None:
    first = archive.write(results).read_bytes()
    (results / "results" / "curves" / "a.csv").touch()
    (results / "results" / "curves" / "a.csv").chmod(0o600)
    assert archive.write(results).read_bytes() == first


def test_every_file_has_its_checksum_in_the_list_and_in_the_metadata(results: Path) -> None:
    inside = contents(archive.write(results))
    lines = [line.split("  ") for line in inside["SHA256SUMS"].decode().splitlines()]
    listed = {name: digest for digest, name in lines}
    assert listed == {
        name: sha256(data).hexdigest() for name, data in inside.items() if name != "SHA256SUMS"
    }
    graph = {e["@id"]: e for e in json.loads(inside["ro-crate-metadata.json"])["@graph"]}
    assert graph["ro-crate-metadata.json"]["about"] == {"@id": "./"}
    parts = [part["@id"] for part in graph["./"]["hasPart"]]
    assert set(parts) == set(inside) - {"SHA256SUMS", "ro-crate-metadata.json"}
    for name in parts:
        assert graph[name]["sha256"] == listed[name]
        assert int(graph[name]["contentSize"]) == len(inside[name])


def test_identifiers_are_those_of_git(results: Path) -> None:
    folder = results / "results" / "paper"
    (folder / "a").mkdir()
    (folder / "a" / "x").write_text("a/ sorts after a.csv")
    (folder / "a.csv").write_text("")
    subprocess.run(["git", "init", "-q", "."], cwd=folder, check=True)
    subprocess.run(["git", "add", "."], cwd=folder, check=True)
    tree = subprocess.run(
        ["git", "write-tree"], cwd=folder, capture_output=True, text=True, check=True
    )
    files = {
        file.relative_to(folder).as_posix(): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file() and ".git" not in file.parts
    }
    assert archive.swhid(files) == f"swh:1:dir:{tree.stdout.strip()}"
    # Of an empty file, as everybody's git has it.
    assert archive.file_swhid(b"") == "swh:1:cnt:e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"


def test_the_deposit_is_described_as_the_citation_says() -> None:
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    about = archive.description()
    assert about["title"] == citation["title"]
    assert about["version"] == citation["version"]
    assert about["license"] == citation["license"]
    assert about["keywords"] == citation["keywords"]
    assert about["publication_date"] == str(citation["date-released"])
    assert [c["name"] for c in about["creators"]] == [a["name"] for a in citation["authors"]]


def test_a_damaged_description_is_named(results: Path) -> None:
    (results / ".zenodo.json").write_text("{")
    with pytest.raises(DamagedFileError, match=r"zenodo\.json is not JSON .*restore it"):
        archive.write(results)
