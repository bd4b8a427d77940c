"""How usual mistakes change a curve, learned from runs that were trained with each of them.

The runs are those of `aevb.clinic` with `LIKE`; the package has their curves (`signatures.json`).
This module loads NumPy, but neither PyTorch nor pandas.

**Two curves are compared** at the points of the runs from 50,000 samples on. Some mistakes give the
same bound for every Nz, others shift the right one. So the bounds are compared themselves and by
their distance from the right bound of the configuration, and the nearer counts. Distances are
inverse hyperbolic sines of nats / 10: linear near zero and logarithmic far from it. So a factor
counts the same at 10³ and 10⁶ nats. `gap` is the root mean square difference. Where a curve has a
reconstruction and a KL, the inverse hyperbolic sines of those, in nats, count too.
"""

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aevb.results.lines import Line

Array = npt.NDArray[np.float64]

SIGNATURES = Path(__file__).with_name("signatures.json")
LIKE = "mnist-nz20-aevb"
FIRST_SAMPLES, EPOCH = 50_000, 50_000
MIN_POINTS = 2
SHIFT = 10.0  # nats: what is small for the distance from the right bound


@dataclass(frozen=True)
class Signature:
    """What code with a mistake reports, the mean over seeds.

    Attributes:
        name: of the class in `aevb.clinic.mistakes`; `Code` is right.
        mistake: what it is, a sentence without its full stop.
        check: what to look at, to tell it from others.
        mistaken: False for the right code and for other settings.
        samples: `(points,)`.
        values: `(points,)` each, NaN after a divergence: `train`, `test`, `reconstruction`, `kl`.
    """

    name: str
    mistake: str
    check: str
    mistaken: bool
    samples: Array
    values: dict[str, Array]

    def line(self, column: str) -> Line:
        """One of the values against samples."""
        return Line(self.samples, self.values[column])


@dataclass(frozen=True)
class Match:
    """A signature beside a curve.

    Attributes:
        signature: what was compared.
        gap: how far apart they are; 0 is equal, 1 a factor of e everywhere.
        widest: the same at the point where they are furthest apart.
        samples: `(points,)`, where they were compared.
        yours: `(points,)`, the curve.
        theirs: `(points,)`, the signature.
        right: `(points,)`, the right code's with `LIKE`.
    """

    signature: Signature
    gap: float
    widest: float
    samples: Array
    yours: Array
    theirs: Array
    right: Array


@cache
def signatures() -> list[Signature]:
    """Every signature of the package, the right code first."""
    return [
        Signature(
            entry["name"],
            entry["mistake"],
            entry["check"],
            entry["mistaken"],
            np.array(entry["samples"], float),
            {key: np.array(entry[key], float) for key in ("train", "test", "reconstruction", "kl")},
        )
        for entry in json.loads(SIGNATURES.read_text(encoding="utf-8"))["signatures"]
    ]


def diverging() -> list[Signature]:
    """Signatures that end in NaN."""
    return [s for s in signatures() if np.isnan(s.values["test"]).any()]


def divergence_causes() -> str:
    """What usually makes a bound end in NaN, in a sentence or two."""
    causes = "; ".join(
        f"{s.mistake[0].lower()}{s.mistake[1:]} (check: {s.check})" for s in diverging()
    )
    return f"Usual causes: {causes}."


