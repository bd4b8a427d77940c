"""What every test shares: one thread, and honest skipping."""

import os
import shutil
from collections.abc import Generator, Iterator
from functools import cache
from pathlib import Path

import pytest
import torch

from aevb import data, paths
from aevb.results import provenance

# Tests may be skipped for want of these alone; anything else that CI skips is a failure.
CI_MAY_LACK = ("needs a CUDA device",)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "data(name): needs the files of that data set")
    torch.set_num_threads(1)


available = cache(data.available)  # which verifies every file


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker in item.iter_markers("data"):
        if marker.args[0] not in available():
            pytest.skip(f"needs the {marker.args[0]} data: run `make data`, or set AEVB_DATA")


@pytest.fixture
def double_precision() -> Iterator[None]:
    """Tensors in double precision, as long as a test runs."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project with the paper's curves and none of ours."""
    shutil.copytree(paths.paper(), tmp_path / "results" / "paper")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(data, "available", lambda: ["mnist", "freyface"])
    monkeypatch.setattr(provenance, "commit", lambda: None)  # saves three calls of git a job
    return tmp_path


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and os.environ.get("CI") and isinstance(report.longrepr, tuple):
        reason = report.longrepr[2].removeprefix("Skipped: ")
        if not reason.startswith(CI_MAY_LACK):
            report.outcome = "failed"
            report.longrepr = f"CI may not skip this test: {reason}"
    return report
