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
    """A temporary path beside `target`, renamed to it on success and removed on any failure.

    In the same folder, since only within a file system is a file renamed at once; of a name that
    no other process has, on whatever machine that shares the folder.

    Raises:
        OSError: of the system, with the path of `target` where the system names none.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # or a power cut can leave the new name on an empty file
        temporary.replace(target)
    except OSError as error:
        if error.filename is None:
            raise OSError(error.errno, error.strerror, str(target)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def remove_unfinished(target: Path) -> None:
    """Remove what killed processes left of `target`; no other process may be writing it."""
    for part in target.parent.glob(f".{glob.escape(target.name)}.*.part"):
        part.unlink(missing_ok=True)


@contextmanager
def reading(source: Path, remedy: str) -> Iterator[None]:
    """Around the reading of a file that is there.

    Raises:
        DamagedFileError: whatever a reader raises, each its own, with `remedy`; but for what the
            system raises, which can pass.
    """
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:
        what = f"{type(error).__name__}: {error}".splitlines()[0]
        raise DamagedFileError(f"{source} cannot be read ({what}): {remedy}") from error
