"""The loop: log points, prefixes, resuming, stacks. Everything here is exact, bit for bit."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from aevb.data import Dataset
from aevb.training import job
from aevb.training.experiments import Run
from aevb.training.loop import (
    Row,
    Stopped,
    Training,
    last_log_point,
    log_points,
    train,
)

TINY = Run(n_hidden=8, nz=2, minibatch=10, warmup=5, step_size=0.02)
KINDS = [
    replace(TINY, algorithm=algorithm, likelihood=likelihood)
    for algorithm in ("aevb", "wake-sleep")
    for likelihood in ("bernoulli", "gaussian")
]
each_kind = pytest.mark.parametrize(
    "run", KINDS, ids=[f"{run.algorithm}-{run.likelihood}" for run in KINDS]
)


@pytest.fixture
def dataset() -> Dataset:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(120, 12, generator=generator)
    return Dataset("mnist", pixels[:80], pixels[80:90], pixels[90:], (3, 4))


def begin(runs: Sequence[Run], dataset: Dataset) -> Training:
    return job.start(runs, dataset)


def go(training: Training, runs: Sequence[Run], dataset: Dataset, budget: float) -> Training:
    train(training, budget, lambda t: job.evaluate(t, runs, dataset))
    return training


def parameters(training: Training, replicate: int = 0) -> dict[str, torch.Tensor]:
    values: dict[str, torch.Tensor] = training.state(replicate)["parameters"]
    return values


def assert_equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        assert torch.equal(a[name], b[name]), name


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
def test_a_short_run_is_a_prefix_of_a_long_one(run: Run, dataset: Dataset) -> None:
    short = go(begin([run], dataset), [run], dataset, 300)
    long = go(begin([run], dataset), [run], dataset, 1500)
    assert 0 < len(short.rows[0]) < len(long.rows[0])
    assert long.rows[0][: len(short.rows[0])] == short.rows[0]


@each_kind
def test_an_interrupted_run_gives_the_curve_of_an_uninterrupted_one(
    run: Run, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = go(begin([run], dataset), [run], dataset, 6000)
    monkeypatch.setattr("aevb.training.loop.SAMPLES_BETWEEN_REPORTS", 70)
    broken = begin([run], dataset)
    saved = []
    with pytest.raises(Stopped):
        train(
            broken,
            6000,
            lambda t: job.evaluate(t, [run], dataset),
            checkpoint=lambda t: saved.append(t.state(0)),
            stop_requested=lambda: broken.samples > 4500,
        )
    resumed = begin([replace(run)], dataset)
    resumed.load([saved[-1]])
    assert resumed.samples == broken.samples
    # Between two log points, where a running average is under way.
    assert resumed.samples not in list(itertools.takewhile(lambda p: p < 7000, log_points(10)))
    go(resumed, [run], dataset, 6000)
    assert resumed.rows == whole.rows
    assert_equal(parameters(resumed), parameters(whole))


@each_kind
def test_evaluating_more_often_does_not_change_the_path(run: Run, dataset: Dataset) -> None:
    def evaluate_thrice(training: Training) -> list[Row]:
        return [job.evaluate(training, [run], dataset) or [] for _ in range(3)][-1]

    once = go(begin([run], dataset), [run], dataset, 500)
    often = begin([run], dataset)
    train(often, 500, evaluate_thrice)
    never = begin([run], dataset)
    train(never, 500, lambda _: [{}])
    assert once.rows == often.rows
    assert_equal(parameters(once), parameters(often))
    assert_equal(parameters(once), parameters(never))


@each_kind
@pytest.mark.usefixtures("double_precision")
def test_a_stack_trains_each_run_as_if_alone(run: Run) -> None:
    """But for rounding: alone a run takes the steps by hand, and products have other shapes."""
    pixels = torch.rand(120, 12, generator=torch.Generator().manual_seed(0))
    dataset = Dataset("mnist", pixels[:80], pixels[80:90], pixels[90:], (3, 4))
    runs = [run, replace(run, seed=1), replace(run, nz=5), replace(run, step_size=0.1)]
    stack = go(begin(runs, dataset), runs, dataset, 1000)
    for r, one in enumerate(runs):
        alone = go(begin([one], dataset), [one], dataset, 1000)
        for mine, its in zip(stack.rows[r], alone.rows[0], strict=True):
            assert mine == pytest.approx(its, rel=1e-9)
        for name, value in parameters(alone).items():
            torch.testing.assert_close(parameters(stack, r)[name], value, rtol=1e-9, atol=1e-9)


def test_runs_of_one_seed_differ_from_those_of_another(dataset: Dataset) -> None:
    a = go(begin([TINY], dataset), [TINY], dataset, 100)
    other = replace(TINY, seed=1)
    b = go(begin([other], dataset), [other], dataset, 100)
    assert a.rows != b.rows


def test_no_process_records_its_first_update(dataset: Dataset) -> None:
    """On a GPU, libraries set themselves up in it; nor is there a warm-up after a checkpoint."""
    first = begin([TINY], dataset)
    first.advance(TINY.warmup)
    assert not first._may_replay()  # nothing has moved
    first.advance(1)
    assert first._may_replay()
    second = begin([TINY], dataset)
    second.load([first.state(0)])
    assert not second._may_replay()
    second.advance(1)
    assert second._may_replay()


@pytest.mark.parametrize("slow", ["reports", "evaluations"])
def test_a_checkpoint_is_written_whenever_the_last_is_some_time_ago(
    slow: str, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that goes on by a second in every report, or in every evaluation."""
    training = begin([TINY], dataset)
    clock = 0
    reports: list[int] = []
    saved: list[tuple[int, int]] = []

    def report(training: Training) -> None:
        nonlocal clock
        clock += slow == "reports"
        reports.append(training.samples)

    def evaluate(_: Training) -> list[Row]:
        nonlocal clock
        clock += slow == "evaluations"
        return [{}]

    monkeypatch.setattr("aevb.training.loop.SAMPLES_BETWEEN_REPORTS", 70)
    monkeypatch.setattr("aevb.training.loop.time", SimpleNamespace(monotonic=lambda: clock))
    train(
        training,
        4000,
        evaluate,
        report=report,
        checkpoint=lambda t: saved.append((t.samples, len(t.rows[0]))),
        seconds_between_checkpoints=2.5,
    )
    points = [int(row["samples"]) for row in training.rows[0]]
    assert saved.pop() == (points[-1], len(points))
    if slow == "evaluations":  # a checkpoint holds the point that it was written after
        assert saved == [(points[n - 1], n) for n in range(3, len(points), 3)]
    else:
        assert [samples for samples, _ in saved] == reports[2::3]
        assert not {samples for samples, _ in saved} <= {*points}


