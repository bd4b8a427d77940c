"""Finding the files of a data set on this machine, and verifying them."""

import gzip
import hashlib
import os
import zlib
from pathlib import Path
from typing import NamedTuple

from aevb import paths
from aevb.data.dataset import DataError


class File(NamedTuple):
    """A file of a data set."""

    name: str
    size: int  # bytes
    sha256: str
    unpacked_sha256: str = ""  # of what a .gz file holds


class WrongFileError(DataError):
    """A file has the wrong content, or `AEVB_DATA` is not a directory."""


def find(file: File) -> Path | None:
    """The path of the verified file, or None if there is none.

    Raises:
        WrongFileError: if the file of that name has the wrong content.
    """
    downloaded = paths.data() / file.name
    for path in [*_user_paths(file), downloaded]:
        try:
            content = path.read_bytes()
        except (FileNotFoundError, NotADirectoryError) as error:
            if not path.is_symlink():
                continue
            problem = f"it is a broken link ({error.strerror})"
        except OSError as error:
            problem = f"it cannot be read ({error.strerror})"
        else:
            problem = difference(content, file)
        if not problem:
            return path
        remedy = (
            "Delete it, then run `aevb data` to download it again."
            if path == downloaded
            else "Put the right file there; or take it away (or unset AEVB_DATA), "
            "then run `aevb data` to download it."
        )
        raise WrongFileError(f"{path} is not the {file.name} of the data set: {problem}. {remedy}")
    return None


def _user_paths(file: File) -> list[Path]:
    """Where the file may be in `AEVB_DATA`: at the top, or where torchvision puts it.

    A relative path starts from the project's folder, since chapters run in another folder.

    Raises:
        WrongFileError: if `AEVB_DATA` is set and is not a directory.
    """
    named = os.environ.get("AEVB_DATA")
    if not named:
        return []
    user = paths.root() / Path(named).expanduser()
    if not user.is_dir():
        raise WrongFileError(
            f"AEVB_DATA names {user}, which is no directory. Set it to a directory that holds "
            "the data files, or unset it and run `aevb data` to download them."
        )
    names = [file.name, file.name.removesuffix(".gz")] if file.unpacked_sha256 else [file.name]
    return [folder / name for folder in (user, user / "MNIST" / "raw") for name in names]


def difference(content: bytes, file: File) -> str:
    """What is wrong with the content of a file, in words; empty if nothing is."""
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 == file.sha256:
        return ""
    if file.unpacked_sha256 and _unpacked_sha256(content) == file.unpacked_sha256:
        return ""
    return (
        f"expected {file.size} bytes with SHA-256 {file.sha256}, "
        f"got {len(content)} bytes with SHA-256 {sha256}"
    )


def unpacked(content: bytes) -> bytes:
    """The content of a file that may be compressed."""
    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content


def _unpacked_sha256(content: bytes) -> str | None:
    """The SHA-256 of the unpacked content; None if it cannot be unpacked."""
    try:
        return hashlib.sha256(unpacked(content)).hexdigest()
    except (OSError, EOFError, zlib.error):
        return None
