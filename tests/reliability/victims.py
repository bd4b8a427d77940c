"""Runs to be killed: each in a process of its own, forked from one that has loaded the library.

A fork costs a tenth of a second, where a new Python with PyTorch takes several.
"""

import multiprocessing
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import faults
import pytest
import tiny
import torch

from aevb import cli, paths
from aevb.data import Dataset
from aevb.results import curves
from aevb.training import checkpoints, evaluation, loop, names
from aevb.training.job import Job
from aevb.training.run import Run

_FREY = replace(tiny.IMAGES, name="freyface", validation=tiny.IMAGES.validation[:0])
_MCEM: dict[str, Any] = {"algorithm": "mcem", "measure": "marginal_loglik", "warmup": 1}

RUNS: dict[str, tuple[Run, Dataset]] = {
    "aevb": (tiny.TINY, tiny.IMAGES),
    "wake-sleep": (replace(tiny.TINY, algorithm="wake-sleep"), tiny.IMAGES),
    "mcem": (replace(tiny.TINY, **_MCEM, minibatch=80), tiny.IMAGES),
    "aevb on freyface": (replace(tiny.TINY, dataset="freyface", likelihood="gaussian"), _FREY),
    "wake-sleep on freyface": (
        replace(tiny.TINY, dataset="freyface", likelihood="gaussian", algorithm="wake-sleep"),
        _FREY,
    ),
}
"""Every algorithm on images like MNIST's, and those with an encoder on images like Frey Face's."""


def budget(run: Run) -> int:
    """Samples of the whole run: a dozen log points or more, most of them after the warm-up."""
    return 40 * run.samples_per_update


@contextmanager
def often() -> Iterator[None]:
    """A report and a checkpoint after every few updates; Monte Carlo EM evaluated at low cost."""
    before = (
        loop.SAMPLES_BETWEEN_REPORTS,
        evaluation.FIRST_MARGINAL_LOGLIK,
        dict(evaluation.MEASURES),
    )
    loop.SAMPLES_BETWEEN_REPORTS, evaluation.FIRST_MARGINAL_LOGLIK = 100, 0
    evaluation.MEASURES["marginal_loglik"] = evaluation.lower_bounds
    try:
        yield
    finally:
        loop.SAMPLES_BETWEEN_REPORTS, evaluation.FIRST_MARGINAL_LOGLIK = before[:2]
        evaluation.MEASURES.update(before[2])


def train(name: str, seconds_between_checkpoints: float = 60.0) -> bytes:
    """Train a run in the current folder; the content of its curve's file."""
    run, images = RUNS[name]
    with often():
        Job(run, images).train(budget(run), seconds_between_checkpoints=seconds_between_checkpoints)
    return tiny.curve(run).read_bytes()


def _trained(folder: Path, name: str, fault: int | None) -> None:
    """In a process of its own: killed at the file operation `fault`, if that is given."""
    _settle(folder)
    if fault is None:
        train(name, 0)
    else:
        with faults.at(fault, lambda *_: os.kill(os.getpid(), signal.SIGKILL)):
            train(name, 0)


def _commanded(folder: Path, arguments: list[str], user: int | None) -> None:
    """The command in a process of its own, on the tiny images."""
    _settle(folder)
    if user is not None and os.geteuid() == 0:
        os.seteuid(user)  # to whom a read-only folder is one
    cli._dataset = lambda *_: tiny.IMAGES  # type: ignore[assignment]
    sys.argv = arguments
    with often():
        cli.main()


def _settle(folder: Path) -> None:
    os.chdir(folder)
    output = os.open(folder.parent / f"{folder.name}.output", os.O_WRONLY | os.O_CREAT, 0o666)
    for stream in (1, 2):
        os.dup2(output, stream)
    torch.set_num_threads(1)


def output(folder: Path) -> str:
    """What the last process in this folder printed."""
    return folder.with_name(f"{folder.name}.output").read_text()


def _start(target: Any, *arguments: Any) -> BaseProcess:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["victims"])
    process = context.Process(target=target, args=arguments, daemon=True)
    with pytest.MonkeyPatch.context() as patch:
        # Python 3.11 has the server load modules before it tells it where they are.
        patch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        process.start()
    return process


def start(folder: Path, name: str, fault: int | None = None) -> BaseProcess:
    """A run in a process of its own."""
    return _start(_trained, folder, name, fault)


def command(folder: Path, samples: int, user: int | None = None) -> BaseProcess:
    """`aevb run` in a process of its own, as another user if one is given."""
    return _start(_commanded, folder, names.command(tiny.TINY, samples).split(), user)


def project(folder: Path) -> Path:
    """An empty project, in whose results a victim writes."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "results" / "paper").mkdir(parents=True)
    return folder


def problems(name: str, whole: bytes, *, finished: bool) -> list[str]:
    """What is wrong in the current folder, where a run was killed or has finished; in words."""
    run, _ = RUNS[name]
    found = []
    curve, checkpoint = tiny.curve(run), tiny.checkpoint(run)
    if curve.exists() and not whole.startswith(curve.read_bytes()):
        found.append("the curve is no beginning of the uninterrupted one")
    if checkpoint.exists():
        rows = checkpoints.read(checkpoint)["training"]["rows"]
        if rows and not whole.startswith(curves.as_text(rows).encode()):
            found.append("the rows in the checkpoint are not those of the uninterrupted run")
    elif curve.exists():
        found.append("there is a curve, and no checkpoint to go on from")
    if finished:
        if curve.read_bytes() != whole:
            found.append("the curve is not the uninterrupted one")
        if curves.read(curve).manifest["samples"] != curves.read(curve).samples:
            found.append("the manifest is of another length than the curve")
        found += [f"{part.name} is left" for part in paths.local().rglob("*.part")]
    return found
