"""From this machine's results to the published ones."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from aevb import paths
from aevb.errors import ConfigurationError
from aevb.files import atomic
from aevb.results import curves, models

# Under what a curve that became one of another study can have been cited; a longer one keeps it.
FIRST = "first_published_as"


def publish(
    studies: Sequence[str], *, report: Callable[[str], object] = lambda _: None
) -> list[Path]:
    """Copy this machine's curves of studies to where published ones lie, with manifest and model.

    A curve that ends before the published one of its name is left where it is, and so is a model
    that is not of its curve's end. All is read before anything is copied.

    Args:
        studies: folders of curves.
        report: told of every curve and model that is left.

    Returns:
        The published curves that were written.

    Raises:
        FileNotFoundError: if this machine has no curve of a study, or one without its manifest.
        DamagedFileError: if a curve, a manifest or a model cannot be read, or a curve has another
            name, study or end than its manifest says.
        ConfigurationError: if a curve would take the place of a published one with other settings,
            of other data, or with columns that it lacks; if an older version made it.
    """
    ready: list[tuple[Path, dict[str, Any], dict[Path, Path]]] = []
    for study in studies:
        found = sorted(paths.curves(paths.local(), study).glob("*.csv"))
        if not found:
            raise FileNotFoundError(
                f"no curve of {study} in {paths.local()}; `make train` makes those of the figures, "
                f"`aevb run <name> --study {study}` others"
            )
        for source in found:
            target = paths.curve(paths.published(), study, source.stem)
            _, manifest = curves.read_both(source)
            if curves.FIRST_EDITION in manifest:
                raise ConfigurationError(
                    f"{source} was made by an older version, whose runs chose their step sizes: "
                    "delete it and its checkpoint, and train it again"
                )
            ends = manifest["samples"]
            if target.exists():
                published = curves.read_manifest(target)
                if ends < (goes_to := published["samples"]):
                    report(
                        f"{source.stem} is left: it ends at {ends:,} samples, not at {goes_to:,}"
                    )
                    continue
                _may_replace(source, manifest, target, published)
                if first := published.get(FIRST):
                    manifest[FIRST] = first
            copies = {source: target}
            model = paths.model(paths.local(), study, source.stem)
            if model.exists():
                made = models.manifest(model)
                if all(made.get(field) == manifest[field] for field in curves.FIELDS):
                    copies[model] = paths.model(paths.published(), study, source.stem)
                else:
                    report(
                        f"the model of {source.stem} is left: it is of another training than its "
                        f"curve, or does not stand where that ends, at {ends:,} samples; export it "
                        "again at a log point"
                    )
            ready.append((target, manifest, copies))
    for target, manifest, copies in ready:
        for own, public in copies.items():
            with atomic(public) as temporary:
                shutil.copyfile(own, temporary)
        curves.write_manifest(target, manifest)
    return [target for target, _, _ in ready]


def _may_replace(
    source: Path, ours: dict[str, Any], target: Path, published: dict[str, Any]
) -> None:
    """Refuse a curve with other settings, of other data or with fewer columns."""
    if ours["configuration"] != published["configuration"]:
        raise ConfigurationError(
            f"{target} has other settings than {source}: expected the configuration "
            f"{published['configuration_sha256']}, got {ours['configuration_sha256']}. Train it "
            "in another --study, or delete the published curve first"
        )
    if ours["data_sha256"] != published["data_sha256"]:
        raise ConfigurationError(
            f"{source} was made from other data than {target}: expected "
            f"{published['data_sha256']}, got {ours['data_sha256']}. Train it in another --study, "
            "or delete the published curve first"
        )
    if lost := curves.read(target).columns.difference(curves.read(source).columns).to_list():
        raise ConfigurationError(
            f"{source} lacks columns of {target}: {', '.join(lost)}. Delete its checkpoint and "
            "train it again, or delete the published curve first"
        )
