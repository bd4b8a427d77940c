"""A BibTeX entry for a curve."""

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aevb import paths
from aevb.errors import DamagedFileError


def bibtex(file: Path, manifest: Mapping[str, Any]) -> str:
    """An entry that cites one curve.

    Args:
        file: the curve, within the project.
        manifest: its manifest.

    Raises:
        DamagedFileError: if CITATION.cff has no date of a release.
    """
    sha256 = hashlib.sha256(file.read_bytes()).hexdigest()
    run, curve = manifest["configuration"], f"curve {manifest['name']}"
    key = f"aevb-reproduction-{run['study']}-{manifest['name']}"
    source = f"commit {manifest['commit']}" if manifest["commit"] else "commit unknown"
    return "\n".join(
        [
            f"@misc{{{key},",
            "  author = {{The AEVB reproduction developers}},",
            f"  title  = {{{{Auto-Encoding Variational Bayes, reproduced: {curve}}}}},",
            f"  year   = {{{_year_released()}}},",
            f"  note   = {{File {file.relative_to(paths.root()).as_posix()}, "
            f"{manifest['samples']:,} training samples,",
            f"            SHA-256 {sha256},",
            f"            configuration SHA-256 {manifest['configuration_sha256']},",
            f"            made by version {manifest['versions']['aevb']}, {source}}},",
            "}",
        ]
    )


def _year_released() -> str:
    """The year of the release that CITATION.cff names."""
    file = paths.root() / "CITATION.cff"
    found = re.search(r"^date-released: *[\"']?(\d{4})-", file.read_text(), re.MULTILINE)
    if found is None:
        raise DamagedFileError(f"{file}: expected a line such as date-released: 2026-11-24")
    return found[1]
