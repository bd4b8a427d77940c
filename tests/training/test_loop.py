"""The training loop: log points, prefixes, resuming, divergence. All of it bit for bit."""

import itertools
import math
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny import IMAGES, TINY

from aevb.training import evaluation, job
from aevb.training.log_points import last_log_point, log_points
from aevb.training.loop import Diverged, Row, Stopped, Training, train
from aevb.training.run import Run

MCEM: dict[str, Any] = {"algorithm": "mcem", "minibatch": 80, "measure": "marginal_loglik"}
KINDS = {
    "aevb": TINY,
    "aevb-gaussian": replace(TINY, likelihood="gaussian"),
    "aevb-adam": replace(TINY, optimiser="adam"),
    "wake-sleep": replace(TINY, algorithm="wake-sleep"),
    "wake-sleep-gaussian": replace(TINY, algorithm="wake-sleep", likelihood="gaussian"),
    "mcem": replace(TINY, **MCEM),
}
each_kind = pytest.mark.parametrize("run", KINDS.values(), ids=KINDS)


def trained(run: Run, budget: float, training: Training | None = None) -> Training:
    training = training or job.start(run, IMAGES)
    train(training, budget, lambda now: evaluation.evaluate(now, run, IMAGES))
    return training


def assert_equal(a: Any, b: Any) -> None:
    torch.testing.assert_close(a, b, rtol=0, atol=0)


def test_log_points_are_evenly_spaced_in_log_samples() -> None:
    points = list(itertools.takewhile(lambda p: p <= 10**6, log_points(100)))
    assert points[0] == 100
    assert all(point % 100 == 0 for point in points)
    assert points == sorted(set(points))
    assert {10**3, 10**4, 10**5, 10**6} < set(points)
    late = [point for point in points if 10**5 <= point <= 10**6]
    assert len(late) == 21
    assert all(abs(math.log10(b / a) - 0.05) < 1e-3 for a, b in itertools.pairwise(late))


def test_a_budget_is_rounded_up_to_a_log_point() -> None:
    assert last_log_point(10**6, 100) == 10**6
    assert last_log_point(10**6 + 1, 100) > 10**6
    assert last_log_point(1, 500) == 500


@each_kind
def test_a_short_run_is_a_prefix_of_a_long_one(run: Run) -> None:
    short, long = trained(run, 2000), trained(run, 4000)
    assert len(short.rows) > 0
    assert short.samples < long.samples
    assert long.rows[: len(short.rows)] == short.rows
    assert_equal(trained(run, 4000, short).state(), long.state())


