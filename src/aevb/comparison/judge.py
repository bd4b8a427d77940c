"""A curve of any code, held against the paper's and ours.

The curves are in the package (`reference.csv`), so this works outside a checkout. It loads NumPy,
but neither PyTorch nor pandas.

**The band** spans our mean over seeds ± 3 SD and the paper's curve ± 3 SD. SD is the standard
deviation over our seeds. Three seeds can agree by chance, so it is at least the upper quartile of
the standard deviations of all configurations of the same data and algorithm. Where only one seed
goes on, the SD is that of the last point with two. Of our own curves, each held against the other
seeds and the paper, about five in six are inside.

**A curve is inside** if nine in ten of its points or more lie in the band. The points are the
curve's own, at most 20 for each decade of samples. Points before 200,000 samples are left out. The
paper has none there, and the warm-up decides, of which the paper says nothing.
"""

import csv
import math
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aevb.comparison import signatures
from aevb.errors import ConfigurationError
from aevb.results.lines import EMPTY, Line

Array = npt.NDArray[np.float64]

REFERENCE = Path(__file__).with_name("reference.csv")
FIRST_SAMPLES = 200_000
POINTS_PER_DECADE = 20
WIDTH = 3.0  # of the band to either side, in SD
SHARE_INSIDE = 0.9
LEAP = 10.0  # nats: as in `pairs`, nothing is read where the paper's curve leaps
# By data set (`n` is Figure 3's MNIST): pixels, the bound of an untrained model (on MNIST
# −784 ln 2), and the minibatch.
DATA = {"mnist": (784, -543.4, 100), "freyface": (560, -526.2, 500), "n": (784, -543.4, 100)}
FAR_FROM_START = 10.0  # nats; no seed of ours, nor the paper's, is two away from the start
# A suspect's correction brings the curve inside, or divides the mean distance by this factor and
# leaves less than the width of the band.
MUCH_NEARER = 10.0
# Limits on `signatures.Match.gap` between a curve and a run. Below the first two, on the whole and
# at every point, the curve resembles a run with a mistake. Below the third it may be right, since
# another step size moves a curve as far. Runs nearer than the fourth cannot be told apart.
NEAR_GAP, WIDEST_GAP, RIGHT_GAP, CLOSE_GAP = 0.4, 0.4, 1.0, 0.1
MOST_SUSPECTS = 3
LONG = 1e7  # nats; larger numbers are written with an exponent
MIN_POINTS = 3  # as evidence for a suspect, over at least a factor of four in samples
TABLE_ROWS = 12


@dataclass(frozen=True)
class Reference:
    """The paper's curve and ours of one configuration and split.

    Attributes:
        name: as the names of runs without the seed, such as `mnist-nz20-aevb`.
        split: train, validation or test.
        paper: the paper's; its test curves on MNIST stand beside our validation curves too.
        seeds: ours.
    """

    name: str
    split: str
    paper: Line
    seeds: dict[str, Line]

    @property
    def data(self) -> tuple[int, float, int]:
        """Pixels of an image, the bound of an untrained model, in nats, and the minibatch."""
        return DATA[re.split(r"[-\d]", self.name)[0]]

    @property
    def window(self) -> float:
        """Over how many samples a train bound is averaged; 0 where it is not."""
        return self.paper.interval() if self.split == "train" and self.name[0] != "n" else 0.0

    @cached_property
    def spread(self) -> Line:
        """SD over seeds, in nats, at our points that two seeds or more have."""
        samples, deviation = _deviation(tuple(self.seeds.values()))
        family = [
            Line(*_deviation(tuple(sources[key] for key in sources if key != "paper")))
            for (name, split), sources in _all().items()
            if split == self.split and re.sub(r"\d+", "", name) == re.sub(r"\d+", "", self.name)
        ]
        each = [
            [deviation[k], *(line.value_at(x) for line in family)] for k, x in enumerate(samples)
        ]
        return Line(samples, np.maximum(deviation, np.nanquantile(each, 0.75, axis=1)))

    def point(self, samples: float, yours: float) -> "Point":
        """A point of a curve, with the paper's and ours at the same samples."""
        values = [line.value_at(samples, leap=LEAP) for line in self.seeds.values()]
        values = [value for value in values if not math.isnan(value)]
        paper = self.paper.value_at(samples, leap=LEAP)
        if not values:
            return Point(samples, yours, math.nan, math.nan, math.nan, paper)
        mean = sum(values) / len(values)
        places = np.log10(self.spread.samples)
        sd = float(np.interp(math.log10(samples), places, self.spread.values))
        low, high = np.nanmin([mean, paper]), np.nanmax([mean, paper])
        return Point(samples, yours, mean, float(low - WIDTH * sd), float(high + WIDTH * sd), paper)


