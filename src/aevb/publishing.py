"""From this machine's results to the published ones."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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
    that stands at other samples than its curve. All is read before anything is copied.

    Args:
        studies: folders of curves.
        report: told of every curve and model that is left.

    Returns:
        The published curves that were written.

    Raises:
        FileNotFoundError: if this machine has no curve of a study, or one without its manifest.
        DamagedFileError: if a curve, a manifest or a model cannot be read.
        ConfigurationError: if a curve has another name or study than its manifest says, or would
            take the place of a published one with other settings or with columns that it lacks.
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
            manifest = _checked(source, study)
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
                stands_at = models.manifest(model)["samples"]
                if stands_at == ends:
                    copies[model] = paths.model(paths.published(), study, source.stem)
                else:
                    report(
                        f"the model of {source.stem} is left: it stands at {stands_at:,} samples, "
                        f"its curve ends at {ends:,}; export it at a log point"
                    )
            ready.append((target, manifest, copies))
    for target, manifest, copies in ready:
        for own, public in copies.items():
            with atomic(public) as temporary:
                shutil.copyfile(own, temporary)
        curves.write_manifest(target, manifest)
    return [target for target, _, _ in ready]


def _checked(source: Path, study: str) -> dict[str, Any]:
    """The manifest of a curve, which says what the curve's file and its place say."""
    manifest, samples = curves.read_manifest(source), curves.read(source).samples.max()
    says = (manifest["configuration"]["study"], manifest["name"], manifest["samples"])
    if says != (study, source.stem, samples):
        raise ConfigurationError(
            f"{source} ends at {samples:,} samples, and by its manifest it is {says[1]} of study "
            f"{says[0]}, to {says[2]:,}: expected both as `aevb run` wrote them. Give the files "
            "back their names, or delete them and run again"
        )
    return manifest


def _may_replace(
    source: Path, ours: dict[str, Any], target: Path, published: dict[str, Any]
) -> None:
    """Refuse a curve with other settings, or fewer columns, than the published one."""
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
