"""A BibTeX entry for a curve."""

import hashlib

from aevb import paths
from aevb.results import archive
from aevb.results.curves import Curve


def bibtex(curve: Curve) -> str:
    """An entry that cites a published curve.

    Raises:
        DamagedFileError: if `.zenodo.json`, which describes the release, cannot be read.
    """
    content, manifest = curve.path.read_bytes(), curve.manifest
    sha256, swhid = hashlib.sha256(content).hexdigest(), archive.file_swhid(content)
    about = archive.description()
    source = f"commit {manifest['commit']}" if manifest["commit"] else "commit unknown"
    return "\n".join(
        [
            f"@misc{{aevb-reproduction-{curve.study}-{curve.name},",
            "  author = {{The AEVB reproduction developers}},",
            f"  title  = {{{{Auto-Encoding Variational Bayes, reproduced: curve {curve.name}}}}},",
            f"  year   = {{{about['publication_date'][:4]}}},",
            f"  note   = {{File {curve.path.relative_to(paths.root()).as_posix()}, "
            f"{curve.samples:,} training samples,",
            f"            in the archive {archive.archive_name(about)}, {swhid},",
            f"            SHA-256 {sha256},",
            f"            configuration SHA-256 {manifest['configuration_sha256']},",
            f"            made by version {manifest['versions']['aevb']}, {source}}},",
            "}",
        ]
    )