@each_kind
def test_an_interrupted_run_goes_on_as_if_nothing_had_happened(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained(run, 6000)
    monkeypatch.setattr("aevb.training.loop.SAMPLES_BETWEEN_REPORTS", 70)
    broken, saved = job.start(run, IMAGES), []
    with pytest.raises(Stopped):
        train(
            broken,
            6000,
            lambda now: evaluation.evaluate(now, run, IMAGES),
            checkpoint=lambda now: saved.append(now.state()),
            stop_requested=lambda: broken.samples > 4500,
        )
    assert saved[-1]["running_updates"] > 0  # a running average is under way
    resumed = job.start(run, IMAGES)
    resumed.load(saved[-1])
    assert_equal(resumed.state(), broken.state())
    assert_equal(trained(run, 6000, resumed).state(), whole.state())


@each_kind
def test_evaluating_more_often_does_not_change_the_path(run: Run) -> None:
    def evaluate_twice(training: Training) -> Row | None:
        evaluation.evaluate(training, run, IMAGES)
        return evaluation.evaluate(training, run, IMAGES)

    once, often, never = trained(run, 2400), job.start(run, IMAGES), job.start(run, IMAGES)
    train(often, 2400, evaluate_twice)
    train(never, 2400, lambda _: None)
    assert_equal(once.state(), often.state())
    for part in ("parameters", "ascents", "memory", "noise", "order"):
        assert_equal(once.state()[part], never.state()[part])


def test_runs_of_one_seed_differ_from_those_of_another() -> None:
    assert trained(TINY, 100).rows == trained(TINY, 100).rows
    assert trained(TINY, 100).rows != trained(replace(TINY, seed=1), 100).rows


@pytest.mark.parametrize("slow", ["reports", "evaluations"])
def test_a_checkpoint_is_written_whenever_the_last_is_some_time_ago(
    slow: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that goes on by a second in every report, or in every evaluation."""
    training = job.start(TINY, IMAGES)
    reports: list[int] = []
    points: list[int] = []
    saved: list[tuple[int, int]] = []
    clock = reports if slow == "reports" else points

    def evaluate(now: Training) -> Row:
        points.append(now.samples)
        return {}

    monkeypatch.setattr("aevb.training.loop.SAMPLES_BETWEEN_REPORTS", 70)
    monkeypatch.setattr("aevb.training.loop.time", SimpleNamespace(monotonic=lambda: len(clock)))
    train(
        training,
        4000,
        evaluate,
        report=lambda now: reports.append(now.samples),
        checkpoint=lambda now: saved.append((now.samples, len(now.rows))),
        seconds_between_checkpoints=2.5,
    )
    assert saved.pop() == (points[-1], len(points))
    if slow == "evaluations":  # a checkpoint holds the point that it was written after
        assert saved == [(points[n - 1], n) for n in range(3, len(points), 3)]
    else:
        assert [samples for samples, _ in saved] == reports[2::3]
        assert not {samples for samples, _ in saved} <= {*points}


def with_bounds(bound: Callable[[int], float], warmup: int = 5) -> Training:
    """A run that trains nothing and whose learner returns these bounds, by number of the update."""
    training = job.start(replace(TINY, minibatch=1000, warmup=warmup), IMAGES)
    updates = itertools.count(1)
    training.learner.step = lambda x: torch.tensor(bound(next(updates)))  # type: ignore[method-assign]
    return training


def test_the_running_bound_is_the_mean_since_the_last_point_of_the_curve() -> None:
    """Which is not at every log point, where some are passed over."""
    training = with_bounds(float)
    train(training, 40_000, lambda now: {} if now.samples % 2000 == 0 else None)
    assert len(training.rows) > 5
    previous = 0
    for row in training.rows:
        updates = int(row["samples"]) // 1000
        assert row["train_running"] == pytest.approx((previous + 1 + updates) / 2)
        previous = updates


@pytest.mark.parametrize("untrained", [-20.0, 20.0])
@pytest.mark.parametrize(("warmup", "end"), [(5, 100_000), (20, 200_000)])
@pytest.mark.parametrize("factor", [9.9, 10.1])
def test_a_bound_ten_times_as_far_below_zero_as_the_untrained_one_is_a_divergence(
    untrained: float, warmup: int, end: int, factor: float
) -> None:
    """From ten times the warm-up on, and 100,000 samples at least; a checkpoint is written."""
    training = with_bounds(lambda n: untrained if n == 1 else -factor * abs(untrained), warmup)
    saved: list[int] = []
    with pytest.raises(Diverged) if factor > 10 else nullcontext():
        train(training, 4e5, lambda _: {}, checkpoint=lambda now: saved.append(now.samples))
    assert training.has_diverged() == (factor > 10)
    assert saved == [end if factor > 10 else last_log_point(4e5, 1000)]


def test_a_spike_that_heals_in_time_is_no_divergence() -> None:
    """In time is by the log points: a run that is stopped between two can go on."""
    training = with_bounds(lambda n: -1e6 if 10 < n <= 85 else -20.0)
    train(training, 89_000, lambda _: {})
    assert training.rows[-1]["train_running"] < -1e5
    training.advance(11)
    assert training.samples == 100_000
    assert not training.has_diverged()
    train(training, 4e5, lambda _: {})
    assert training.samples == last_log_point(4e5, 1000)


def test_nothing_moves_during_the_warmup() -> None:
    training = job.start(TINY, IMAGES)
    before = training.state()["parameters"]
    training.advance(TINY.warmup)
    assert_equal(training.state()["parameters"], before)
    training.advance(1)
    weight = "encoder.hidden.weight"
    assert not torch.equal(training.state()["parameters"][weight], before[weight])
