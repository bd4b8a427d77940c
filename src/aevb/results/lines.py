"""Lines of a figure: values against training samples."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Numbers = float | npt.NDArray[Any]


@dataclass(frozen=True, eq=False)
class Line:
    """Values in nats per datapoint against training samples.

    Between two points the line is linear in log10(samples).

    Attributes:
        samples: `(points,)`, rising.
        values: `(points,)`.
        visible: the samples between which the line is within the paper's printed axes.
    """

    samples: npt.NDArray[Any]
    values: npt.NDArray[Any]
    visible: tuple[float, float] = (0, math.inf)

    @property
    def end(self) -> float:
        """Samples at the last point; NaN of a line without points."""
        return float(self.samples[-1]) if len(self.samples) else math.nan

    def value_at(self, samples: float, *, leap: float = math.inf) -> float:
        """The value at `samples`; NaN outside the line.

        Args:
            samples: where to read the line.
            leap: no value is read between two points that are more than `leap` nats and more than
                a factor of 3 in samples apart.
        """
        x, y = self.samples, self.values
        if not len(x):
            return math.nan
        after = int(np.searchsorted(x, samples, side="right"))
        if 0 < after < len(x):
            leaps = abs(y[after] - y[after - 1]) > leap
            if leaps and x[after] > 3 * x[after - 1]:
                return math.nan
        return float(np.interp(np.log10(samples), np.log10(x), y, left=math.nan, right=math.nan))

    def first_reaching(self, level: float) -> float:
        """Samples at which the line first reaches `level`; NaN if never."""
        x, y = np.log10(self.samples), self.values
        above = y >= level
        if not above.any():
            return math.nan
        k = int(above.argmax())
        if k == 0:
            return float(10 ** x[0])
        return float(10 ** np.interp(level, y[k - 1 : k + 1], x[k - 1 : k + 1]))

    def mean(self, start: Numbers, end: Numbers) -> Any:
        """The mean from `start` to `end` samples, of a line whose values are running means.

        A value is the mean since the point before.

        Returns:
            In the shape of `start` and `end`; NaN beyond the line.
        """
        # Within an interval the sum is linear in samples.
        ends = np.concatenate([[0.0], self.samples])
        sums = np.concatenate([[0.0], np.cumsum(np.diff(ends) * self.values)])
        with np.errstate(invalid="ignore"):
            total = np.interp(end, ends, sums, right=math.nan) - np.interp(start, ends, sums)
        return total / (np.asarray(end) - start)

    def averaged(self, window: float) -> "Line":
        """The running means over the last `window` samples, or over all if there are fewer.

        A log with a point every `window` samples has these values.
        """
        start = np.maximum(self.samples - window, 0)
        return Line(self.samples, self.mean(start, self.samples), self.visible)

    def interval(self) -> float:
        """Samples between two points of the log behind a figure's line.

        A figure leaves points of the log out. So this is the median over the gaps below 1.5 times
        the smallest.
        """
        gaps = np.diff(self.samples)
        return float(np.median(gaps[gaps < 1.5 * gaps.min()]))


EMPTY = Line(np.array([]), np.array([]))
