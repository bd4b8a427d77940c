"""A BibTeX entry for a curve."""

import hashlib
import re

from aevb import paths
from aevb.errors import DamagedFileError
from aevb.results.curves import Curve


def bibtex(curve: Curve) -> str:
    """An entry that cites a published curve.

    Raises:
        DamagedFileError: if CITATION.cff has no date of a release.
    """
    sha256, manifest = hashlib.sha256(curve.path.read_bytes()).hexdigest(), curve.manifest
    source = f"commit {manifest['commit']}" if manifest["commit"] else "commit unknown"
    return "\n".join(
        [
            f"@misc{{aevb-reproduction-{curve.study}-{curve.name},",
            "  author = {{The AEVB reproduction developers}},",
            f"  title  = {{{{Auto-Encoding Variational Bayes, reproduced: curve {curve.name}}}}},",
            f"  year   = {{{_year_released()}}},",
            f"  note   = {{File {curve.path.relative_to(paths.root()).as_posix()}, "
            f"{curve.samples:,} training samples,",
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
