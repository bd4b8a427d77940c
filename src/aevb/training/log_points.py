"""Log points: the sample counts at which every curve has a row."""

from collections.abc import Iterator

LOG_POINTS_PER_DECADE = 20


def log_points(per_update: int) -> Iterator[int]:
    """The log points of a run, without end; the first is after one update.

    They are evenly spaced in log10(samples), 20 a decade, and rounded to whole updates.
    """
    previous, k = 0, 0
    while True:
        point = max(1, round(10 ** (k / LOG_POINTS_PER_DECADE) / per_update)) * per_update
        if point > previous:
            yield point
        previous, k = point, k + 1


def last_log_point(budget: float, per_update: int) -> int:
    """The first log point at or beyond `budget` samples: where a run stops."""
    return next(point for point in log_points(per_update) if point >= budget)
