"""The experiments of the chapter *What older models could do*, on black-and-white MNIST.

Each trains a learner in the loop of `training`, with one seed, and ends with what it measured.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, ClassVar, NamedTuple

import pandas as pd
import torch
from torch import Generator, Tensor

from aevb.data import Dataset
from aevb.inference.annealing import LogPartition, log_partition
from aevb.inference.likelihood import marginal_loglik
from aevb.learners.learner import Learner
from aevb.learners.optimiser import Optimisation
from aevb.model.randomness import generator, normal
from aevb.older import mixture, rbm
from aevb.older.dbn import DBN, GreedyTop
from aevb.older.mixture import EM
from aevb.older.rbm import RBM, ContrastiveDivergence, FromBiases, mean_logits
from aevb.training import evaluation, job
from aevb.training.experiments import figure2_run
from aevb.training.loop import Row, Training
from aevb.training.run import Run

MINIBATCH = 100
N_HIDDEN = 500
PICTURES = 20  # samples that are kept as a picture
CHAIN_STEPS = 1000  # Gibbs steps for a sample
SHOWN_STEPS = (0, 1, 10, 100, 1000)  # of the chains whose pictures are kept
CHAINS = 100  # of annealed importance sampling
SHORT, LONG = 1000, 5000  # its temperatures, on the way and at the end


class Report(NamedTuple):
    """What an experiment measured at its end.

    Attributes:
        numbers: by name; `test` is log p(x) or its bound, nats per datapoint.
        pictures: images by name, `(n, pixels)` each, means of the pixels.
        tables: by name.
    """

    numbers: dict[str, float]
    pictures: dict[str, Tensor]
    tables: dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Experiment:
    """One learner, one seed.

    Attributes:
        seed: of all random streams.
        samples: where the training stops.
        kind: what stands in the column `test`.
        needs: name of the experiment whose model this one starts from; empty for none.
    """

    seed: int
    samples: float
    kind: ClassVar[str]
    needs: ClassVar[str] = ""

    def configuration(self) -> dict[str, Any]:
        """Every setting, as the manifest has it."""
        settings = asdict(self)
        settings.get("optimisation", {}).pop("share", None)  # which no older model reads
        return settings

    def start(self, dataset: Dataset, before: Mapping[str, Tensor]) -> Training:
        """The training before its first update; `before` is the model of `needs`."""
        raise NotImplementedError

    def evaluate(self, training: Training, dataset: Dataset) -> Row:
        """Columns of the curve; `test` is of all test images, with its error over them."""
        raise NotImplementedError

    def finish(self, training: Training, dataset: Dataset) -> Report:
        """What is measured once, at the end."""
        raise NotImplementedError

    def noise(self, purpose: str) -> Generator:
        """A random stream."""
        return generator(self.seed, purpose)

    def training(self, learner: Learner, points: Tensor, minibatch: int = MINIBATCH) -> Training:
        """The loop's training of a learner."""
        return Training(learner, points, minibatch, self.noise("minibatches"))


def _row(**values: Tensor) -> Row:
    """Means over datapoints, and their standard errors."""
    row: Row = {}
    for name, per_point in values.items():
        row[name] = per_point.double().mean().item()
        row[f"{name}_se"] = per_point.double().std().item() / len(per_point) ** 0.5
    return row


def _normalised(z: LogPartition, train: Tensor, test: Tensor) -> Row:
    """Means of logs of unnormalised probabilities, less log Z; and how log Z was estimated."""
    annealing = {"log_z": z.log_z, "log_z_error": z.error, "chains": z.effective_chains}
    return _row(train=train - z.log_z, test=test - z.log_z) | annealing


def _seconds(work: Callable[[], object]) -> float:
    """Processor seconds of some work."""
    start = time.process_time()
    work()
    return time.process_time() - start