def _deviation(seeds: tuple[Line, ...]) -> tuple[Array, Array]:
    """Our points that two seeds or more have, and the SD over seeds there."""
    by_samples = defaultdict(list)
    for line in seeds:
        for samples, value in zip(line.samples.tolist(), line.values.tolist(), strict=True):
            by_samples[samples].append(value)
    shared = sorted(
        s for s, values in by_samples.items() if len(values) > 1 and s >= FIRST_SAMPLES / 2
    )
    return np.array(shared), np.array([np.std(by_samples[s], ddof=1) for s in shared])


@cache
def _all() -> dict[tuple[str, str], dict[str, Line]]:
    """Every curve of the package, by name and split, then by source."""
    points: dict[tuple[str, str], dict[str, list[tuple[float, float]]]] = {}
    with REFERENCE.open(encoding="utf-8") as file:
        for name, split, source, x, y in csv.reader(line for line in file if line[0] != "#"):
            if name != "name":
                sources = points.setdefault((name, split), {})
                sources.setdefault(source, []).append((float(x), float(y)))
    return {
        key: {source: Line(*np.array(rows).T) for source, rows in sources.items()}
        for key, sources in points.items()
    }


def names() -> list[str]:
    """The configurations that a curve can be held against."""
    return list(dict.fromkeys(name for name, _ in _all()))


def reference(like: str | None, split: str | None) -> Reference:
    """What a curve is held against.

    Raises:
        ConfigurationError: if there is no such configuration or split; lists those that are there.
    """
    name = re.sub(r"-seed\d+$", "", like or "")
    if name not in names():
        wrong = f"no configuration is called {like!r}: " if like else ""
        raise ConfigurationError(
            f"{wrong}say --like, what the model is, one of {', '.join(names())}"
        )
    there = [other for key, other in _all() if key == name]
    if split not in there:
        wrong = f"{name} has no split {split!r}: " if split else ""
        raise ConfigurationError(f"{wrong}say --split, one of {', '.join(there)}")
    ours = {source: line for source, line in _all()[name, split].items() if source != "paper"}
    paper = _all()[name, "train" if split == "train" else "test"].get("paper", EMPTY)
    return Reference(name, split, paper, ours)


@dataclass(frozen=True)
class Point:
    """A point of a curve beside the paper's and ours; nats per datapoint, NaN where there is none.

    Attributes:
        samples: training samples.
        yours: the bound.
        ours: the mean over our seeds.
        low: lower end of the band.
        high: upper end of the band.
        paper: the paper's.
    """

    samples: float
    yours: float
    ours: float
    low: float
    high: float
    paper: float

    @property
    def inside(self) -> bool:
        """Whether it lies in the band."""
        return self.low <= self.yours <= self.high


@dataclass(frozen=True)
class Suspect:
    """A usual mistake that would give such a curve. That it was made is not proven.

    Attributes:
        name: of the mistake, for programs; where the clinic has it, its name there.
        mistake: what it is.
        evidence_for: numbers that speak for it.
        evidence_against: numbers that speak against it; empty if none do.
        check: what to look at next.
    """

    name: str
    mistake: str
    evidence_for: str
    evidence_against: str
    check: str


