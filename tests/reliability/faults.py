"""Faults between any two file operations: the k-th one is told, and may raise or kill."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

WRITES = ("write_bytes", "write_text")
OTHERS = ("fsync", "replace", "unlink")


@contextmanager
def at(k: int, act: Callable[[str, Any], None]) -> Iterator[list[str]]:
    """Call `act` with the name and the file of the k-th operation, before it is done.

    A write is told when half of it is done. Yields the names of the operations so far.
    """
    told: list[str] = []

    def tell(name: str, file: Any) -> None:
        told.append(name)
        if len(told) == k:
            act(name, file)

    def writing(name: str, write: Callable[..., int]) -> Callable[..., int]:
        def half(path: Path, content: Any, *rest: Any, **options: Any) -> int:
            write(path, content[: len(content) // 2], *rest, **options)
            tell(name, path)
            return write(path, content, *rest, **options)

        return half

    def doing(name: str, do: Callable[..., Any]) -> Callable[..., Any]:
        def told_first(file: Any, *rest: Any, **options: Any) -> Any:
            tell(name, file)
            return do(file, *rest, **options)

        return told_first

    with pytest.MonkeyPatch.context() as patch:
        for name in WRITES:
            patch.setattr(Path, name, writing(name, getattr(Path, name)))
        for name in OTHERS:
            patch.setattr(os, name, doing(name, getattr(os, name)))
        yield told


def disk_full(name: str, file: Any) -> None:
    """What the system raises of a write on a full disk: without a path, where it has none."""
    if name != "unlink":  # for that there is always room
        named = (str(file),) if name == "replace" else ()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), *named)