@dataclass(frozen=True)
class Mixture(Experiment):
    """A mixture of Bernoullis by EM; an iteration counts every training image once."""

    samples: float = 1.5e6  # 32 iterations
    components: int = 10
    pseudo_counts: float = 0.1
    kind: ClassVar[str] = "exact"

    def start(self, dataset: Dataset, before: Mapping[str, Tensor]) -> Training:
        """As `Experiment.start`."""
        model = mixture.started(dataset.train, self.components, self.noise("initialisation"))
        learner = EM(model, Optimisation(), self.noise("noise"), pseudo_counts=self.pseudo_counts)
        return self.training(learner, dataset.train, len(dataset.train))

    def evaluate(self, training: Training, dataset: Dataset) -> Row:
        """As `Experiment.evaluate`."""
        model: mixture.BernoulliMixture = training.learner.mixture  # type: ignore[attr-defined]
        train = evaluation.evaluated(dataset.train)
        return _row(train=model.loglik(train), test=model.loglik(dataset.test))

    def finish(self, training: Training, dataset: Dataset) -> Report:
        """As `Experiment.finish`; `largest_share` is the mean of max p(k|x) over test images."""
        model: mixture.BernoulliMixture = training.learner.mixture  # type: ignore[attr-defined]
        share = torch.softmax(model.log_joint(dataset.test), 1).amax(1).mean().item()
        numbers = self.evaluate(training, dataset) | {
            "largest_share": share,
            "seconds_per_1000_samples": _seconds(lambda: model.means(1000, self.noise("timed"))),
        }
        return Report(numbers, {"samples": model.means(PICTURES, self.noise("samples"))}, {})


