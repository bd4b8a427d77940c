"""From this machine's results to the published ones."""

import shutil
from pathlib import Path

from aevb import curves, models, paths


def publish(study: str) -> list[Path]:
    """Copy this machine's curves of a study to where published ones lie, with manifest and model.

    A curve that ends before the published one of its name is left where it is, and so is a model
    that was exported before its curve was continued.

    Returns:
        The published curves that were written.

    Raises:
        FileNotFoundError: if this machine has no curve of the study.
    """
    sources = sorted((paths.local() / "curves" / study).glob("*.csv"))
    if not sources:
        raise FileNotFoundError(
            f"no curve of {study} in {paths.local()}; `make train` makes those of the figures"
        )
    written = []
    for source in sources:
        target = paths.curve(paths.published(), study, source.stem)
        samples = curves.read_manifest(source)["samples"]
        if target.exists() and samples < curves.read_manifest(target)["samples"]:
            continue
        copies = {source: target, source.with_suffix(".json"): target.with_suffix(".json")}
        model = paths.model(paths.local(), study, source.stem)
        if model.exists() and models.manifest(model)["samples"] == samples:
            copies[model] = paths.model(paths.published(), study, source.stem)
        for own, public in copies.items():
            with curves.atomic(public) as temporary:
                shutil.copyfile(own, temporary)
        written.append(target)
    return written
