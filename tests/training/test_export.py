"""The trained model of a run as a file."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from tiny import IMAGES, TINY, checkpoint, curve, manifest, table

from aevb import paths
from aevb.errors import ConfigurationError, DamagedFileError
from aevb.results import curves, models
from aevb.training import checkpoints
from aevb.training.export import export
from aevb.training.job import Job
from aevb.training.loop import Diverged, Stopped
from aevb.training.run import Run


def model(run: Run = TINY) -> Path:
    return paths.model(paths.local(), run.study, run.name)


def test_an_exported_model_is_the_trained_one_in_half_precision(project: Path) -> None:
    Job(TINY, IMAGES).train(1000)
    file = export(TINY)
    read, made_by = models.read(file)
    trained = checkpoints.read(checkpoint())["training"]["parameters"]
    assert dict(read.named_parameters()).keys() == trained.keys()
    for name, value in read.named_parameters():
        torch.testing.assert_close(value, trained[name], rtol=1e-3, atol=1e-6, msg=name)
    assert made_by == manifest()
    with safe_open(file, "pt") as content:
        assert {content.get_tensor(name).dtype for name in content.keys()} == {torch.float16}  # noqa: SIM118


def test_an_exported_model_of_a_stopped_run_says_where_it_stands(project: Path) -> None:
    Job(TINY, IMAGES).train(100)
    further = Job(TINY, IMAGES)
    with pytest.raises(Stopped):
        further.train(30_000, stop_requested=lambda: True)
    assert further.training.samples > manifest()["samples"]
    assert models.manifest(export(TINY))["samples"] == further.training.samples


def test_a_model_that_cannot_be_read_names_what_exports_it(project: Path) -> None:
    with pytest.raises(FileNotFoundError, match=f"aevb export {TINY.name} --study test"):
        models.read(model())
    Job(TINY, IMAGES).train(100)
    models.write(model(), {"a": torch.zeros(1)}, manifest())
    with pytest.raises(DamagedFileError, match=f"{model()} .*aevb export {TINY.name} --study test"):
        models.read(model())


def test_a_flipped_bit_of_a_model_is_noticed(project: Path) -> None:
    Job(TINY, IMAGES).train(100)
    content = bytearray(export(TINY).read_bytes())
    content[-2] ^= 1  # of the last number's fraction
    model().write_bytes(content)
    with pytest.raises(DamagedFileError, match=str(model())):
        models.read(model())


def test_what_has_not_been_trained_names_what_trains_it(project: Path) -> None:
    """To where its curve ends, if there is one: a shorter run would be refused."""
    trains = f"aevb run {TINY.name} --budget {{}} --study test .*--set n_hidden=8"
    with pytest.raises(FileNotFoundError, match=trains.format(100_000)):
        export(TINY)
    Job(TINY, IMAGES).train(100)
    checkpoint().unlink()
    rows: list[Any] = table().to_dict("records")
    curves.write(curve(), [*rows, {**rows[-1], "samples": 240_000}], manifest())
    with pytest.raises(FileNotFoundError, match=trains.format(240_000)):
        export(TINY)


def test_a_model_is_not_exported_under_the_manifest_of_a_lost_checkpoint(project: Path) -> None:
    Job(TINY, IMAGES).train(100)
    older = checkpoint().read_bytes()
    Job(TINY, IMAGES).train(1000)
    checkpoint().write_bytes(older)
    with pytest.raises(ConfigurationError, match=f"aevb run {TINY.name} --budget 1000 "):
        export(TINY)
    assert not model().exists()


def test_a_model_that_diverged_is_not_exported(project: Path) -> None:
    run = replace(TINY, study="diverging", step_size=1e30)
    with pytest.raises(Diverged):
        Job(run, IMAGES).train(500)
    with pytest.raises(ConfigurationError, match=rf"{run.name} .*diverging.*--set step_size"):
        export(run)
    assert not model(run).exists()
