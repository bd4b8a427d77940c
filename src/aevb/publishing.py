"""From this machine's results to the published ones."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from aevb import curves, models, paths
from aevb.experiments import ConfigurationError
from aevb.files import atomic

# Under what a curve that became one of another study can have been cited; a longer one keeps it.
FIRST = "first_published_as"


def publish(
    studies: Sequence[str], *, report: Callable[[str], object] = lambda _: None
) -> list[Path]:
    """Copy this machine's curves of studies to where published ones lie, with manifest and model.

    A curve that ends before the published one of its name is left where it is, and so is a model
    that was exported before its curve was continued. All is looked at before anything is copied.

    Args:
        studies: folders of curves.
        report: told of every curve that is left.

    Returns:
        The published curves that were written.

    Raises:
        FileNotFoundError: if this machine has no curve of a study.
        ConfigurationError: if a curve would take the place of a published one with other settings,
            or with columns that it lacks.
    """
    sources: dict[Path, Path] = {}
    for study in studies:
        found = sorted(paths.curves(paths.local(), study).glob("*.csv"))
        if not found:
            raise FileNotFoundError(
                f"no curve of {study} in {paths.local()}; `make train` makes those of the figures"
            )
        for source in found:
            target = paths.curve(paths.published(), study, source.stem)
            if _goes_as_far(source, target):
                sources[source] = target
            else:
                ends, goes_to = (curves.read_manifest(f)["samples"] for f in (source, target))
                report(f"{source.stem} is left: it ends at {ends:,} samples, not at {goes_to:,}")
    written = []
    for source, target in sources.items():
        study, manifest = target.parent.name, curves.read_manifest(source)
        if target.exists() and (first := curves.read_manifest(target).get(FIRST)):
            manifest[FIRST] = first
        copies = {source: target}
        model = paths.model(paths.local(), study, source.stem)
        if model.exists() and models.manifest(model)["samples"] == manifest["samples"]:
            copies[model] = paths.model(paths.published(), study, source.stem)
        for own, public in copies.items():
            with atomic(public) as temporary:
                shutil.copyfile(own, temporary)
        curves.write_manifest(target, manifest)
        written.append(target)
    return written


def _goes_as_far(source: Path, target: Path) -> bool:
    """Whether a curve can take the place of the published one, if there is one."""
    if not target.exists():
        return True
    ours, published = (curves.read_manifest(file) for file in (source, target))
    if ours["samples"] < published["samples"]:
        return False
    if ours["configuration"] != published["configuration"]:
        raise ConfigurationError(
            f"{target} has other settings than {source}: expected the configuration "
            f"{published['configuration_sha256']}, got {ours['configuration_sha256']}. Train it "
            "in another --study, or delete the published curve first"
        )
    if lost := curves.read(target).columns.difference(curves.read(source).columns).to_list():
        raise ConfigurationError(
            f"{source} lacks columns of {target}: {', '.join(lost)}. Delete its checkpoint and "
            "train it again, or delete the published curve first"
        )
    return True
