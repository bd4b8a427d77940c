"""Files and configurations that are wrong in any way: one clear error, or a right answer.

`make torture` tries a thousand and more.
"""

import os
from collections.abc import Iterator
from pathlib import Path

import badinput
import pytest

from aevb.results import provenance


@pytest.fixture(scope="module", autouse=True)
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    here = Path.cwd()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(provenance, "commit", lambda: None)  # saves three calls of git a job
        badinput.prepare(tmp_path_factory.mktemp("project"))
        yield
    os.chdir(here)


@pytest.mark.parametrize("kind", badinput.KINDS)
def test_wrong_input_is_told_or_does_no_harm(kind: str) -> None:
    badinput.cases(kind, 30)
    assert badinput.OUTCOMES[kind, "refused"] > 5
