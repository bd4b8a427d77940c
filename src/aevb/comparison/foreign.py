"""Curves of other code: their CSV files read as nats per datapoint against samples.

The name of a column says what it is. Options say the rest, and one error asks for all that is still
open. `Foreign.reading` tells how the file was understood.
"""

import csv
import io
import math
import re
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from aevb.comparison import signatures
from aevb.comparison.judge import Reference, names, reference
from aevb.errors import ConfigurationError, DamagedFileError

Array = npt.NDArray[np.float64]

# Names of columns, in lower case; in exports of Weights & Biases, the part after " - ".
X = {
    "samples": r"(.*[/_ ])?samples?([_ ]seen)?|examples|datapoints|images",
    "steps": r"(.*[/_ ])?(steps?|iterations?|iters?|updates?|batch(es)?)",
    "epochs": r"(.*[/_ ])?epochs?",
}
IGNORED = r".*(__min|__max|_se|_std)|.*time(stamp)?|_runtime|lr.*|.*learning.?rate|seed"
KL = r"kl|(^|[^a-z])rate$"
RECONSTRUCTION = r"(^|[^a-z])rec|recon|nll|bce|distortion|log_?p_?x|cross"
LOSS = r"loss|nll|nelbo|(^|[^a-z])neg|cost|bce|cross"
BOUND = r"elbo|bound|likelihood|loglik|log_?p"
SPLITS = {"train": r"train", "validation": r"(?<![a-z])(val(?!ue)|dev)", "test": r"test"}
BITS = r"bits|bpd"
PER_PIXEL = r"bpd|per.?dim|per.?pixel"

# What to ask for the size of a step or an epoch.
SIZES = {"steps": "--minibatch, datapoints a step", "epochs": "--n-train, datapoints an epoch"}


@dataclass(frozen=True)
class Options:
    """What a file's columns do not say.

    Attributes:
        like, split: what the curve is held against.
        column: the column of values.
        x: what the horizontal axis counts: samples, steps or epochs.
        minibatch, n_train: datapoints for each step, and for each epoch.
        epochs_from: what the file calls the first epoch of training, 0 or 1.
        quantity: bound (higher is better) or loss.
        unit: nats or bits.
        per: datapoint (a sum over pixels), pixel (their mean) or minibatch (a sum over it).
    """

    like: str | None = None
    split: str | None = None
    column: str | None = None
    x: str | None = None
    minibatch: int | None = None
    n_train: int | None = None
    epochs_from: int | None = None
    quantity: str | None = None
    unit: str | None = None
    per: str | None = None


@dataclass(frozen=True)
class Foreign:
    """A curve as `judge` takes it.

    Attributes:
        ours: what it is held against.
        samples: `(points,)`, datapoints.
        bound: `(points,)`, nats per datapoint, higher is better.
        reconstruction: `(points,)`, E[log p(x|z)] in nats; None where there is no such column.
        kl: `(points,)`, in nats; None where there is no such column.
        reading: how the file was understood, one line.
    """

    ours: Reference
    samples: Array
    bound: Array
    reconstruction: Array | None
    kl: Array | None
    reading: str


def read(name: str, options: Options, content: BinaryIO | None = None) -> Foreign:
    """Read a curve from a CSV file.

    Args:
        name: the file; with `content`, only what it is called.
        options: what its columns do not say.
        content: the file's bytes, such as standard input's.

    Raises:
        ConfigurationError: if something is still open; names the options that say it.
        DamagedFileError: if the file cannot be read; names the line and what to do.
        OSError: if there is no such file.
    """
    with (
        Path(name).open("rb") if content is None else content as file,
        _text(name, file) as text,
    ):
        return _understood(_Table(name, text), options)


def _text(name: str, content: BinaryIO) -> io.TextIOWrapper:
    """Bytes as text: UTF-8, UTF-16 with its mark, or Latin-1, whose numbers are the same."""
    buffered = content if isinstance(content, io.BufferedReader) else io.BufferedReader(content)  # type: ignore[type-var]
    head = buffered.peek()
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return io.TextIOWrapper(buffered, "utf-16")
    if b"\0" in head or head[:2] == b"\x1f\x8b":
        raise DamagedFileError(f"{name} is not text: export it as CSV, in UTF-8")
    try:
        head[: head.rfind(b"\n") + 1].decode()
    except UnicodeDecodeError:
        return io.TextIOWrapper(buffered, "latin-1")
    return io.TextIOWrapper(buffered, "utf-8-sig", errors="replace")


