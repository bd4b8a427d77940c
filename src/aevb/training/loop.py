"""The training loop: minibatches, log points, checkpoints. Knows no algorithm by name.

Training is on-line and has no schedule, so a budget is only a stopping point: a short run is an
exact prefix of a long one with the same seed.
"""

import math
import time
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Generator, Tensor

from aevb.learners.learner import Learner
from aevb.model.products import Products, products_in
from aevb.model.randomness import indices
from aevb.training.log_points import last_log_point, log_points

SAMPLES_BETWEEN_REPORTS = 20_000
SECONDS_BETWEEN_CHECKPOINTS = 60.0

Row = dict[str, float]
State = dict[str, Any]

# How long a spike at the end of the warm-up may last, see `Training.has_diverged`.
SAMPLES_TO_HEAL, WARMUPS_TO_HEAL = 100_000, 10
FAR_BELOW = 10.0


class Diverged(Exception):
    """The bound of a run is not finite, or far below that of the untrained model."""


class Stopped(Exception):
    """A stop was requested; everything is saved."""


class Training:
    """A run under way.

    Args:
        learner: the algorithm, with the model that it trains.
        points: training images `(N, pixels)`, on the model's device.
        minibatch: M, datapoints per update, drawn uniformly with replacement.
        order: the generator of minibatches; unused if every update takes all points.
        products: precision of large matrix products in training.

    Attributes:
        samples: training samples evaluated so far, as the paper counts them.
        rows: the curve so far.
    """

    def __init__(
        self,
        learner: Learner,
        points: Tensor,
        minibatch: int,
        order: Generator,
        products: Products = "float32",
    ) -> None:
        self.learner, self.points, self.minibatch, self.order = learner, points, minibatch, order
        self.products = products
        self.samples = 0
        self.rows: list[Row] = []
        self._running_sum, self._running_updates = 0.0, 0

    @property
    def samples_per_update(self) -> int:
        """Samples on the paper's axes for one update."""
        return self.minibatch * self.learner.samples_per_datapoint

    @property
    def running_bound(self) -> float:
        """Mean minibatch bound since the last log point, nats per datapoint.

        This is the train curve of the paper's Figure 2.
        """
        return self._running_sum / max(self._running_updates, 1)

    def advance(self, updates: int) -> None:
        """Train on the next `updates` minibatches.

        From the first call on, this process treats denormal numbers as zero.
        """
        # The prior shrinks the weights of blank pixels to denormal numbers, which are slow: the
        # optimiser would take 0.9 ms of an update, not 0.4 ms.
        torch.set_flush_denormal(True)
        total = torch.zeros((), dtype=torch.float64, device=self.points.device)
        with products_in(self.products):
            for _ in range(updates):
                total += self.learner.step(self._next_minibatch())
        self._running_sum += total.item()
        self._running_updates += updates
        self.samples += updates * self.samples_per_update

    def _next_minibatch(self) -> Tensor:
        if self.learner.takes_all_points:
            return self.points
        # Five times as fast as indexing with a tensor.
        return self.points.index_select(0, indices(self.order, self.minibatch, len(self.points)))

    def log(self, evaluation: Row) -> None:
        """Append a curve point and start a new running average."""
        running = self.running_bound
        self.rows.append({"samples": self.samples, "train_running": running, **evaluation})
        self._running_sum, self._running_updates = 0.0, 0

    def has_diverged(self) -> bool:
        """Whether the run has diverged by its latest log point.

        It has if its running bound is not finite. From 100,000 samples and ten times the warm-up
        on, it also has if the bound is ten times as far below zero as that of the untrained model.
        """
        if not self.rows:
            return False
        first, last = self.rows[0], self.rows[-1]
        warmups = (ascent.optimisation.warmup for ascent in self.learner.ascents.values())
        updates = max(warmups, default=0)
        warmup = updates * self.samples_per_update
        healed = last["samples"] >= max(WARMUPS_TO_HEAL * warmup, SAMPLES_TO_HEAL)
        bound, untrained = last["train_running"], first["train_running"]
        return not math.isfinite(bound) or (healed and bound < -FAR_BELOW * abs(untrained))

    def state(self) -> State:
        """Everything that the rest of the run depends on; tensors are copied to the CPU."""
        return {
            "samples": self.samples,
            "rows": [dict(row) for row in self.rows],
            "running_sum": self._running_sum,
            "running_updates": self._running_updates,
            "parameters": _copied(dict(self.learner.model.named_parameters())),
            "ascents": {
                key: {
                    "updates": ascent.updates,
                    "accumulators": {k: _copied(v) for k, v in ascent.accumulators.items()},
                }
                for key, ascent in self.learner.ascents.items()
            },
            "memory": _copied(self.learner.memory),
            "noise": self.learner.noise.get_state(),
            "order": self.order.get_state(),
        }

    @torch.no_grad()
    def load(self, state: State) -> None:
        """Continue from what `state` returned.

        Raises:
            KeyError, ValueError: if something is missing, or of another kind or shape.
        """
        kinds = {"samples": int, "rows": list, "running_sum": float, "running_updates": int}
        if wrong := [key for key, kind in kinds.items() if not isinstance(state[key], kind)]:
            raise ValueError(f"no {', '.join(wrong)}")
        self.samples = state["samples"]
        self.rows = [dict(row) for row in state["rows"]]
        self._running_sum = state["running_sum"]
        self._running_updates = state["running_updates"]
        for name, parameter in self.learner.model.named_parameters():
            _fill(parameter, state["parameters"][name], name)
        for key, ascent in self.learner.ascents.items():
            ascent.updates = int(state["ascents"][key]["updates"])
            for kind, values in ascent.accumulators.items():
                for name, value in values.items():
                    _fill(value, state["ascents"][key]["accumulators"][kind][name], name)
        self.learner.memory = {k: v.to(self.points.device) for k, v in state["memory"].items()}
        self.learner.noise.set_state(state["noise"])
        self.order.set_state(state["order"])


def _fill(target: Tensor, values: Tensor, name: str) -> None:
    if values.shape != target.shape:  # copy_ would repeat smaller ones
        raise ValueError(f"{name}: expected {tuple(target.shape)}, got {tuple(values.shape)}")
    target.copy_(values)


def _copied(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().clone() for name, value in values.items()}


def train(
    training: Training,
    budget: float,
    evaluate: Callable[[Training], Row | None],
    *,
    report: Callable[[Training], None] = lambda _: None,
    checkpoint: Callable[[Training], None] = lambda _: None,
    seconds_between_checkpoints: float = SECONDS_BETWEEN_CHECKPOINTS,
    stop_requested: Callable[[], bool] = lambda: False,
) -> None:
    """Train to the first log point at or beyond `budget` samples.

    Args:
        training: where to start from; changed in place.
        budget: samples, counted from the run's beginning.
        evaluate: called at every log point. Returns further columns of the curve, or None to leave
            the point out.
        report: called every 20,000 samples, or every update if that is more.
        checkpoint: called at the end, at a stop, and at times in between.
        seconds_between_checkpoints: how often in between.
        stop_requested: called as often as `report`.

    Raises:
        Stopped: after a checkpoint, if a stop was requested.
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
        logged = training.rows[-1]["samples"] if training.rows else 0
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
        if (evaluation := evaluate(training)) is not None:
            training.log(evaluation)
        if training.has_diverged():
            save()
            raise Diverged
        if point == end or time.monotonic() - last_checkpoint > seconds_between_checkpoints:
            save()