@dataclass(frozen=True)
class Judgement:
    """What is found of a curve. Printed, it is a table and a verdict.

    Attributes:
        like: the configuration that it is held against.
        split: train, validation or test.
        points: where the curve has a value and the paper or we have one too.
        suspects: mistakes that would explain a distance.
        notes: other findings, a sentence each.
    """

    like: str
    split: str
    points: list[Point]
    suspects: list[Suspect]
    notes: list[str]

    @property
    def compared(self) -> list[Point]:
        """The points that lie in the range of the band."""
        return [point for point in self.points if not math.isnan(point.ours)]

    @property
    def inside(self) -> bool:
        """Whether nine in ten of the compared points lie in the band."""
        return _share_inside(self.compared) >= SHARE_INSIDE

    @property
    def verdict(self) -> str:
        """One line."""
        compared, last = self.compared, self.compared[-1]
        distance = float(np.mean([p.yours - p.ours for p in compared]))
        paper = [p.yours - p.paper for p in self.points if not math.isnan(p.paper)]
        beside = f", {_nats(float(np.mean(paper)), '+')} from the paper's" if paper else ""
        return (
            f"{'Inside' if self.inside else 'OUTSIDE'} the band: {sum(p.inside for p in compared)} "
            f"of {len(compared)} points lie in it. Yours is on average {_nats(distance, '+')} nats "
            f"from ours{beside}; at {last.samples:,.0f} samples, the last, "
            f"{_nats(last.yours - last.ours, '+')} from ours."
        )

    def as_dict(self) -> dict[str, Any]:
        """The same as plain data for JSON; numbers that are not there are None."""
        points = [
            {key: None if math.isnan(x) else x for key, x in asdict(point).items()}
            | {"inside": None if math.isnan(point.ours) else point.inside}
            for point in self.points
        ]
        return asdict(self) | {"inside": self.inside, "verdict": self.verdict, "points": points}

    def __str__(self) -> str:
        widths = "{:>13}{:>10}{:>10}{:>20}{:>12}{:>10}{:>13}"
        head = ("samples", "yours", "ours", "[low, high]", "yours−ours", "paper", "yours−paper")
        rows = [
            widths.format(
                f"{p.samples:,.0f}",
                _nats(p.yours),
                _nats(p.ours),
                "–" if math.isnan(p.low) else f"[{_nats(p.low)}, {_nats(p.high)}]",
                _nats(p.yours - p.ours, "+"),
                _nats(p.paper),
                _nats(p.yours - p.paper, "+"),
            )
            for p in _milestones(self.points)
        ]
        suspects = [
            f"Suspect: {s.mistake}. For it: {s.evidence_for}. Against it: "
            f"{s.evidence_against or 'nothing here'}. Check: {s.check}."
            for s in self.suspects
        ]
        title = f"Held against {self.like}, {self.split}; nats per datapoint"
        return "\n".join([title, widths.format(*head), *rows, self.verdict, *suspects, *self.notes])


def judge(
    samples: Any,
    bound: Any,
    *,
    like: str | None = None,
    split: str | None = None,
    minibatch: float | None = None,
    reconstruction: Any = None,
    kl: Any = None,
) -> Judgement:
    """How far a curve is from the paper's and from ours, and which mistake would explain it.

    Args:
        samples: `(points,)`, training datapoints seen so far, rising; 0 is an untrained model.
        bound: `(points,)`, nats per datapoint, higher is better. On train, each is the mean over
            the minibatches since the point before, as frameworks log it.
        like: the configuration, such as `mnist-nz20-aevb`.
        split: train, validation or test. In Figure 3's (`n1000-aevb`) the values are estimates of
            log p(x).
        minibatch: datapoints for each update, for some of the suspects; the paper's by default.
        reconstruction: `(points,)`, E[log p(x|z)] in nats per datapoint, where it is known.
        kl: `(points,)`, the KL divergence in nats per datapoint, where it is known.

    Raises:
        ConfigurationError: if something is missing, or the numbers are not a curve.

    Example:
        >>> import aevb
        >>> found = aevb.judge([1e6, 3e6, 1e7], [-125, -113, -105.4], like="mnist-nz20-aevb",
        ...                    split="validation")
        >>> found.inside
        True
        >>> print(found)  # doctest: +SKIP
    """
    ours = reference(like, split)
    x, y = _checked(samples, bound)
    points = _compare(ours, x, y)
    found = Judgement(ours.name, ours.split, points, [], _notes(ours, x, y))
    minibatch = minibatch or ours.data[2]
    suspects = list(_missing_kl(ours, x, y, reconstruction, kl, minibatch))
    if not found.inside and not suspects:
        thin = _thinned(ours, x, y)
        suspects = list(_suspects(ours, *thin, found.compared, minibatch))
    usual_minibatch = 0.5 <= minibatch / ours.data[2] <= 2
    if not found.inside and not suspects and usual_minibatch:
        matches = _matches(ours, x, y, reconstruction, kl)
        suspects = list(_resembling(matches))
        if matches and not suspects:
            found.notes.extend(_explained(matches))
    if not found.compared:
        most = max(line.end for line in ours.seeds.values())
        raise ConfigurationError(
            f"nothing to compare: the curve has points from {x[0]:,.0f} to {x[-1]:,.0f} samples, "
            f"ours of {ours.name} from {FIRST_SAMPLES:,} to {most:,.0f}; train longer, or check "
            "that samples are datapoints, not updates or epochs"
            + "".join(f" (suspect: {s.mistake}; {s.evidence_for})" for s in suspects)
        )
    found.suspects.extend(suspects)
    return found