class _Table:
    """The header of a CSV file, and then the numbers of some of its columns."""

    def __init__(self, name: str, text: io.TextIOWrapper) -> None:
        self.name, self.text = name, text
        self.above, header = 0, ""  # lines up to the header, which comments may precede
        for line in text:
            self.above += 1
            if line.strip() and not line.startswith(("#", "sep=")):
                header = line.strip()
                break
        if not header:
            raise DamagedFileError(f"{name} is empty: expected names of columns, then the points")
        cells = {mark: next(csv.reader([header], delimiter=mark)) for mark in ",;\t| "}
        self.separator = max(",;\t|", key=lambda mark: len(cells[mark]))
        if len(cells[self.separator]) == 1:
            self.separator = " "
        self.columns = [
            cell.strip()
            for cell in next(csv.reader([header], delimiter=self.separator, skipinitialspace=True))
        ]
        where = f"{name}, line {self.above}"
        if len(self.columns) < 2:
            raise DamagedFileError(
                f"{where}: one column, {header[:40]!r}; expected two or more, separated by commas, "
                "semicolons or tabs"
            )
        if all(re.fullmatch(r"[-+\d.,eE\s]*", column) for column in self.columns):
            raise DamagedFileError(
                f"{where}: expected names of columns; put a line such as samples,bound before it"
            )
        if twice := {c for c in self.columns if c and self.columns.count(c) > 1}:
            raise DamagedFileError(f"{where}: two columns are called {min(twice)!r}; rename one")

    def numbers(self, wanted: Sequence[str]) -> list[Array]:
        """Columns as numbers, the first rising; rows without any value of the others are left out.

        Raises:
            DamagedFileError: naming the first line that is wrong, and what to do.
        """
        pick = itemgetter(*(self.columns.index(column) for column in wanted))
        kept, lines = array("d"), array("q")
        reader = csv.reader(self.text, delimiter=self.separator, skipinitialspace=True)
        width, decimal_commas, dots, commas = len(self.columns), self.separator != ",", False, False
        try:
            for row in reader:
                if not row or row[0][:1] == "#":
                    continue
                if len(row) != width:
                    self._check_width(row)
                try:
                    numbers = list(map(float, pick(row)))
                except ValueError:
                    cells = pick(row)
                    if not any(map(str.strip, cells[1:])):
                        continue  # a row of other columns
                    numbers = [_number(cell, self.separator) for cell in cells]
                    commas = commas or any("," in cell for cell in cells)
                if decimal_commas:
                    dots = dots or any("." in cell for cell in pick(row))
                    if dots and commas:
                        raise ValueError(
                            "dots and commas are both in numbers of this file; leave out "
                            "separators of thousands"
                        )
                kept.extend(numbers)
                lines.append(reader.line_num)
        except (ValueError, csv.Error) as error:
            line = self.above + reader.line_num
            raise DamagedFileError(f"{self.name}, line {line}: {error}") from None
        if not lines:
            raise DamagedFileError(f"{self.name} has no row with a value in {wanted[-1]}")
        columns = list(np.frombuffer(kept).reshape(-1, len(wanted)).T)
        self._check(wanted, columns, self.above + np.frombuffer(lines, np.int64))
        return columns

    def _check_width(self, row: list[str]) -> None:
        """A row has a cell for each column; empty ones may follow."""
        width = len(self.columns)
        if len(row) > width and not any(row[width:]):
            return
        remedy = "complete it or delete it"
        if len(row) > width and self.separator == ",":
            remedy = "if commas are decimal, separate the columns by semicolons"
        raise ValueError(f"{len(row)} cells for {width} columns; {remedy}")

    def _check(
        self, wanted: Sequence[str], numbers: list[Array], lines: npt.NDArray[np.int64]
    ) -> None:
        """Every number is finite, and the first column rises from 0 or more."""
        for column, values in zip(wanted, numbers, strict=True):
            if len(bad := np.flatnonzero(~np.isfinite(values))):
                raise DamagedFileError(
                    f"{self.name}, line {lines[bad[0]]}: {column} is {values[bad[0]]}; delete the "
                    "row, and where a run diverged those after it too. "
                    f"{signatures.divergence_causes()}"
                )
        x, name = numbers[0], wanted[0]
        if x[0] < 0:
            raise DamagedFileError(f"{self.name}, line {lines[0]}: {name} is negative; correct it")
        if len(bad := np.flatnonzero(np.diff(x) <= 0)):
            before, here = x[bad[0]], x[bad[0] + 1]
            what = f"comes after {before:.10g}; sort the rows, and keep those of one run"
            if before == here:
                what = "is there twice; keep one row of each"
            raise DamagedFileError(
                f"{self.name}, line {lines[bad[0] + 1]}: {name} {here:.10g} {what}"
            )


