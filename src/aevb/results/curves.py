"""Curve files, ours and the paper's: columns, reading, writing.

A curve is a tidy CSV, one row per log point, and a JSON manifest of the same name. Values are in
nats per datapoint, higher is better. results/README.md explains each column.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pandas as pd

from aevb import paths
from aevb.errors import DamagedFileError
from aevb.files import atomic, reading
from aevb.results import provenance
from aevb.results.lines import Line, Numbers

# Our column for each split of a figure as it is drawn, and the paper's column of values.
COLUMNS = {
    "figure2": {"train": "train_running", "test": "test"},
    "figure3": {"train": "train", "test": "test"},
}
PAPER_COLUMN = {"figure2": "lower_bound", "figure3": "marginal_loglik"}

# What to do if published results are missing: the package does not hold them.
CHECKOUT = "run this in a checkout of the project, which has them under results/"

# Fields that every manifest of a curve has; results/README.md explains all fields.
FIELDS: dict[str, Any] = {
    "name": str,
    "samples": (int, float),
    "configuration": dict,
    "configuration_sha256": str,
    "data_sha256": dict,
}


@dataclass(frozen=True, eq=False)
class Curve:
    """A curve file. Its manifest is read when it is first asked for.

    Attributes:
        path: the CSV file.
        table: one row per log point, in the order of `samples`.
    """

    path: Path
    table: pd.DataFrame

    @property
    def name(self) -> str:
        """Name of the run."""
        return self.path.stem

    @property
    def study(self) -> str:
        """Folder of the curve."""
        return self.path.parent.name

    @property
    def seed(self) -> int:
        """Seed of the run, from its name."""
        return int(self.name.rpartition("-seed")[2].partition("-step")[0])

    @property
    def samples(self) -> int:
        """Samples at the last log point."""
        return int(self.table.samples.iloc[-1])

    @property
    def source(self) -> str:
        """Whether the curve is local or published."""
        return "local" if self.path.is_relative_to(paths.local()) else "published"

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """What made the curve.

        Raises:
            FileNotFoundError: if there is none, with the command that makes it.
            DamagedFileError: if it cannot be read, or is of another curve or another length.
        """
        manifest = read_manifest(self.path)
        told = (manifest["configuration"].get("study"), manifest["name"], manifest["samples"])
        if told != (self.study, self.name, self.samples):
            raise DamagedFileError(
                f"{self.path} ends at {self.samples:,} samples, and by its manifest it is "
                f"{told[1]} of study {told[0]}, to {told[2]:,}: expected both as `aevb run` wrote "
                "them. Give the files back their names, or delete them; " + remedy("run", self.path)
            )
        return manifest

    @property
    def configuration(self) -> dict[str, Any]:
        """Every setting of the run."""
        settings: dict[str, Any] = self.manifest["configuration"]
        return settings

    @property
    def step_size(self) -> float:
        """Step size of the run."""
        return float(self.configuration["step_size"])

    def line(self, column: str) -> Line:
        """A column of the table."""
        return Line(self.table.samples.to_numpy(float), self.table[column].to_numpy(float))

    def value_at(self, samples: float, column: str) -> float:
        """A column at `samples`, linear in log10(samples); NaN outside the curve."""
        return self.line(column).value_at(samples)

    def mean_running(self, start: Numbers, end: Numbers) -> Any:
        """The mean of `train_running` from `start` to `end` samples; NaN beyond the curve."""
        return self.line("train_running").mean(start, end)

    def running_train(self, window: float) -> Line:
        """The train curve averaged over the last `window` samples, see `Line.averaged`."""
        return self.line("train_running").averaged(window)


def read(source: Path) -> Curve:
    """Read a curve.

    Raises:
        FileNotFoundError: if there is none, with the command that makes it.
        DamagedFileError: if it cannot be read, with the same.
    """
    if not source.exists():
        raise FileNotFoundError(f"no curve at {source}: {remedy('run', source)}")
    to_do = f"delete it; {remedy('run', source)}"
    content = verified(source, to_do)
    with reading(source, to_do):
        table = pd.read_csv(BytesIO(content))
        if "samples" not in table or table.empty or len(table.columns) < 2:
            raise ValueError("expected a column samples, one of values, and a row")
        if words := table.columns.difference(table.select_dtypes("number").columns).to_list():
            raise ValueError(f"not only numbers in {', '.join(words)}")
        rise = table.samples.is_monotonic_increasing and table.samples.is_unique
        if not (rise and table.samples.iloc[0] > 0 and table.samples.iloc[-1] < math.inf):
            raise ValueError("samples do not rise from row to row, from above zero")
        return Curve(source, table)


def verified(source: Path, to_do: str) -> bytes:
    """The content of a table, verified by the SHA-256 in its manifest, if there is one.

    Raises:
        DamagedFileError: if the content is wrong or the manifest cannot be read; with `to_do`.
    """
    file, digest = source.with_suffix(".json"), None
    if file.exists():
        with reading(file, to_do):
            digest = json.loads(file.read_text()).get("curve_sha256")
    with reading(source, to_do):
        content = source.read_bytes()
        if digest and digest != sha256(content).hexdigest():
            raise ValueError("it is not the file that its manifest describes")
        return content


def find(study: str, name: str, results: Path | None = None) -> Curve | None:
    """The curve of a run below `results`, by default the published one; None if there is none."""
    file = paths.curve(results or paths.published(), study, name)
    return read(file) if file.exists() else None


def published(study: str, name: str) -> Curve:
    """The published curve of a run.

    Raises:
        FileNotFoundError: if there is none.
    """
    return read(paths.curve(paths.published(), study, name))


def seeds(study: str, name: str, results: Path | None = None) -> list[Curve]:
    """The curves of a run with every seed, in order of seed; `name` may have any seed."""
    stem = name.rpartition("-seed")[0] + "-seed"
    files = paths.curves(results or paths.published(), study).glob(f"{stem}*.csv")
    found = [read(file) for file in files if file.stem.removeprefix(stem).isdecimal()]
    return sorted(found, key=lambda curve: curve.seed)


def in_study(study: str, results: Path | None = None) -> list[Curve]:
    """All curves of a study; `*` stands for any study."""
    folder = paths.curves(results or paths.published(), study)
    return [read(file) for file in sorted(folder.parent.glob(f"{study}/*.csv"))]


def read_manifest(source: Path) -> dict[str, Any]:
    """Read the manifest beside the curve file `source`.

    Raises:
        FileNotFoundError: if there is none, with the command that makes the curve.
        DamagedFileError: if it cannot be read, with the same.
    """
    file = source.with_suffix(".json")
    if not file.exists():
        raise FileNotFoundError(f"no manifest at {file}: {remedy('run', source)}")
    with reading(file, f"delete it; {remedy('run', source)}"):
        manifest: dict[str, Any] = json.loads(file.read_text())
        if (told := manifest.pop("manifest_sha256", None)) and told != provenance.digest(manifest):
            raise ValueError("it was changed since it was written")
        if wrong := [k for k, kind in FIELDS.items() if not isinstance(manifest.get(k), kind)]:
            raise ValueError(f"no {', '.join(sorted(wrong))}")
        return manifest | {"configuration": configuration(manifest)}


def as_text(rows: Sequence[dict[str, float]]) -> str:
    """The content of a curve file."""
    text: str = pd.DataFrame(rows).to_csv(index=False, float_format="%.7g", lineterminator="\n")
    return text


def write(target: Path, rows: Sequence[dict[str, float]], manifest: dict[str, Any]) -> None:
    """Write a curve and its manifest, each atomically."""
    with atomic(target) as temporary:
        temporary.write_text(as_text(rows))
    write_manifest(target, manifest)


def write_manifest(target: Path, manifest: dict[str, Any]) -> None:
    """Write the manifest beside the curve file `target`, with the SHA-256 of both."""
    manifest = {**manifest, "curve_sha256": sha256(target.read_bytes()).hexdigest()}
    manifest = {**manifest, "manifest_sha256": provenance.digest(manifest)}
    with atomic(target.with_suffix(".json")) as temporary:
        temporary.write_text(json.dumps(manifest, indent=2) + "\n")


def remedy(verb: str, source: Path) -> str:
    """What to do if `source` is missing. `aevb <verb>` makes a file that is not published."""
    if not source.is_relative_to(paths.local()):
        return f"{CHECKOUT}; there `git checkout` restores them"
    command = f"aevb {verb} {source.stem} --study {source.parent.name}"
    return f"`{command}`, with the settings of that study, makes it"


def other_settings(ours: Mapping[str, Any], theirs: Mapping[str, Any]) -> str:
    """How two configurations differ, in words; empty if they do not."""
    pairs = {key: (ours.get(key), theirs.get(key)) for key in {**ours, **theirs}}
    return ", ".join(f"{key} is {a}, not {b}" for key, (a, b) in pairs.items() if a != b)


def paper_figure(name: str) -> pd.DataFrame:
    """The numbers of `figure2` or `figure3` of the paper; results/paper/README.md has the columns.

    Raises:
        FileNotFoundError: outside a checkout of the project.
        DamagedFileError: if the file is not the one in SHA256SUMS.
    """
    source = paths.paper() / f"{name}.csv"
    if not source.exists():
        raise FileNotFoundError(f"no curves of the paper at {source}: {CHECKOUT}")
    return _read_constant(source).copy()


@cache
def _read_constant(source: Path) -> pd.DataFrame:
    """Read a file that never changes, once."""
    content = source.read_bytes()
    line = f"{sha256(content).hexdigest()}  {source.name}"
    sums = source.with_name("SHA256SUMS")
    if not sums.exists() or line not in sums.read_text("utf-8", "replace").splitlines():
        raise DamagedFileError(f"{source} is not the file that {sums} names: {CHECKOUT}")
    return pd.read_csv(BytesIO(content))


# ------------------------------------ the first edition; delete this with the last of its curves

# A field of first-edition manifests alone: each run chose its own step size.
FIRST_EDITION = "step_size_selection"


def configuration(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration in a manifest, in today's settings."""
    if FIRST_EDITION not in manifest:
        return dict(manifest["configuration"])
    later = {"hidden_layers": 1, "pixels": "grey", "sleep_first": False, "clip_dreams": False}
    then = {**later, **manifest["configuration"]}
    gone = ("step_sizes", "selection_window")
    step_size = manifest[FIRST_EDITION]["step_size"]
    return {k: v for k, v in then.items() if k not in gone} | {"step_size": step_size, "split": 0}