def _checked(samples: Any, bound: Any) -> tuple[Array, Array]:
    """The curve as arrays.

    Raises:
        ConfigurationError: naming the first point that is wrong.
    """
    x, y = np.asarray(samples, float), np.asarray(bound, float)
    if x.ndim != 1 or x.shape != y.shape or not len(x):
        raise ConfigurationError(
            f"samples have shape {x.shape}, bounds {y.shape}: expected one of each for every point"
        )
    if len(bad := np.flatnonzero(~np.isfinite(x) | ~np.isfinite(y))):
        if len(bad) == len(x) - bad[0]:
            raise ConfigurationError(
                f"from point {bad[0] + 1} on the curve is not finite: training diverged. "
                f"{signatures.divergence_causes()}"
            )
        raise ConfigurationError(f"point {bad[0] + 1} is not finite: leave such points out")
    if len(bad := np.flatnonzero(np.diff(x) <= 0)):
        raise ConfigurationError(
            f"samples do not rise at point {bad[0] + 2}: sort, and drop repeats"
        )
    if x[0] < 0:
        raise ConfigurationError(f"samples begin at {x[0]:,.0f}: expected 0 or more")
    return x, y


def _compare(ours: Reference, x: Array, y: Array) -> list[Point]:
    """The curve beside the paper's and ours, at up to 20 of its points a decade."""
    x, y = x[x > 0], y[x > 0]
    line = Line(x, y).averaged(ours.window) if ours.window and len(x) else Line(x, y)
    cells = np.floor(POINTS_PER_DECADE * np.log10(x))
    last = np.append(np.diff(cells) != 0, True)[: len(x)] & (x >= FIRST_SAMPLES)
    points = [
        ours.point(s, value)
        for s, value in zip(x[last].tolist(), line.values[last].tolist(), strict=True)
    ]
    return [point for point in points if not math.isnan(point.ours) or not math.isnan(point.paper)]


def _thinned(ours: Reference, x: Array, y: Array) -> tuple[Array, Array]:
    """At most 500 points a decade, so that millions are not averaged for every suspect."""
    x, y = x[x > 0], y[x > 0]
    last = np.append(np.diff(np.floor(500 * np.log10(x))) != 0, True)[: len(x)]
    if ours.window:
        return x[last], Line(x, y).mean(np.append(0, x[last][:-1]), x[last])
    return x[last], y[last]


def _share_inside(points: list[Point]) -> float:
    return sum(point.inside for point in points) / len(points) if points else 0.0


def _distance(points: list[Point]) -> float:
    """Mean absolute distance from our mean, in nats."""
    return float(np.mean([abs(point.yours - point.ours) for point in points]))