def _number(cell: str, separator: str) -> float:
    """A number in other notation: with a decimal comma, a long minus sign or hard spaces.

    Raises:
        ValueError: naming the cell and what to do.
    """
    plain = re.sub(r"\s", "", cell).replace("\u2212", "-")
    may_be_thousands = separator != ";" and re.fullmatch(r"[-+]?[1-9]\d{0,2}(,\d{3})+", plain)
    if separator != "," and not may_be_thousands and re.fullmatch(r"[^,.]*,\d+([eE].*)?", plain):
        plain = plain.replace(",", ".")
    try:
        return float(plain)
    except ValueError:
        remedy = "correct it, or delete the row"
        if "," in plain:
            remedy = "leave out separators of thousands, and write decimals with a dot"
        raise ValueError(f"{cell.strip()!r} is not a number; {remedy}") from None


def _understood(table: _Table, options: Options) -> Foreign:
    """The curve in a table.

    Raises:
        ConfigurationError: if something cannot be known.
    """
    labels = _labels(table)
    asked = []
    if options.like is None:
        asked.append(f"--like, what the model is: {', '.join(names())}")
    total, recon, kl, unclear = _value_columns(table, labels, options)
    asked += unclear
    label = " ".join(labels[column] for column in (total or recon,) if column)
    split = options.split or _split(label)
    if split is None and not unclear:
        asked.append(f"--split, what the values are evaluated on: {', '.join(SPLITS)}")
    x_name, counts, factor, unclear = _horizontal(table, labels, options)
    asked += unclear
    if not label or not x_name:
        raise ConfigurationError(f"{table.name}: say {'; say '.join(asked)}")

    wanted = [column for column in (total, recon, kl) if column]
    x, *columns = table.numbers([x_name, *wanted])
    values = dict(zip(wanted, columns, strict=True))
    if counts == "epochs" and x[0] == 0 and options.epochs_from is None:
        asked.append("--epochs-from 1 if epoch 0 is before training, or 0 if it is the first")
    bernoulli = options.like is None or not options.like.startswith("freyface")
    quantity, why = _quantity(options, label, values[total or recon or ""], bernoulli)
    if quantity is None:
        asked.append("--quantity, bound (higher is better) or loss")
    unit = options.unit or ("bits" if re.search(BITS, label) else "nats")
    per = options.per or ("pixel" if re.search(PER_PIXEL, label) else "datapoint")
    if per == "minibatch" and options.minibatch is None:
        asked.append("--minibatch, over how many datapoints a value is the sum")
    if asked:
        raise ConfigurationError(f"{table.name}: say {'; say '.join(dict.fromkeys(asked))}")

    ours = reference(options.like, split)
    scale = math.log(2) if unit == "bits" else 1.0
    scale *= {"datapoint": 1, "pixel": ours.data[0], "minibatch": 1 / (options.minibatch or 1)}[per]
    sign = -1 if quantity == "loss" else 1
    reconstruction, divergence = None, None
    if recon and kl:
        sign_of_part = -1 if bernoulli and (values[recon] > 0).all() else sign
        reconstruction = scale * sign_of_part * values[recon]
        divergence = scale * np.abs(values[kl])
    bound = scale * sign * values[total] if total else None
    if bound is None:
        assert reconstruction is not None  # or `_value_columns` had asked
        assert divergence is not None
        bound = reconstruction - divergence
    shift = options.epochs_from == 0 if counts == "epochs" else 0
    what = repr(total) if total else f"{recon!r} and {kl!r}"
    is_given = options.unit or options.per or (unit, per) != ("nats", "datapoint")
    known = "" if is_given else " (assumed)"
    times = f" times {factor:g}" if counts != "samples" else ""
    return Foreign(
        ours,
        (x + shift) * factor,
        bound,
        reconstruction,
        divergence,
        f"{table.name}: {what} read as a {quantity}{why} in {unit} per {per}{known}; samples are "
        f"{x_name!r}{times}.",
    )


def _labels(table: _Table) -> dict[str, str]:
    """The label of each column; that of TensorBoard's `Value` is the name of the file."""
    labels = {column: column.rpartition(" - ")[2].lower() for column in table.columns if column}
    if {"wall time", "step", "value"} == set(labels.values()):
        labels["Value"] = Path(table.name).stem.lower()
    return labels


