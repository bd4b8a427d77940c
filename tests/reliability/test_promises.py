"""What a run promises beside its numbers: seeds, files, safety. Each was once broken unnoticed."""

import os
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import IMAGES, TINY, checkpoint, curve

from aevb.errors import DamagedFileError
from aevb.files import atomic
from aevb.results import curves
from aevb.training import checkpoints, evaluation, job
from aevb.training.job import Job
from aevb.training.loop import Training


@pytest.mark.parametrize(
    "drawn",
    [
        lambda training: training.learner.model.decoder.hidden.weight.detach(),
        lambda training: training._next_minibatch(),
        lambda training: torch.rand(9, generator=training.learner.noise),
    ],
    ids=["initialisation", "minibatches", "noise"],
)
def test_every_stream_of_random_numbers_is_of_the_seed(drawn: Callable[[Training], Any]) -> None:
    seeds = (3, 3, 4)
    a, again, other = (drawn(job.start(replace(TINY, seed=seed), IMAGES)) for seed in seeds)
    assert torch.equal(a, again)
    assert not torch.equal(a, other)


@pytest.mark.parametrize(("samples", "evaluated"), [(99_999, False), (100_000, True)])
def test_likelihoods_are_evaluated_from_100_000_samples_on(
    monkeypatch: pytest.MonkeyPatch, samples: int, evaluated: bool
) -> None:
    monkeypatch.setitem(evaluation.MEASURES, "marginal_loglik", lambda *_: {"test": torch.zeros(2)})
    run = replace(TINY, measure="marginal_loglik")
    moving = SimpleNamespace(ascents={"model": SimpleNamespace(moving=True)}, model=None)
    now: Any = SimpleNamespace(rows=[{}], samples=samples, learner=moving, points=torch.zeros(1))
    assert (evaluation.evaluate(now, run, IMAGES) is not None) == evaluated


class Thing:
    """Anything but numbers and texts."""


def test_nothing_in_a_checkpoint_is_unpickled_but_numbers_and_texts(project: Path) -> None:
    Job(TINY, IMAGES).train(100)
    buffer = BytesIO()
    torch.save({"format": checkpoints.FORMAT, "training": Thing()}, buffer)
    saved = buffer.getvalue()
    checkpoint().write_bytes(sha256(saved).digest() + saved)
    with pytest.raises(DamagedFileError, match=r"Weights only load failed.* delete it") as error:
        Job(TINY, IMAGES).train(200)
    assert "weights_only" not in str(error.value)  # PyTorch's advice is to switch safety off


def test_a_checkpoint_is_written_before_its_curve(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a kill between them leaves rows that the run, resumed, would make again."""
    monkeypatch.setattr(curves, "write", lambda *_: pytest.exit("killed"))
    with pytest.raises(pytest.exit.Exception):
        Job(TINY, IMAGES).train(100)
    assert checkpoint().exists()
    assert not curve().exists()


def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []

    def noted(name: str, do: Callable[..., None]) -> Callable[..., None]:
        def noting(*arguments: Any) -> None:
            done.append(name)
            do(*arguments)

        return noting

    for name in ("fsync", "replace"):
        monkeypatch.setattr(os, name, noted(name, getattr(os, name)))
    with atomic(tmp_path / "file") as temporary:
        temporary.write_text("content")
    assert done == ["fsync", "replace"]
    assert (tmp_path / "file").read_text() == "content"


def test_training_takes_denormal_numbers_for_zeros() -> None:
    torch.set_flush_denormal(False)
    assert torch.full((8,), 1e-38).mul(1e-3).any()
    job.start(TINY, IMAGES).advance(1)
    assert not torch.full((8,), 1e-38).mul(1e-3).any()
