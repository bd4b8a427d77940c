"""The files of a data set, each with the SHA-256 that it must have, and where they are found."""

import gzip
import hashlib
import os
import zlib
from pathlib import Path
from typing import NamedTuple

from aevb import paths
from aevb.data.dataset import DataError


class File(NamedTuple):
    """A file as it must be, to the last bit."""

    name: str
    size: int  # bytes
    sha256: str
    unpacked_sha256: str = ""  # of what a .gz file holds


class WrongFileError(DataError):
    """A file that is there is not the data set's, or `AEVB_DATA` names no directory."""


def find(file: File) -> Path | None:
    """Return where the verified file is, or None if it is nowhere; a wrong one is an error."""
    own = paths.data() / file.name
    user = _user_paths(file)
    for path in [*user, own]:
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
            if path == own
            else "Put the right file there; or take it away (or unset AEVB_DATA), "
            "then run `aevb data` to download it."
        )
        raise WrongFileError(f"{path} is not the {file.name} of the data set: {problem}. {remedy}")
    return None


def _user_paths(file: File) -> list[Path]:
    """Return where the file may be in `AEVB_DATA`: at its top, or laid out as torchvision does.

    Expects `AEVB_DATA` to name a directory if it is set and not empty; DataError otherwise. A
    relative one is taken from the project's folder, since chapters run in another.
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
    """Say how `content` differs from what the file must hold; an empty string if it does not."""
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
    """What a file holds that may be compressed."""
    return gzip.decompress(content) if content.startswith(b"\x1f\x8b") else content


def _unpacked_sha256(content: bytes) -> str | None:
    """The SHA-256 of what a file holds; None where that cannot be unpacked."""
    try:
        return hashlib.sha256(unpacked(content)).hexdigest()
    except (OSError, EOFError, zlib.error):
        return None
