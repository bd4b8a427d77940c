"""The training loop: minibatches, log points, checkpoints. Knows no algorithm by name.

Training is on-line and has no schedule, so a short run is an exact prefix of a long one with the
same seed: a budget is only a stopping point.
"""

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from aevb.learners import Learner
from aevb.model.networks import Architecture, load_replicate, parameter_shapes
from aevb.model.products import Products, products_in
from aevb.model.randomness import Streams

LOG_POINTS_PER_DECADE = 20
SAMPLES_BETWEEN_REPORTS = 20_000

Row = dict[str, float]
State = dict[str, Any]


# Before so many samples a spike at the end of the warm-up may heal: see `Training.has_diverged`.
SAMPLES_TO_HEAL = 100_000
FAR_BELOW = 10.0


class Diverged(Exception):
    """The bound of a run is not finite, or far below that of the untrained model."""


class Stopped(Exception):
    """The user or the machine asked the run to end; what there was to keep has been written."""


def log_points(per_update: int) -> Iterator[int]:
    """Sample counts at which a curve has a point.

    Evenly spaced in log10(samples), 20 a decade, rounded to whole updates, without repeats; the
    first after one update. Without end.
    """
    previous, k = 0, 0
    while True:
        point = max(1, round(10 ** (k / LOG_POINTS_PER_DECADE) / per_update)) * per_update
        if point > previous:
            yield point
        previous, k = point, k + 1


def last_log_point(budget: float, per_update: int) -> int:
    """The first log point at or beyond `budget` samples: where a run with that budget stops."""
    return next(point for point in log_points(per_update) if point >= budget)