def test_runs_at_different_samples_cannot_be_stacked(dataset: Dataset) -> None:
    a = go(begin([TINY], dataset), [TINY], dataset, 100)
    b = go(begin([TINY], dataset), [TINY], dataset, 200)
    stack = begin([TINY, TINY], dataset)
    with pytest.raises(ValueError, match="same number of samples"):
        stack.load([a.state(0), b.state(0)])


def test_the_running_bound_is_the_mean_since_the_last_log_point(dataset: Dataset) -> None:
    training = begin([TINY], dataset)
    bounds: list[float] = []
    step = training.learner.step

    def recorded(x: torch.Tensor) -> torch.Tensor:
        bound = step(x)
        bounds.append(float(bound))
        return bound

    training.learner.step = recorded  # type: ignore[method-assign]
    train(training, 400, lambda _: [{}])
    previous = 0
    for row in training.rows[0]:
        updates = int(row["samples"]) // TINY.minibatch
        expected = sum(bounds[previous:updates]) / (updates - previous)
        assert row["train_running"] == pytest.approx(expected, rel=1e-6)
        previous = updates


def test_nothing_moves_during_the_warmup(dataset: Dataset) -> None:
    training = begin([TINY], dataset)
    before = parameters(training)
    training.advance(TINY.warmup)
    assert_equal(parameters(training), before)
    training.advance(1)
    assert not torch.equal(
        parameters(training)["encoder.hidden.weight"], before["encoder.hidden.weight"]
    )