def _corrections(ours: Reference, minibatch: float) -> Iterator[tuple[str, str, str, float, float]]:
    """The usual mistakes of counting and of units.

    Yields:
        The mistake's name, the mistake, what to check, and the factors that undo it, on samples
        and on bounds.
    """
    pixels, ln2 = ours.data[0], math.log(2)
    batch = f"a sum over the {minibatch:g} datapoints of a minibatch"
    mean = f"a mean over the {pixels} pixels, not their sum"
    units = [
        ("loss", 1.0, "", "", ""),
        ("sum_over_minibatch", 1 / minibatch, batch, "--per minibatch", "reduction"),
        ("mean_over_pixels", pixels, mean, "--per pixel", "reduction"),
        ("in_bits", ln2, "bits, not nats", "--unit bits", "logarithm"),
        ("bits_per_pixel", pixels * ln2, "bits per pixel", "--unit bits --per pixel", "unit"),
    ]
    for name, factor, what, option, look in units:
        if what:
            check = f"the {look} in your code, then `{option}`"
            yield name, f"the values are {what}", check, 1, factor
        what = f"a loss, and {what}" if what else "a loss, not a bound"
        options = f"--quantity loss {option}".strip()
        check = f"the sign of the values, then `{options}`"
        yield f"{name}_as_loss", f"the values are {what}", check, 1, -factor
    epoch = "the size of the training set that an epoch goes through, then `--n-train`"
    yield "epochs_of_60000", "epochs of 60,000 images are counted as 50,000", epoch, 1.2, 1
    yield "epochs_of_50000", "epochs of 50,000 images are counted as 60,000", epoch, 1 / 1.2, 1
    axis = "what one unit of the horizontal axis is, then `--x`"
    updates = f"updates, of {minibatch:g} datapoints, are counted as samples"
    yield "updates_as_samples", updates, axis, minibatch, 1
    samples = f"samples are counted as updates of {minibatch:g}"
    yield "samples_as_updates", samples, axis, 1 / minibatch, 1


def _suspects(
    ours: Reference, x: Array, y: Array, before: list[Point], minibatch: float
) -> Iterator[Suspect]:
    """Mistakes whose correction brings the curve into the band, or much nearer to our mean.

    Epochs of 50,000 for 60,000 move a curve as little as another seed does, so most such curves
    are inside. They are suspects only if the whole curve lies outside.
    """
    for name, mistake, check, times, factor in _corrections(ours, minibatch):
        after = [p for p in _compare(ours, x * times, y * factor) if not math.isnan(p.ours)]
        enough = len(after) >= MIN_POINTS and after[-1].samples >= 4 * after[0].samples
        if not enough or (before and 0.5 < times < 2 and _share_inside(before) > 0 and factor == 1):
            continue
        now, then = _distance(after), _distance(before) if before else math.inf
        share = _share_inside(after)
        near = now * MUCH_NEARER < then and now < np.mean([p.high - p.low for p in after])
        if (share >= SHARE_INSIDE and now < then / 3) or near:
            outside = sum(not point.inside for point in after)
            yield Suspect(
                name,
                mistake,
                f"corrected, {len(after) - outside} of {len(after)} points lie in the band, on "
                f"average {now:.1f} nats from ours"
                + (f", not {then:.1f}" if before else "; as they are, none can be compared"),
                f"corrected, {outside} points still lie outside" if outside else "",
                check,
            )


def _matches(
    ours: Reference, x: Array, y: Array, reconstruction: Any, kl: Any
) -> list[signatures.Match]:
    """The curve beside runs that were trained with usual mistakes; AEVB on MNIST alone."""
    if not re.fullmatch(r"mnist-nz\d+-aevb", ours.name):
        return []
    tests = reference(ours.name, "test").seeds.values()

    def right(samples: float) -> float:
        values = [line.value_at(samples) for line in tests]
        return float(np.mean([v for v in values if not math.isnan(v)] or [math.nan]))

    terms = [None if t is None else Line(x, np.asarray(t, float)) for t in (reconstruction, kl)]
    return signatures.matches(Line(x, y), right, ours.split, *terms)


def _resembling(matches: list[signatures.Match]) -> Iterator[Suspect]:
    """Mistakes whose runs give such a curve, the nearest first; none if right code gives it too."""
    mistaken = [match for match in matches if match.signature.mistaken]
    right = min((m.gap for m in matches if not m.signature.mistaken), default=math.inf)
    if not mistaken or right < RIGHT_GAP or mistaken[0].gap > min(NEAR_GAP, right / 2):
        return
    limit = min(NEAR_GAP, max(2 * mistaken[0].gap, mistaken[0].gap + CLOSE_GAP))
    near = [match for match in mistaken if match.gap <= limit and match.widest <= WIDEST_GAP]
    for match in near[:MOST_SUSPECTS]:
        last = f"{match.samples[-1]:,.0f} samples"
        apart = np.abs(np.arcsinh(match.yours) - np.arcsinh(match.theirs))
        worst = int(apart.argmax())
        yield Suspect(
            match.signature.name,
            match.signature.mistake[0].lower() + match.signature.mistake[1:],
            f"at {last} yours is {_nats(match.yours[-1])}, and a run of {signatures.LIKE} with "
            f"this mistake {_nats(match.theirs[-1])}, without it {_nats(match.right[-1])}",
            f"at {match.samples[worst]:,.0f} samples yours is {_nats(match.yours[worst])}, the run "
            f"{_nats(match.theirs[worst])}"
            if apart[worst] > CLOSE_GAP
            else "",
            match.signature.check,
        )