def temperatures(n: int) -> list[float]:
    """Temperatures in n steps from 0 to 1: a third up to 0.5, a third up to 0.9, a third above."""
    parts = [torch.linspace(a, b, n // 3 + 1)[:-1] for a, b in ((0, 0.5), (0.5, 0.9))]
    last = torch.linspace(0.9, 1, n - 2 * (n // 3) + 1)
    return [*torch.cat(parts).double().tolist(), *last.double().tolist()[:-1], 1.0]


def annealed(machine: RBM, base: Tensor, steps: int, noise: Generator) -> LogPartition:
    """Log Z of a machine by annealed importance sampling, with `CHAINS` chains."""
    return log_partition(FromBiases(machine, base), temperatures(steps), CHAINS, noise)


def autocorrelation(
    machine: RBM, v: Tensor, noise: Generator, *, burn_in: int = 1000, lags: int = 1000
) -> pd.DataFrame:
    """How long the Gibbs chain remembers: the autocorrelation of the pixels' probabilities.

    Args:
        machine: whose chain it is.
        v: where the chains start, `(chains, pixels)`.
        noise: of the chains.
        burn_in: steps before; the mean image is taken over their second half.
        lags: the largest lag; as many steps are run after four origins.

    Returns:
        `step` and `autocorrelation`, averaged over chains, pixels and origins.
    """

    def move(v: Tensor) -> tuple[Tensor, Tensor]:
        h = rbm.drawn(machine.hidden_logits(v), noise)
        mean = torch.sigmoid(machine.visible_logits(h))
        return torch.bernoulli(mean, generator=noise), mean

    centre = torch.zeros_like(machine.visible_bias)
    for step in range(burn_in):
        v, mean = move(v)
        if step >= burn_in // 2:
            centre += mean.mean(0) / (burn_in - burn_in // 2)
    every = max(1, lags // 4)
    origins: list[tuple[int, Tensor]] = []
    products = torch.zeros(lags + 1, dtype=torch.float64)
    counts = torch.zeros(lags + 1)
    for step in range(lags + 3 * every + 1):
        v, mean = move(v)
        mean = mean - centre
        if step % every == 0 and len(origins) < 4:
            origins.append((step, mean))
        for start, origin in origins:
            if (lag := step - start) <= lags:
                products[lag] += torch.dot(origin.view(-1), mean.view(-1))
                counts[lag] += 1
    correlation = products / counts
    kept = sorted({0, *(round(10 ** (k / 10)) for k in range(0, 61))})
    kept = [lag for lag in kept if lag <= lags]
    values = (correlation / correlation[0])[kept].tolist()
    return pd.DataFrame({"step": kept, "autocorrelation": values})


@dataclass(frozen=True)
class Machine(Experiment):
    """An RBM by contrastive divergence."""

    samples: float = 1.12e6
    n_hidden: int = N_HIDDEN
    schedule: tuple[tuple[int, int], ...] = ((0, 1),)
    persistent: bool = False
    optimisation: Optimisation = field(
        default_factory=lambda: Optimisation(step_size=0.05, weight_decay=MINIBATCH / 50_000)
    )
    kind: ClassVar[str] = "log Z by annealed importance sampling"

    def start(self, dataset: Dataset, before: Mapping[str, Tensor]) -> Training:
        """As `Experiment.start`."""
        machine = rbm.started(dataset.train, self.n_hidden, self.noise("initialisation"))
        learner = ContrastiveDivergence(
            machine,
            self.optimisation,
            self.noise("noise"),
            schedule=self.schedule,
            persistent=self.persistent,
        )
        return self.training(learner, dataset.train)

    def _estimate(self, machine: RBM, dataset: Dataset, steps: int, purpose: str) -> Row:
        z = annealed(machine, mean_logits(dataset.train), steps, self.noise(purpose))
        train = machine.log_unnormalised(evaluation.evaluated(dataset.train))
        return _normalised(z, train, machine.log_unnormalised(dataset.test))

    def evaluate(self, training: Training, dataset: Dataset) -> Row:
        """As `Experiment.evaluate`."""
        machine: RBM = training.learner.rbm  # type: ignore[attr-defined]
        return self._estimate(machine, dataset, SHORT, f"annealing at {training.samples}")

    def finish(self, training: Training, dataset: Dataset) -> Report:
        """As `Experiment.finish`, with the chain's autocorrelation and log Z by annealings."""
        machine: RBM = training.learner.rbm  # type: ignore[attr-defined]
        base = mean_logits(dataset.train)
        by_length = []
        for steps in (100, SHORT, LONG):
            row = self._estimate(machine, dataset, steps, f"final annealing {steps}")
            by_length.append({"temperatures": steps, **row})
        noise = self.noise("samples")
        v = rbm.drawn(base.repeat(1000, 1), noise)
        per_step = _seconds(lambda: machine.gibbs(v, noise, 20)) / 20
        numbers = {key: value for key, value in by_length[-1].items() if key != "temperatures"}
        numbers["seconds_per_1000_samples"] = per_step * CHAIN_STEPS
        fantasies = machine.gibbs(v[:PICTURES], noise, CHAIN_STEPS - 1)
        shown, at = [], dataset.test[:10]
        for before, after in zip((0, *SHOWN_STEPS), SHOWN_STEPS, strict=False):
            if after == 0:
                shown.append(at)
                continue
            at = machine.gibbs(at, noise, after - before - 1)
            h = rbm.drawn(machine.hidden_logits(at), noise)
            mean = torch.sigmoid(machine.visible_logits(h))
            shown.append(mean)
            at = torch.bernoulli(mean, generator=noise)
        h = rbm.drawn(machine.hidden_logits(fantasies), noise)
        pictures = {
            "samples": torch.sigmoid(machine.visible_logits(h)),
            "chain": torch.cat(shown),
        }
        chains = dataset.test[:CHAINS]
        tables = {
            "mixing": autocorrelation(machine, chains, self.noise("mixing")),
            "annealing": pd.DataFrame(by_length),
        }
        return Report(numbers, pictures, tables)


@dataclass(frozen=True)
class Deep(Experiment):
    """A second layer on the machine of `needs`, which the top begins upside down.

    With the step size of the first layer, Adagrad's first steps lose that start.
    """

    samples: float = 5.0e5
    optimisation: Optimisation = field(
        default_factory=lambda: Optimisation(step_size=0.01, weight_decay=MINIBATCH / 50_000)
    )
    kind: ClassVar[str] = "lower bound, log Z by annealed importance sampling"
    needs: ClassVar[str] = "rbm-pcd"

    def start(self, dataset: Dataset, before: Mapping[str, Tensor]) -> Training:
        """As `Experiment.start`."""
        lower = RBM(*before["weight"].shape)
        lower.load_state_dict(dict(before))
        model = DBN(lower, lower.upside_down())
        learner = GreedyTop(model, self.optimisation, self.noise("noise"), persistent=True)
        return self.training(learner, dataset.train)

    def _estimate(self, model: DBN, dataset: Dataset, steps: int, at: str) -> Row:
        # From the side of h₂: the top began upside down, so that is where the images were.
        h = torch.sigmoid(model.lower.hidden_logits(evaluation.evaluated(dataset.train)))
        base = mean_logits(torch.sigmoid(model.top.hidden_logits(h)))
        z = annealed(model.top.upside_down(), base, steps, self.noise(f"annealing {at}"))
        noise = self.noise(f"q {at}")
        train = model.log_ratio(evaluation.evaluated(dataset.train), noise)
        return _normalised(z, train, model.log_ratio(dataset.test, noise))

    def evaluate(self, training: Training, dataset: Dataset) -> Row:
        """As `Experiment.evaluate`."""
        model: DBN = training.learner.dbn  # type: ignore[attr-defined]
        return self._estimate(model, dataset, SHORT, f"at {training.samples}")

    def finish(self, training: Training, dataset: Dataset) -> Report:
        """As `Experiment.finish`; `importance_sampled` is log p(x) from 50 draws of q."""
        model: DBN = training.learner.dbn  # type: ignore[attr-defined]
        numbers = self._estimate(model, dataset, LONG, "at the end")
        noise, images = self.noise("importance"), dataset.test[:1000]
        log_ratios = torch.stack([model.log_ratio(images, noise) for _ in range(50)])
        log_px = torch.logsumexp(log_ratios, 0) - math.log(len(log_ratios)) - numbers["log_z"]
        numbers |= {
            "importance_sampled": log_px.mean().item(),
            "bound_of_the_same": log_ratios.mean().item() - numbers["log_z"],
        }
        noise = self.noise("samples")
        v = rbm.drawn(mean_logits(dataset.train).repeat(1000, 1), noise)
        h = rbm.drawn(model.lower.hidden_logits(v), noise)
        per_step = _seconds(lambda: model.means(h, noise, 20)) / 20
        numbers["seconds_per_1000_samples"] = per_step * CHAIN_STEPS
        pictures = {"samples": model.means(h[:PICTURES], noise, CHAIN_STEPS)}
        mixing = autocorrelation(model.top, h[:CHAINS], noise)
        return Report(numbers, pictures, {"mixing": mixing})


@dataclass(frozen=True)
class VariationalAutoEncoder(Experiment):
    """AEVB, as in the runs of Figure 2 with 20 latent dimensions, on these pixels."""

    samples: float = 1.12e6
    nz: int = 20
    draws: int = 300
    kind: ClassVar[str] = "importance sampling"

    @property
    def run(self) -> Run:
        """The run of the library."""
        paper = figure2_run("mnist", self.nz, "aevb", self.seed)
        return replace(paper, study="older", pixels="binary")

    def configuration(self) -> dict[str, Any]:
        """As `Experiment.configuration`, with every setting of the run."""
        return asdict(self) | {"run": self.run.configuration}

    def start(self, dataset: Dataset, before: Mapping[str, Tensor]) -> Training:
        """As `Experiment.start`."""
        return job.start(self.run, dataset)

    def evaluate(self, training: Training, dataset: Dataset) -> Row:
        """As `Experiment.evaluate`; `test` is log p(x) of 1,000 images from 100 draws."""
        noise = self.noise(f"evaluation at {training.samples}")
        model, images = training.learner.model, dataset.test[:1000]
        bounds = evaluation.lower_bounds(model, training.points, dataset, noise)
        test = marginal_loglik(model, images, noise, n_samples=100)
        return _row(train_bound=bounds["train"], test_bound=bounds["test"], test=test)

    def finish(self, training: Training, dataset: Dataset) -> Report:
        """As `Experiment.finish`, from `draws` draws for every test image."""
        model, noise = training.learner.model, self.noise("final evaluation")
        bounds = evaluation.lower_bounds(model, training.points, dataset, noise)
        parts = [
            marginal_loglik(model, rows, noise, n_samples=self.draws)
            for rows in dataset.test.split(1000)  # type: ignore[no-untyped-call]
        ]
        train = marginal_loglik(
            model, evaluation.evaluated(dataset.train)[:1000], noise, n_samples=self.draws
        )
        numbers = _row(train=train, test=torch.cat(parts), test_bound=bounds["test"])

        @torch.no_grad()
        def means(n: int) -> Tensor:
            mean: Tensor = model.decoder(normal(noise, n, self.nz)).mean
            return mean

        numbers["seconds_per_1000_samples"] = _seconds(lambda: means(1000))
        return Report(numbers, {"samples": means(PICTURES)}, {})


# CD-k with k from 1 to 25, growing as in Salakhutdinov & Murray (2008), in fewer updates.
GROWING = ((0, 1), (6_500, 5), (7_500, 25))

EXPERIMENTS: dict[str, Callable[[int], Experiment]] = {
    "mixture-k10": partial(Mixture, components=10),
    "mixture-k100": partial(Mixture, components=100),
    "mixture-k500": partial(Mixture, components=500),
    "rbm-cd1": partial(Machine),
    "rbm-cd25": partial(Machine, samples=7.9e5, schedule=GROWING),
    "rbm-pcd": partial(Machine, samples=8.9e5, persistent=True),
    "dbn": partial(Deep),
    "aevb": partial(VariationalAutoEncoder),
}