def _split(label: str) -> str | None:
    """The split that a label names; None if it names none, or several."""
    found = [split for split, pattern in SPLITS.items() if re.search(pattern, label)]
    return found[0] if len(found) == 1 else None


def _value_columns(
    table: _Table, labels: dict[str, str], options: Options
) -> tuple[str | None, str | None, str | None, list[str]]:
    """The columns of the bound or the loss, of the reconstruction and of the KL, and what to ask.

    Raises:
        ConfigurationError: if there is no such column as was asked for.
    """
    axes = re.compile("|".join([*X.values(), IGNORED]))
    found = {c: label for c, label in labels.items() if c == "Value" or not axes.fullmatch(label)}
    if options.column and options.column not in table.columns:
        there = ", ".join(map(repr, found))
        raise ConfigurationError(f"{table.name} has no column {options.column!r}: it has {there}")
    split = options.split or _split(labels.get(options.column or "", ""))
    if split:  # the columns of this split, or else those that name none
        named = [c for c in found if _split(found[c]) == split]
        found = {c: found[c] for c in named or [c for c in found if not _split(found[c])]}
    kls = [c for c in found if re.search(KL, found[c])]
    recons = [c for c in found if kls and c not in kls and re.search(RECONSTRUCTION, found[c])]
    totals = [c for c in found if c not in kls and c not in recons]
    totals = [c for c in totals if re.search(f"{LOSS}|{BOUND}", found[c])] or totals
    recon, kl = (recons[0], kls[0]) if len(recons) == len(kls) == 1 else (None, None)
    if options.column:
        apart = options.column in (recon, kl)  # asked for by itself
        return options.column, *((None, None) if apart else (recon, kl)), []
    if len(totals) == 1:
        return totals[0], recon, kl, []
    if not totals and recon:
        return None, recon, kl, []
    splits = sorted({s for c in totals if (s := _split(found[c]))})
    if not split and len(splits) == len(totals) > 1:
        return None, None, None, [f"--split, which of the columns to take: {', '.join(splits)}"]
    ask = f"--column, that of the values: {', '.join(map(repr, totals or found))}"
    return None, None, None, [ask]


def _horizontal(
    table: _Table, labels: dict[str, str], options: Options
) -> tuple[str | None, str, float, list[str]]:
    """The column of the horizontal axis, what it counts, datapoints for each, and what to ask.

    Raises:
        ConfigurationError: if there is no such column.
    """
    columns = {
        kind: column
        for kind, pattern in X.items()
        for column in reversed(labels)
        if re.fullmatch(pattern, labels[column])
    }
    if not columns:
        raise ConfigurationError(
            f"{table.name} has no column of {', '.join(X)}: it has "
            f"{', '.join(map(repr, labels))}; rename one"
        )
    size = {"samples": 1.0, "steps": options.minibatch, "epochs": options.n_train}
    counts = options.x or next((kind for kind in X if kind in columns and size[kind]), None)
    # A logger's step counts what its user likes; the size that is given says what.
    if not options.x and (counts is None or len(columns) == 1) and "steps" in columns:
        sizes = [kind for kind in ("steps", "epochs") if size[kind]]
        counts = sizes[0] if len(sizes) == 1 else None
    column = columns.get(counts or "") or columns.get("steps") or next(iter(columns.values()))
    if counts is None:
        ask = f"--x, what {column!r} counts: steps or epochs"
        if not (options.minibatch and options.n_train):
            sizes = [f"{option}, if {kind}" for kind, option in SIZES.items()]
            ask = f"what {column!r} counts: {'; '.join(sizes)}; --x samples, if samples"
        return column, "", 1.0, [ask]
    if (datapoints := size[counts]) is None:
        return column, counts, 1.0, [SIZES[counts]]
    return column, counts, datapoints, []


def _quantity(
    options: Options, label: str, values: Array, bernoulli: bool
) -> tuple[str | None, str]:
    """Whether values are a bound or a loss, and why; None if nothing says it."""
    if options.quantity:
        return options.quantity, ""
    if re.search(LOSS, label) or re.search(BOUND, label):
        return "loss" if re.search(LOSS, label) else "bound", ""
    if bernoulli and ((values > 0).all() or (values < 0).all()):
        return "loss" if values[0] > 0 else "bound", " (on MNIST no bound is above 0)"
    return None, ""