def _explained(matches: list[signatures.Match]) -> Iterator[str]:
    """Notes for a curve that a mistake and another setting explain equally well."""
    settings = [match for match in matches if not match.signature.mistaken]
    near = [match.signature for match in settings if match.gap < RIGHT_GAP]
    if near and near[0].name != "Code":
        wrong = [m.signature for m in matches if m.signature.mistaken and m.gap <= NEAR_GAP]
        so_do = "; ".join(s.mistake[0].lower() + s.mistake[1:] for s in wrong[:MOST_SUSPECTS])
        yield (
            f"Right code gives such a curve with another setting: {near[0].mistake}. "
            f"Check: {near[0].check}."
            + (f" So do mistakes: {so_do}." if so_do else "")
            + " The reconstruction and the KL in columns of their own would tell more."
        )


def _missing_kl(
    ours: Reference, x: Array, y: Array, reconstruction: Any, kl: Any, minibatch: float
) -> Iterator[Suspect]:
    """Whether the bound counts the KL divergence in full, according to the columns."""
    if reconstruction is None or kl is None:
        return
    recon, divergence = np.asarray(reconstruction, float), np.asarray(kl, float)
    if recon.shape != y.shape or divergence.shape != y.shape:
        raise ConfigurationError("reconstruction and kl need a value for every point of the bound")
    if len(y) < MIN_POINTS or not divergence.any():
        return
    weight = float(divergence @ (recon - y) / (divergence @ divergence))
    error = float(np.abs(y - recon + weight * divergence).max())
    if abs(weight - 1) > 0.02 and error < 0.01 * float(np.abs(divergence).max()):
        whole = [p for p in _compare(ours, x, recon - divergence) if not math.isnan(p.ours)]
        names = {
            0.0: "without_kl",
            -1.0: "KlSign",
            minibatch: "KlSummedOverBatch",
            1 / minibatch: "KlAveragedTwice",
        }
        known = (
            name for value, name in names.items() if abs(weight - value) < 0.005 * (1 + abs(value))
        )
        yield Suspect(
            next(known, "weight_of_kl"),
            "the values leave the KL divergence out"
            if abs(weight) < 0.005
            else f"the values count the KL divergence {weight:.3g} times",
            f"at all {len(y)} points they are the reconstruction minus {weight:.3g} times the KL, "
            f"to {error:.2g} nats; with the KL counted once, {_share_inside(whole):.0%} of "
            "those compared lie in the band",
            "",
            "that the bound is the reconstruction minus the KL, both sums over their dimensions",
        )


def _notes(ours: Reference, x: Array, y: Array) -> list[str]:
    """Findings beside the distance: the start, and which images the paper's curve is of."""
    notes = []
    pixels, start, minibatch = ours.data
    # The first minibatch is evaluated before the first update; a fresh evaluation is after it.
    untrained = x[0] == 0 or (ours.window > 0 and x[0] <= minibatch)
    if untrained and abs(y[0] - start) > FAR_FROM_START:
        why = ", −784 ln 2 whatever the pixels are, as each gets 1/2" if pixels == 784 else ""
        notes.append(
            f"Your first point, of an untrained model, is {_nats(y[0])} nats; ours is "
            f"{_nats(start)}{why}. So yours starts from other weights or with another decoder, or "
            "is in another unit."
        )
    if ours.name.startswith("mnist") and ours.split == "test":
        notes.append(
            "The paper's test curves on MNIST seem to be of the validation images; ours here are "
            "of the 10,000 test images."
        )
    return notes


def _milestones(points: list[Point]) -> list[Point]:
    """At most a dozen points, evenly in log samples, the last among them."""
    places = np.linspace(0, len(points) - 1, min(TABLE_ROWS, len(points)))
    return [points[round(place)] for place in places]


def _nats(value: float, sign: str = "") -> str:
    if math.isnan(value):
        return "–"
    shape = f"{sign},.1f" if abs(value) < LONG else f"{sign}.3g"
    return f"{value:{shape}}".replace("-", "−")
