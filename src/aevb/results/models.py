"""Trained models in half precision, one safetensors file each.

The header holds the run's manifest, and a digest of manifest and numbers.
"""

import hashlib
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
    """The file of a model of Figure 2: the published one, else the local one, else None."""
    roots = [paths.published(), *([paths.local()] if local else [])]
    files = (paths.model(root, "figure2", name) for root in roots)
    return next((file for file in files if file.exists()), None)


def write(target: Path, parameters: Mapping[str, Tensor], manifest: Mapping[str, Any]) -> None:
    """Write the parameters of one run, by name."""
    halves = {name: value.half().contiguous() for name, value in parameters.items()}
    text = json.dumps(manifest)
    with atomic(target) as temporary:
        save_file(halves, temporary, metadata={"manifest": text, "sha256": _digest(halves, text)})
        temporary.chmod(0o644)  # safetensors makes it private


def manifest(source: Path) -> dict[str, Any]:
    """The manifest in a model's header.

    Raises:
        FileNotFoundError: if there is no model, with what makes it.
        DamagedFileError: if it cannot be read, with the same.
    """
    with _opened(source) as (_, found):
        return found


def read(source: Path) -> tuple[Model, dict[str, Any]]:
    """Read a model, in single precision, and its manifest.

    Raises:
        FileNotFoundError: if there is no model, with what makes it.
        DamagedFileError: if it cannot be read, with the same.
    """
    with _opened(source) as (parameters, made_by):
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
        wanted = dict(model.named_parameters())
        if wanted.keys() != parameters.keys():
            raise ValueError(f"expected {', '.join(wanted)}; got {', '.join(parameters)}")
        with torch.no_grad():
            for name, parameter in wanted.items():
                values = parameters[name].float()
                if values.ndim > parameter.ndim:
                    values = values.squeeze(0)  # of the first edition
                if values.shape != parameter.shape or not values.isfinite().all():
                    raise ValueError(f"{name}: expected finite numbers of {tuple(parameter.shape)}")
                parameter.copy_(values)
        return model, made_by


@contextmanager
def _opened(source: Path) -> Iterator[tuple[dict[str, Tensor], dict[str, Any]]]:
    """The tensors of a model file and its manifest, verified."""
    remedy = curves.remedy("export", source)
    if not source.exists():
        raise FileNotFoundError(f"no model at {source}: {remedy}")
    with reading(source, remedy):
        with safe_open(source, "pt") as file:
            text, digest = file.metadata()["manifest"], file.metadata().get("sha256")
            parameters = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if digest and digest != _digest(parameters, text):
            raise ValueError("it was changed since it was written")
        made_by = json.loads(text)
        if made_by.get("name", source.stem) != source.stem:
            raise ValueError(f"it is the model of {made_by['name']}")
        yield parameters, made_by


def _digest(parameters: Mapping[str, Tensor], manifest: str) -> str:
    """The SHA-256 of names, shapes, numbers and manifest."""
    digest = hashlib.sha256(manifest.encode())
    for name, values in sorted(parameters.items()):
        digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
        digest.update(values.numpy().tobytes())
    return digest.hexdigest()
