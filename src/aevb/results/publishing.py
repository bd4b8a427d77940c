"""Local results become published ones."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aevb import paths
from aevb.errors import ConfigurationError
from aevb.files import atomic
from aevb.results import curves, models
from aevb.results.curves import Curve

# The study and hash under which a curve was first published, and may have been cited.
FIRST = "first_published_as"


def publish(
    studies: Sequence[str], *, report: Callable[[str], object] = lambda _: None
) -> list[Path]:
    """Copy local curves of studies to the published ones, with manifest and model.

    Two things are left out: a curve that is shorter than the published one, and a model that does
    not belong to the end of its curve. Everything is read before anything is copied.

    Args:
        studies: folders of curves.
        report: called with a line for every curve and model that is left out.

    Returns:
        The published curves that were written.

    Raises:
        FileNotFoundError: if a study has no local curve, or a curve has no manifest.
        DamagedFileError: if a file cannot be read, or a manifest belongs to another curve.
        ConfigurationError: if the published curve has other settings, other data, or columns that
            the new one lacks; if the new one is of an older version of the library.
    """
    ready: list[tuple[Path, dict[str, Any], dict[Path, Path]]] = []
    for study in studies:
        local = curves.in_study(study, paths.local())
        if not local:
            raise FileNotFoundError(
                f"no curve of {study} in {paths.local()}; `make train` makes those of the figures, "
                f"`aevb run <name> --study {study}` others"
            )
        for curve in local:
            manifest = dict(curve.manifest)
            if curves.FIRST_EDITION in manifest:
                raise ConfigurationError(
                    f"{curve.path} was made by an older version, whose runs chose their step "
                    "sizes: delete it and its checkpoint, and train it again"
                )
            published = curves.find(study, curve.name)
            if published is not None:
                if curve.samples < published.samples:
                    report(
                        f"{curve.name} is left: it ends at {curve.samples:,} samples, not at "
                        f"{published.samples:,}"
                    )
                    continue
                _check_replaces(curve, published)
                if first := published.manifest.get(FIRST):
                    manifest[FIRST] = first
            target = paths.curve(paths.published(), study, curve.name)
            copies = {curve.path: target}
            model = paths.model(paths.local(), study, curve.name)
            if model.exists():
                made = models.manifest(model)
                if all(made.get(field) == manifest[field] for field in curves.FIELDS):
                    copies[model] = paths.model(paths.published(), study, curve.name)
                else:
                    report(
                        f"the model of {curve.name} is left: it belongs to another training than "
                        "its curve, or does not stand where that ends, at "
                        f"{curve.samples:,} samples; export it again at a log point"
                    )
            ready.append((target, manifest, copies))
    for target, manifest, copies in ready:
        for source, copy in copies.items():
            with atomic(copy) as temporary:
                shutil.copyfile(source, temporary)
        curves.write_manifest(target, manifest)
    return [target for target, _, _ in ready]


def _check_replaces(curve: Curve, published: Curve) -> None:
    """Refuse a curve with other settings, from other data or with fewer columns."""
    ours, theirs = curve.manifest, published.manifest
    if ours["configuration"] != theirs["configuration"]:
        raise ConfigurationError(
            f"{published.path} has other settings than {curve.path}: expected the configuration "
            f"{theirs['configuration_sha256']}, got {ours['configuration_sha256']}. Train it "
            "in another --study, or delete the published curve first"
        )
    if ours["data_sha256"] != theirs["data_sha256"]:
        raise ConfigurationError(
            f"{curve.path} was made from other data than {published.path}: expected "
            f"{theirs['data_sha256']}, got {ours['data_sha256']}. Train it in another --study, "
            "or delete the published curve first"
        )
    if lost := published.table.columns.difference(curve.table.columns).to_list():
        raise ConfigurationError(
            f"{curve.path} lacks columns of {published.path}: {', '.join(lost)}. Delete its "
            "checkpoint and train it again, or delete the published curve first"
        )
