"""Atomic writes, and errors for unreadable files."""

import glob
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from aevb.errors import DamagedFileError


@contextmanager
def atomic(target: Path) -> Iterator[Path]:
    """A temporary path beside `target`: renamed to it on success, removed on failure.

    It is in the same folder because only a rename within a file system is atomic. Its name is
    unique, also among machines that share the folder.

    Raises:
        OSError: from the system; it names `target` where the system names no file.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # else a power cut can leave an empty file of that name
        temporary.replace(target)
    except OSError as error:
        if error.filename is None:
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def remove_unfinished(target: Path) -> None:
    """Remove temporary files that killed processes left; nobody may be writing `target` now."""
    for part in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        part.unlink(missing_ok=True)


@contextmanager
def reading(source: Path, remedy: str) -> Iterator[None]:
    """Turn what a reader of `source` raises into one error that says what to do.

    Raises:
        DamagedFileError: with `remedy`, for any exception but those below.
        OSError, MemoryError: as they are; they may not come again.
    """
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise DamagedFileError(f"{source} cannot be read ({what}): {remedy}") from error
