"""The results as one file to deposit and cite: a zip that is the same bytes wherever it is made."""

import hashlib
import json
import mimetypes
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aevb import paths
from aevb.errors import DamagedFileError
from aevb.files import atomic

LONG_AGO = (1980, 1, 1, 0, 0, 0)  # the first time that a zip can hold
KINDS = {".safetensors": "application/octet-stream", ".csv": "text/csv", ".md": "text/markdown"}


def write(folder: Path) -> Path:
    """Write the archive of the published results.

    It holds `results/` without the runs of this machine, the licence, CITATION.cff, metadata
    (`ro-crate-metadata.json`, RO-Crate 1.1; `codemeta.json`, CodeMeta 3.0) and `SHA256SUMS`.
    Nothing is compressed, since compressors differ in their bytes.

    Args:
        folder: where to write it.

    Returns:
        The file, `aevb-results-<version>.zip`.

    Raises:
        DamagedFileError: if `.zenodo.json`, which describes the deposit, cannot be read.
    """
    about = description()
    contents = {f"results/{name}": file.read_bytes() for name, file in published().items()}
    for name in ("CITATION.cff", "LICENSE"):
        contents[name] = (paths.root() / name).read_bytes()
    contents["codemeta.json"] = _json(_codemeta(about))
    contents["ro-crate-metadata.json"] = _json(_ro_crate(about, contents))
    sums = [f"{hashlib.sha256(data).hexdigest()}  {n}\n" for n, data in sorted(contents.items())]
    contents["SHA256SUMS"] = "".join(sums).encode()
    target = folder / f"{archive_name(about)}.zip"
    with atomic(target) as temporary, zipfile.ZipFile(temporary, "w") as archive:
        for name, data in sorted(contents.items()):
            entry = zipfile.ZipInfo(f"{archive_name(about)}/{name}", LONG_AGO)
            entry.create_system, entry.external_attr = 3, 0o644 << 16  # Unix, on every system
            archive.writestr(entry, data)
    return target


def description() -> dict[str, Any]:
    """What `.zenodo.json` says of the deposit.

    Raises:
        DamagedFileError: if it cannot be read, or lacks what is needed.
    """
    file = paths.root() / ".zenodo.json"
    needed = ("title", "description", "creators", "version", "publication_date", "keywords")
    try:
        about: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        missing = [field for field in needed if not about.get(field)]
    except ValueError as error:
        raise DamagedFileError(f"{file} is not JSON ({error}): restore it from git") from None
    if missing:
        raise DamagedFileError(f"{file} lacks {', '.join(missing)}: restore it from git")
    return about


def archive_name(about: Mapping[str, Any]) -> str:
    """Name of the archive file, without `.zip`."""
    return f"aevb-results-{about['version']}"


def published() -> dict[str, Path]:
    """Every published file, by its name below `results/`, without local and hidden ones."""
    found = {}
    for file in sorted(paths.published().rglob("*")):
        name = file.relative_to(paths.published())
        local = file.is_relative_to(paths.local())
        if file.is_file() and not local and not any(part[0] == "." for part in name.parts):
            found[name.as_posix()] = file
    return found


def swhid(files: Mapping[str, bytes]) -> str:
    """The Software Heritage identifier of a folder with these files, by their names below it.

    That of git's tree, and so of `git rev-parse HEAD:results` where nothing has changed.
    """
    return f"swh:1:dir:{_tree(files)}"


def file_swhid(content: bytes) -> str:
    """The Software Heritage identifier of a file: that of git's blob."""
    return f"swh:1:cnt:{_object('blob', content)}"


def _object(kind: str, content: bytes) -> str:
    return hashlib.sha1(f"{kind} {len(content)}\0".encode() + content).hexdigest()


def _tree(files: Mapping[str, bytes]) -> str:
    entries: dict[str, tuple[str, str]] = {}
    folders: dict[str, dict[str, bytes]] = {}
    for name, content in files.items():
        first, slash, rest = name.partition("/")
        if slash:
            folders.setdefault(first, {})[rest] = content
        else:
            entries[first] = ("100644", _object("blob", content))
    for folder, inside in folders.items():
        entries[f"{folder}/"] = ("40000", _tree(inside))  # the name by which git sorts a folder
    lines = [
        f"{mode} {name.rstrip('/')}\0".encode() + bytes.fromhex(digest)
        for name, (mode, digest) in sorted(entries.items(), key=lambda item: item[0].encode())
    ]
    return _object("tree", b"".join(lines))


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def _codemeta(about: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "@context": "https://w3id.org/codemeta/3.0",
        "@type": "SoftwareSourceCode",
        "name": about["title"],
        "description": about["description"],
        "version": about["version"],
        "datePublished": about["publication_date"],
        "license": "https://spdx.org/licenses/MIT",
        "author": [{"@type": "Organization", "name": c["name"]} for c in about["creators"]],
        "keywords": about["keywords"],
        "programmingLanguage": "Python",
        "referencePublication": "https://doi.org/10.48550/arXiv.1312.6114",
    }


def _ro_crate(about: Mapping[str, Any], contents: Mapping[str, bytes]) -> dict[str, Any]:
    results = {
        name.removeprefix("results/"): data
        for name, data in contents.items()
        if name.startswith("results/")
    }
    files = [
        {
            "@id": name,
            "@type": "File",
            "name": name.rpartition("/")[2],
            "encodingFormat": KINDS.get(Path(name).suffix)
            or mimetypes.types_map.get(Path(name).suffix, "text/plain"),
            "contentSize": str(len(data)),
            "sha256": hashlib.sha256(data).hexdigest(),
        }
        for name, data in sorted(contents.items())
    ]
    return {
        "@context": "https://w3id.org/ro/crate/1.1/context",
        "@graph": [
            {
                "@id": "ro-crate-metadata.json",
                "@type": "CreativeWork",
                "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
                "about": {"@id": "./"},
            },
            {
                "@id": "./",
                "@type": "Dataset",
                "name": about["title"],
                "description": about["description"],
                "version": about["version"],
                "datePublished": about["publication_date"],
                "license": {"@id": "https://spdx.org/licenses/MIT"},
                "author": [{"@id": f"#author-{k}"} for k in range(len(about["creators"]))],
                "keywords": about["keywords"],
                "identifier": swhid(results),
                "citation": {"@id": "https://doi.org/10.48550/arXiv.1312.6114"},
                "hasPart": [{"@id": file["@id"]} for file in files],
            },
            *(
                {"@id": f"#author-{k}", "@type": "Organization", "name": creator["name"]}
                for k, creator in enumerate(about["creators"])
            ),
            {
                "@id": "https://spdx.org/licenses/MIT",
                "@type": "CreativeWork",
                "name": "MIT License",
            },
            {
                "@id": "https://doi.org/10.48550/arXiv.1312.6114",
                "@type": "ScholarlyArticle",
                "name": "Auto-Encoding Variational Bayes",
            },
            *files,
        ],
    }