def matches(
    bound: Line,
    right: Callable[[float], float],
    split: str,
    reconstruction: Line | None = None,
    kl: Line | None = None,
) -> list[Match]:
    """Every signature beside a curve, the nearest first; none if too few points can be compared.

    Args:
        bound: the curve, as its code reports it.
        right: our test bound of the same configuration at a number of samples; NaN where there is
            none.
        split: train, validation or test. Validation is held against the runs' test bounds; train,
            on both sides, is the mean over the last epoch.
        reconstruction: E[log p(x|z)] of the curve, where it is known.
        kl: of the curve, where it is known.
    """
    code = signatures()[0]
    places = code.samples[code.samples >= FIRST_SAMPLES]
    column = "train" if split == "train" else "test"
    lines = {column: bound, "reconstruction": reconstruction, "kl": kl}
    yours = {key: _read(key, line, places) for key, line in lines.items() if line is not None}
    usual = _read(column, code.line(column), places)
    rights = np.array([right(s) for s in places])
    rights += usual - _read("test", code.line("test"), places)
    known = ~np.isnan(yours[column]) & ~np.isnan(rights)
    if known.sum() < MIN_POINTS:
        return []
    found = []
    for signature in signatures():
        theirs = {key: _read(key, signature.line(key), places) for key in yours}
        if any(np.isnan(values[known]).any() for values in theirs.values()):
            continue  # it diverged, or its terms are not known
        level = np.arcsinh((yours[column] - theirs[column]) / SHIFT)
        shift = np.arcsinh((yours[column] - rights) / SHIFT) - np.arcsinh(
            (theirs[column] - usual) / SHIFT
        )
        bounds = min(level[known], shift[known], key=np.linalg.norm)
        terms = [np.arcsinh(yours[key]) - np.arcsinh(theirs[key]) for key in yours if key != column]
        squares = np.sum([np.square(bounds), *(np.square(term[known]) for term in terms)], axis=0)
        found.append(
            Match(
                signature,
                math.sqrt(squares.mean()),
                math.sqrt(squares.max()),
                places[known],
                yours[column][known],
                theirs[column][known],
                usual[known],
            )
        )
    return sorted(found, key=lambda match: match.gap)


def _read(column: str, line: Line, samples: Array) -> Array:
    """A line's values; of train bounds the mean over the last epoch."""
    if column == "train":
        return np.asarray(line.mean(np.maximum(samples - EPOCH, 0), samples), float)
    return np.array([line.value_at(s) for s in samples])


# What a reader sees first: the test bound after the last epoch of the runs.
SYMPTOMS = {
    "NaN": "ends in NaN",
    "huge": "thousands of nats from the right one",
    "zero": "near zero",
    "high": "too high by more than 10 nats",
    "low": "too low by more than 10 nats",
    "right": "within 10 nats of the right one",
}


def symptom(signature: Signature) -> str:
    """The key of `SYMPTOMS` that a signature shows."""
    right, value = (s.values["test"][-1] for s in (signatures()[0], signature))
    if math.isnan(value):
        return "NaN"
    distance = value - right
    if abs(distance) > 1000:
        return "huge"
    if abs(value) < abs(right) / 20:
        return "zero"
    if abs(distance) > SHIFT:
        return "high" if distance > 0 else "low"
    return "right"


def describe(signature: Signature) -> str:
    """Where a curve begins, where it is at the end of the runs, and which of its terms is off."""
    right = signatures()[0]
    finite = np.isfinite(signature.values["test"])
    if not finite.all():
        return f"NaN from {signature.samples[~finite][0]:,.0f} samples on."
    parts = []
    start, usual = signature.values["test"][0], right.values["test"][0]
    if abs(start - usual) > 1:
        parts.append(f"begins at {_nats(start)}, not {_nats(usual)}")
    for column, name in (("test", "bound"), ("reconstruction", "reconstruction"), ("kl", "KL")):
        value, usual = signature.values[column][-1], right.values[column][-1]
        if abs(value - usual) > 0.05 * abs(usual):
            parts.append(f"{name} {_nats(value)}, not {_nats(usual)}")
    text = ", ".join(parts) or "all terms within 5 % of the right ones"
    return text[0].upper() + text[1:] + "."


def _nats(value: float) -> str:
    digits = 1 if abs(value) >= 1 else 2
    shape = f",.{digits}f" if abs(value) < 1e7 else ".3g"
    return f"{value:{shape}}".replace("-", "\u2212")