class Training:
    """A stack of runs under way.

    Args:
        learner: the algorithm, holding the stack's networks.
        architectures: of each replicate.
        points: training images `(n, pixels)`, on the learner's device.
        minibatch: M, datapoints per update, drawn uniformly with replacement.
        order: the stream of minibatch indices; None where every update takes all points in order.
        products: what the factors of large matrix products are rounded to while training.
    """

    def __init__(
        self,
        learner: Learner,
        architectures: Sequence[Architecture],
        points: Tensor,
        minibatch: int,
        order: Streams | None,
        products: Products = "float32",
    ) -> None:
        self.learner, self.points, self.minibatch, self.order = learner, points, minibatch, order
        self.products = products
        self._streams = {"noise": learner.noise} | ({} if order is None else {"minibatches": order})
        self._shapes = [parameter_shapes(a) for a in architectures]
        self.samples = 0
        self.rows: list[list[Row]] = [[] for _ in architectures]
        self._running_sum = torch.zeros(len(architectures), dtype=torch.float64)
        self._sum = torch.zeros(len(architectures), dtype=torch.float64, device=points.device)
        self._running_updates = 0
        self._updated = False
        self._recorded: torch.cuda.CUDAGraph | None = None
        self._recorded_counts: list[int] = []  # by how much a replay advances each ascent

    @property
    def samples_per_update(self) -> int:
        """By how much an update moves a run along the paper's axes."""
        return self.minibatch * self.learner.samples_per_datapoint

    @property
    def running_bound(self) -> Tensor:
        """Mean minibatch bound since the last log point, `(replicates,)`, nats per datapoint.

        This is the train curve of the paper's Figure 2.
        """
        return self._running_sum / max(self._running_updates, 1)

    def advance(self, updates: int) -> None:
        """Train on the next `updates` minibatches.

        From here on the process takes denormal numbers for zeros.
        """
        # The prior shrinks weights at pixels that are never inked into denormal numbers, on which
        # a CPU is slow: the optimiser would take 0.9 ms instead of 0.4 ms of a 3.6 ms update.
        torch.set_flush_denormal(True)
        self._sum.zero_()
        with products_in(self.products):
            for _ in range(updates):
                if self.points.device.type == "cuda" and self._may_replay():
                    self._replay()
                else:
                    self._update()
        self._running_sum += self._sum.cpu()
        self._running_updates += updates
        self.samples += updates * self.samples_per_update

    def _update(self) -> None:
        self._updated = True
        if self.order is None:
            self._sum += self.learner.step(self.points.expand(len(self.rows), -1, -1))
            return
        indices = self.order.indices(self.minibatch, len(self.points))
        # index_select copies rows five times as fast as indexing with a tensor does.
        x = self.points.index_select(0, indices.flatten()).view(*indices.shape, -1)
        self._sum += self.learner.step(x)

    # On a GPU an update is dozens of small kernels, and launching them takes longer than running
    # them. So one update is recorded as a CUDA graph and replayed: the same work, no host. One
    # update comes before it in every process: libraries set themselves up in their first call,
    # which cannot be recorded.

    def _may_replay(self) -> bool:
        return self._updated and all(ascent.repeats for ascent in self.learner.ascents.values())

    def _replay(self) -> None:
        ascents = self.learner.ascents.values()
        if self._recorded is None:
            graph = torch.cuda.CUDAGraph()
            for streams in self._streams.values():
                for generator in streams.generators:
                    graph.register_generator_state(generator)
            before = [ascent.updates for ascent in ascents]
            with torch.cuda.graph(graph):  # records, does not run
                self._update()
            self._recorded_counts = [a.updates - n for a, n in zip(ascents, before, strict=True)]
            for ascent, count in zip(ascents, before, strict=True):
                ascent.updates = count
            self._recorded = graph
        self._recorded.replay()
        for ascent, count in zip(ascents, self._recorded_counts, strict=True):
            ascent.updates += count

    def log(self, evaluations: Sequence[Row]) -> None:
        """Append a curve point to every run and start a new running average."""
        for rows, running, evaluation in zip(
            self.rows, self.running_bound.tolist(), evaluations, strict=True
        ):
            rows.append({"samples": self.samples, "train_running": running, **evaluation})
        self._running_sum.zero_()
        self._running_updates = 0

    def has_diverged(self) -> bool:
        """Whether every run of the stack has diverged by its latest log point.

        A run has diverged where its running bound is not finite. From 100,000 samples and ten
        times the warm-up on, it also has where its bound is ten times as far below zero as that of
        the untrained model.
        """
        if not self.rows[0]:
            return False
        updates = max(ascent.optimisation.warmup for ascent in self.learner.ascents.values())
        warmup = updates * self.samples_per_update
        logged = self.rows[0][-1]["samples"]
        healed = logged >= max(FAR_BELOW * warmup, SAMPLES_TO_HEAL)

        def lost(rows: list[Row]) -> bool:
            first, last = rows[0]["train_running"], rows[-1]["train_running"]
            return not math.isfinite(last) or (healed and last < -FAR_BELOW * abs(first))

        return all(lost(rows) for rows in self.rows)

    def state(self, replicate: int) -> State:
        """Everything that the rest of a run depends on, parameters without padding, on the CPU."""

        def own(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
            shapes = self._shapes[replicate]
            return {
                name: value.detach()[replicate][tuple(slice(n) for n in shapes[name])].cpu().clone()
                for name, value in values.items()
            }

        return {
            "samples": self.samples,
            "rows": [dict(row) for row in self.rows[replicate]],
            "running_sum": self._running_sum[replicate].item(),
            "running_updates": self._running_updates,
            "parameters": own(dict(self.learner.model.named_parameters())),
            "ascents": {
                key: {
                    "updates": ascent.updates,
                    "accumulators": {k: own(v) for k, v in ascent.accumulators.items()},
                }
                for key, ascent in self.learner.ascents.items()
            },
            "memory": {k: v[replicate].cpu().clone() for k, v in self.learner.memory.items()},
            "streams": {
                purpose: streams.generators[replicate].get_state()
                for purpose, streams in self._streams.items()
            },
        }

    def load(self, states: Sequence[State]) -> None:
        """Continue from what `state` returned for each run.

        Raises:
            ValueError: if the runs do not all stand at the same number of samples.
        """
        if len({state["samples"] for state in states}) != 1:
            raise ValueError("runs can train as one stack only from the same number of samples")
        self._recorded = None
        for r, state in enumerate(states):
            self.samples = state["samples"]
            self.rows[r] = [dict(row) for row in state["rows"]]
            self._running_sum[r] = state["running_sum"]
            self._running_updates = state["running_updates"]
            load_replicate(dict(self.learner.model.named_parameters()), r, state["parameters"])
            for key, ascent in self.learner.ascents.items():
                ascent.updates = state["ascents"][key]["updates"]
                for name, values in state["ascents"][key]["accumulators"].items():
                    load_replicate(ascent.accumulators[name], r, values)
            for name, value in state["memory"].items():
                self.learner.memory[name][r].copy_(value)
            for purpose, streams in self._streams.items():
                streams.generators[r].set_state(state["streams"][purpose])


def train(
    training: Training,
    budget: float,
    evaluate: Callable[[Training], Sequence[Row] | None],
    *,
    report: Callable[[Training], None] = lambda _: None,
    checkpoint: Callable[[Training], None] = lambda _: None,
    seconds_between_checkpoints: float = 60.0,
    stop_requested: Callable[[], bool] = lambda: False,
) -> None:
    """Train to the first log point at or beyond `budget` samples.

    Args:
        training: where to start from; moved in place.
        budget: samples of each run, from its beginning.
        evaluate: called at every log point; a row of further columns for each run, or None to
            pass the point over.
        report: called every 20,000 samples, or every update if that is more, for progress.
        checkpoint: called at the end, when a stop is requested, and whenever the last is some time
            ago.
        seconds_between_checkpoints: how long that time is.
        stop_requested: asked as often.

    Raises:
        Stopped: after a checkpoint, when a stop was requested.
        Diverged: after a checkpoint, at the first log point where the training has diverged.
    """
    if training.has_diverged():
        raise Diverged
    last_checkpoint = time.monotonic()

    def save() -> None:
        nonlocal last_checkpoint
        checkpoint(training)
        last_checkpoint = time.monotonic()

    per_update = training.samples_per_update
    updates_between_reports = max(1, SAMPLES_BETWEEN_REPORTS // per_update)
    end = last_log_point(budget, per_update)
    for point in log_points(per_update):
        if point > end:
            return
        logged = training.rows[0][-1]["samples"] if training.rows[0] else 0
        if point < training.samples or point == logged:
            continue
        while training.samples < point:
            left = math.ceil((point - training.samples) / per_update)
            training.advance(min(left, updates_between_reports))
            report(training)
            if stop_requested():
                save()
                raise Stopped
            if time.monotonic() - last_checkpoint > seconds_between_checkpoints:
                save()
        if (evaluations := evaluate(training)) is not None:
            training.log(evaluations)
        if training.has_diverged():
            save()
            raise Diverged
        if point == end or time.monotonic() - last_checkpoint > seconds_between_checkpoints:
            save()
