"""Trained models small enough to ship: half precision, one safetensors file each.

The header holds the run's manifest, so a model says what made it as a curve does.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor

from aevb import paths
from aevb.files import atomic, reading
from aevb.model.networks import Architecture, Model
from aevb.results import curves


def stored(name: str, *, local: bool = True) -> Path | None:
    """The file of a model of Figure 2: the published one or, where there is none, the local one."""
    roots = [paths.published(), *([paths.local()] if local else [])]
    files = (paths.model(root, "figure2", name) for root in roots)
    return next((file for file in files if file.exists()), None)


def write(target: Path, parameters: Mapping[str, Tensor], manifest: Mapping[str, Any]) -> None:
    """Write the parameters of one run, by name."""
    halves = {name: value.half().contiguous() for name, value in parameters.items()}
    with atomic(target) as temporary:
        save_file(halves, temporary, metadata={"manifest": json.dumps(manifest)})
        temporary.chmod(0o644)  # safetensors makes it private


def manifest(source: Path) -> dict[str, Any]:
    """The manifest in a model's header.

    Raises:
        FileNotFoundError: naming the file and what gives it.
        DamagedFileError: the same, where it cannot be read.
    """
    with _opened(source) as (_, found):
        return found


def read(source: Path) -> tuple[Model, dict[str, Any]]:
    """Read a model, in single precision, and its manifest.

    Raises:
        FileNotFoundError: naming the file and what gives it.
        DamagedFileError: the same, where it cannot be read.
    """
    with _opened(source) as (file, made_by):
        parameters = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        settings = curves.configuration(made_by)
        architecture = Architecture(
            n_pixels=len(parameters["encoder.hidden.weight"]),
            n_hidden=settings["n_hidden"],
            nz=settings["nz"],
            likelihood=settings["likelihood"],
            log_variance_factor=settings["encoder_log_variance_factor"],
            hidden_layers=settings["hidden_layers"],
        )
        model = Model(architecture)
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                parameter.copy_(parameters[name].view_as(parameter))
        return model, made_by


@contextmanager
def _opened(source: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    """The tensors of a model's file, and its manifest."""
    remedy = curves.remedy("export", source)
    if not source.exists():
        raise FileNotFoundError(f"no model at {source}: {remedy}")
    with reading(source, remedy), safe_open(source, "pt") as file:
        yield file, json.loads(file.metadata()["manifest"])
