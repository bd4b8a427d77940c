"""The checkpoint of a run on this machine, and its local curve."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from aevb import files, paths
from aevb.data import Dataset
from aevb.errors import ConfigurationError, DamagedFileError
from aevb.files import atomic, remove_unfinished
from aevb.results import curves, provenance
from aevb.training.loop import Row
from aevb.training.run import Run


@contextmanager
def locked(run: Run) -> Iterator[None]:
    """Hold the run's lock, so that no two processes train it.

    Raises:
        ConfigurationError: if another process holds it.
    """
    lock = paths.checkpoint(run.study, run.name).with_suffix(".lock")
    lock.parent.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(lock, timeout=0):
            _sweep(run)
            yield
    except Timeout:
        raise ConfigurationError(
            f"{run.name} in study {run.study} is being trained by another process, which holds "
            f"{lock}: wait for that, or stop it"
        ) from None


def _sweep(run: Run) -> None:
    """Remove the half-written files of a killed process."""
    csv = paths.curve(paths.local(), run.study, run.name)
    for target in (paths.checkpoint(run.study, run.name), csv, csv.with_suffix(".json")):
        remove_unfinished(target)


REMEDY = "delete it; the run then begins again"


def reading(run: Run) -> AbstractContextManager[None]:
    """Turn errors in the use of a checkpoint's content into DamagedFileError."""
    return files.reading(paths.checkpoint(run.study, run.name), REMEDY)


# The fields of a checkpoint; `Training.load` checks the first.
FIELDS = {
    "training": dict,
    "seconds": float,
    "makers": list,
    "data_sha256": dict,
    "configuration_sha256": str,
}

# The version; it rises when older checkpoints can no longer be read.
FORMAT = 3


def save(run: Run, content: dict[str, Any]) -> None:
    """Write a run's checkpoint."""
    digest = provenance.digest(run.configuration)
    write(
        paths.checkpoint(run.study, run.name),
        {**content, "format": FORMAT, "configuration_sha256": digest},
    )


def write(target: Path, content: dict[str, Any]) -> None:
    """Write PyTorch's file of `content` behind its SHA-256."""
    buffer = BytesIO()
    torch.save(content, buffer)
    saved = buffer.getvalue()
    with atomic(target) as temporary:
        temporary.write_bytes(sha256(saved).digest() + saved)


def read(source: Path) -> dict[str, Any]:
    """The content of a checkpoint.

    Raises:
        DamagedFileError: if the file has changed, or another version of the library wrote it.
    """
    with files.reading(source, REMEDY):
        digest, saved = (whole := source.read_bytes())[:32], whole[32:]
        if sha256(saved).digest() != digest:
            raise ValueError("it is damaged, or another version of aevb made it")
        content: dict[str, Any] = torch.load(BytesIO(saved), weights_only=True)
        if content.get("format") != FORMAT:
            raise ValueError("another version of aevb made it")
        if wrong := [k for k, kind in FIELDS.items() if not isinstance(content.get(k), kind)]:
            raise ValueError(f"no {', '.join(wrong)}")
        return content


def load(run: Run, device: torch.device | None = None) -> dict[str, Any] | None:
    """The checkpoint of a run, to be continued on `device`; None if there is none.

    Raises:
        ConfigurationError: if it is of other settings, or of another kind of device.
        DamagedFileError: if it cannot be read.
    """
    source = paths.checkpoint(run.study, run.name)
    if not source.exists():
        return None
    content = read(source)
    with reading(run):
        made_with = content["configuration_sha256"]
        made_on = content["makers"][-1]["hardware"]["device"]
    if made_with != provenance.digest(run.configuration):
        made = ""
        if (file := curve_file(run)) is not None:
            manifest = curves.read_manifest(file)
            asked = curves.other_settings(run.configuration, manifest["configuration"])
            made = f" by `{manifest.get('command')}`; here {asked}"
        raise ConfigurationError(
            f"{source} was made with other settings than those of {run.name} in study "
            f"{run.study}{made}. Repeat its --set options, use another --study, or delete that "
            "file and the curve to start again"
        )
    if device is not None and device.type != made_on:
        raise ConfigurationError(
            f"{source} was made on {made_on}, and {device.type} has no such random numbers: "
            f"continue with --device {made_on}, or delete that file to start again"
        )
    return content


def curve_length(run: Run, checkpoint: dict[str, Any] | None, end: int, dataset: Dataset) -> int:
    """Length of the local curve in samples; 0 if there is none.

    A shorter run must not overwrite the curve. So a curve without a checkpoint stays until the run
    has reached its length again. The training will end at `end` samples.

    Raises:
        ConfigurationError: if the run was trained on other data; if the curve has no checkpoint,
            and goes beyond `end` or is of other settings.
        DamagedFileError: if a curve without a checkpoint, or its manifest, cannot be read.
    """
    file, samples, manifest = paths.curve(paths.local(), run.study, run.name), 0, dict[str, Any]()
    with nullcontext() if checkpoint is None else suppress(DamagedFileError):
        if file.exists():
            samples = curves.read(file).samples
            if file.with_suffix(".json").exists():
                manifest = curves.read_manifest(file)
                samples = max(samples, manifest["samples"])
    seen = (manifest | (checkpoint or {})).get("data_sha256", dataset.checksums)
    if seen != dataset.checksums:
        raise ConfigurationError(
            f"{run.name} in study {run.study} was trained on other data: expected "
            f"{dataset.name} of {dataset.checksums}, got {seen}. Use another --study, or "
            f"delete {file} and its checkpoint to start again"
        )
    if checkpoint is not None:
        return samples
    if samples > end:
        raise ConfigurationError(
            f"{file} goes to {samples:,} samples, and its checkpoint is gone: a run to "
            f"{end:,} would write over it. Expected a budget of {samples} or more; or "
            "delete that file first"
        )
    made_with = manifest.get("configuration", run.configuration)
    if other := curves.other_settings(run.configuration, made_with):
        raise ConfigurationError(
            f"{file} was made with other settings, and its checkpoint is gone: this run would "
            f"write over it, and here {other}. Expected the same --set options, or another "
            "--study; or delete that file first"
        )
    return samples


def curve_file(run: Run) -> Path | None:
    """The run's local curve, if both it and its manifest exist."""
    file = paths.curve(paths.local(), run.study, run.name)
    return file if file.exists() and file.with_suffix(".json").exists() else None


def is_written(run: Run, rows: Sequence[Row]) -> bool:
    """Whether the curve and its manifest hold `rows`; a checkpoint is written before them."""
    if not rows:
        return True
    if (file := curve_file(run)) is None:
        return False
    try:
        manifest = curves.read_manifest(file)
    except DamagedFileError:
        return False
    is_whole = file.read_bytes() == curves.as_text(rows).encode()
    return is_whole and bool(manifest["samples"] == rows[-1]["samples"])
