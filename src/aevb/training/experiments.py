"""The paper's runs as data: one frozen configuration per curve, its name, its command, budgets."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields, replace
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from aevb import data
from aevb.errors import ConfigurationError
from aevb.learners.aevb import AEVB
from aevb.learners.mcem import MCEM
from aevb.learners.wake_sleep import WakeSleep
from aevb.model.networks import Architecture
from aevb.model.products import Products
from aevb.training.loop import last_log_point

Algorithm = Literal["aevb", "wake-sleep", "mcem"]

LEARNERS: dict[Algorithm, type[AEVB | WakeSleep | MCEM]] = {
    "aevb": AEVB,
    "wake-sleep": WakeSleep,
    "mcem": MCEM,
}

Likelihood = Literal["bernoulli", "gaussian"]

DATASETS: dict[str, dict[str, Any]] = {
    "mnist": {"likelihood": "bernoulli", "n_hidden": 500, "minibatch": 100},
    # Every x of the paper's Frey Face curves is a multiple of 500.
    "freyface": {"likelihood": "gaussian", "n_hidden": 200, "minibatch": 500},
}
NZ: dict[data.Name, tuple[int, ...]] = {"mnist": (3, 5, 10, 20, 200), "freyface": (2, 5, 10, 20)}
N_TRAIN = (1000, 50_000)
ALGORITHMS: dict[str, tuple[Algorithm, ...]] = {
    "figure2": ("aevb", "wake-sleep"),
    "figure3": ("aevb", "wake-sleep", "mcem"),
}
# The right-hand edges of the paper's figures: by data set in Figure 2, by n_train in Figure 3.
PAPER_BUDGET = {"mnist": 2.5e8, "freyface": 1e8, 1000: 6e7, 50_000: 6.8e7}
# What two cores reach in minutes. In Figure 3 it is the evaluations that take them.
QUICK_BUDGET = {"mnist": 1e6, "freyface": 1e6, 1000: 2e5, 50_000: 1e5}
BUDGETS = {"quick": QUICK_BUDGET, "paper": PAPER_BUDGET}

# Section 5's candidates for the step size, chosen by "performance on the training set in the first
# few iterations": here by the highest running bound after ten of the intervals in which
# the authors' log has points. The choice is made with seed 0 and holds for every seed.
CANDIDATES = (0.01, 0.02, 0.1)
SELECTION = "step-size-selection"
LOGGING_INTERVAL = {"mnist": 235_000, "freyface": 465_000}
SELECTION_INTERVALS = 10

# What `aevb select` chose, from the curves in results/curves/step-size-selection; a test compares.
STEP_SIZES: dict[tuple[str | int, int, str], float] = {
    ("mnist", 3, "aevb"): 0.1,
    ("mnist", 3, "wake-sleep"): 0.02,
    ("mnist", 5, "aevb"): 0.02,
    ("mnist", 5, "wake-sleep"): 0.02,
    ("mnist", 10, "aevb"): 0.02,
    ("mnist", 10, "wake-sleep"): 0.02,
    ("mnist", 20, "aevb"): 0.02,
    ("mnist", 20, "wake-sleep"): 0.02,
    ("mnist", 200, "aevb"): 0.01,
    ("mnist", 200, "wake-sleep"): 0.02,
    ("freyface", 2, "aevb"): 0.01,
    ("freyface", 2, "wake-sleep"): 0.01,
    ("freyface", 5, "aevb"): 0.01,
    ("freyface", 5, "wake-sleep"): 0.02,
    ("freyface", 10, "aevb"): 0.02,
    (1000, 3, "aevb"): 0.1,
    (1000, 3, "wake-sleep"): 0.1,
    (1000, 3, "mcem"): 0.1,
    (50_000, 3, "aevb"): 0.1,
    (50_000, 3, "wake-sleep"): 0.1,
    (50_000, 3, "mcem"): 0.1,
}

# Settings that not every algorithm looks at.
LOOKED_AT_BY: dict[str, tuple[Algorithm, ...]] = {
    "n_samples": ("aevb",),
    "estimator": ("aevb",),
    "sleep_first": ("wake-sleep",),
    "clip_dreams": ("wake-sleep",),
    "encoder_log_variance_factor": ("aevb", "wake-sleep"),
    "init_encoder_log_variance_std": ("aevb", "wake-sleep"),
}

# Of an untrained model, whose log p(x) is -543.4 nats, it reads -543.4 with 5 dimensions, -542.4
# with 10 and +60 with 20.
MAX_NZ_OF_APPENDIX_D = 5

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


@dataclass(frozen=True)
class Run:
    """Everything that determines a curve. An ablation is a `Run` with another setting.

    Attributes:
        study: folder of the curve below results/curves.
        dataset: mnist or freyface.
        nz: latent dimensions.
        algorithm: aevb, wake-sleep or mcem.
        seed: of all random streams.
        n_train: the first so many training points are all there are; None for the whole set.
        measure: what is evaluated at log points, beside the running bound of the minibatches.
        likelihood: of the decoder.
        n_hidden: hidden units of encoder and decoder.
        minibatch: M, datapoints per update; all of them for MCEM.
        n_samples: L, samples of z per datapoint (AEVB).
        estimator: SGVB estimator (AEVB).
        encoder_log_variance_factor: fixed factor on the weights of the encoder's log-variance head.
        init_std: standard deviation of initial parameters.
        init_encoder_log_variance_std: the same for the encoder's log-variance head.
        init_decoder_output_bias_std: the same for the decoder's output biases.
        optimiser: adagrad or adam.
        warmup: the first so many updates (five in an iteration of MCEM) only feed the
            accumulators.
        prior: precision of the Gaussian prior on weight matrices; 0 for none.
        step_size: of Adagrad or Adam.
        products: precision of the factors of matrix products in training.
        hidden_layers: of encoder and decoder each.
        pixels: grey levels as they are, or each drawn once as black or white.
        sleep_first: the order of the two phases (wake-sleep).
        clip_dreams: Gaussian dreams are moved into [0, 1] (wake-sleep).
        split: which random split of Frey Face; the paper's runs take that of their seed.
    """

    study: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] = "figure2"
    dataset: data.Name = "mnist"
    nz: Annotated[int, Field(ge=1)] = 20
    algorithm: Algorithm = "aevb"
    seed: Annotated[int, Field(ge=0)] = 0
    n_train: Annotated[int, Field(ge=1)] | None = None
    measure: Literal["lower_bound", "lower_bound_by_subset", "marginal_loglik"] = "lower_bound"
    likelihood: Likelihood = "bernoulli"
    n_hidden: Annotated[int, Field(ge=1)] = 500
    minibatch: Annotated[int, Field(ge=1)] = 100
    n_samples: Annotated[int, Field(ge=1)] = 1
    estimator: Literal["A", "B"] = "B"
    encoder_log_variance_factor: Positive = 1.0
    init_std: NotNegative = 0.01
    init_encoder_log_variance_std: NotNegative = 0.0
    init_decoder_output_bias_std: NotNegative = 0.0
    optimiser: Literal["adagrad", "adam"] = "adagrad"
    warmup: Annotated[int, Field(ge=0)] = 100
    prior: NotNegative = 1.0
    step_size: Positive = 0.01
    products: Products = "float32"
    hidden_layers: Annotated[int, Field(ge=1)] = 1
    pixels: data.Pixels = "grey"
    sleep_first: bool = False
    clip_dreams: bool = False
    split: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _consistent(self) -> "Run":
        """Settings fit each other, and one that does nothing must not label a curve."""
        for field in fields(self):
            of = LOOKED_AT_BY.get(field.name, (self.algorithm,))
            if self.algorithm not in of and getattr(self, field.name) != field.default:
                raise ValueError(
                    f"{field.name} is a setting of {' and '.join(of)}, not {self.algorithm}"
                )
        if self.clip_dreams and self.likelihood != "gaussian":
            raise ValueError("clip_dreams is a setting of Gaussian pixels; Bernoulli's are 0 or 1")
        if self.algorithm == "mcem" and self.measure != "marginal_loglik":
            raise ValueError("measure is marginal_loglik for mcem, which trains no encoder")
        if self.measure == "marginal_loglik" and self.nz > MAX_NZ_OF_APPENDIX_D:
            raise ValueError(
                f"measure marginal_loglik is of at most {MAX_NZ_OF_APPENDIX_D} latent dimensions, "
                f"not {self.nz}: beyond, the density of Appendix D is fitted to too few samples"
            )
        if self.measure == "lower_bound_by_subset" and self.dataset != "mnist":
            raise ValueError("measure lower_bound_by_subset is of the 10,000 test images of mnist")
        if self.split and self.dataset != "freyface":
            raise ValueError("split is a setting of freyface; mnist has a split of its own")
        return self

    @property
    def configuration(self) -> dict[str, Any]:
        """What manifests and their hashes hold: every setting."""
        return asdict(self)

    @property
    def name(self) -> str:
        """Stable name of the curve within its study."""
        what = f"{self.dataset}-nz{self.nz}" if self.n_train is None else f"n{self.n_train}"
        candidate = f"-step{self.step_size}" if self.study == SELECTION else ""
        return f"{what}-{self.algorithm}-seed{self.seed}{candidate}"

    @property
    def objective(self) -> str:
        """What an update reports: of Monte Carlo EM the mean over its chains, which is no bound."""
        return "log p(x, z)" if self.algorithm == "mcem" else "bound"


# What the first author's library did for wake-sleep and MCEM, and not for AEVB.
_DECODER_BIAS = {"init_decoder_output_bias_std": 0.01}
OWN: dict[Algorithm, dict[str, Any]] = {
    "aevb": {},
    "wake-sleep": {"encoder_log_variance_factor": 0.1, **_DECODER_BIAS},
    "mcem": {"measure": "marginal_loglik", "warmup": 0, **_DECODER_BIAS},
}


def _chosen(data_or_n_train: str | int, nz: int, algorithm: str) -> dict[str, float]:
    """The step size that was selected, as a setting; empty where none was."""
    key = (data_or_n_train, nz, algorithm)
    return {"step_size": STEP_SIZES[key]} if key in STEP_SIZES else {}


def figure2_run(dataset: data.Name, nz: int, algorithm: Algorithm, seed: int = 0) -> Run:
    """The run behind one curve of Figure 2."""
    settings = DATASETS[dataset] | OWN[algorithm] | _chosen(dataset, nz, algorithm)
    if dataset == "freyface":
        settings = settings | {"split": seed}
    return Run(dataset=dataset, nz=nz, algorithm=algorithm, seed=seed, **settings)


def figure3_run(n_train: int, algorithm: Algorithm, seed: int = 0) -> Run:
    """The run behind one curve of Figure 3."""
    settings = {"measure": "marginal_loglik"} | OWN[algorithm] | _chosen(n_train, 3, algorithm)
    if algorithm == "mcem":
        settings = settings | {"minibatch": n_train}
    return Run(
        study="figure3",
        nz=3,
        n_hidden=100,
        n_train=n_train,
        algorithm=algorithm,
        seed=seed,
        **settings,
    )


def figure2(seed: int = 0) -> list[Run]:
    """The 18 runs of Figure 2."""
    return [
        figure2_run(dataset, nz, algorithm, seed)
        for dataset, latents in NZ.items()
        for nz in latents
        for algorithm in ALGORITHMS["figure2"]
    ]


def figure3(seed: int = 0) -> list[Run]:
    """The 6 runs of Figure 3."""
    return [
        figure3_run(n_train, algorithm, seed)
        for n_train in N_TRAIN
        for algorithm in ALGORITHMS["figure3"]
    ]


RUNS = {"figure2": figure2, "figure3": figure3}


def candidates(run: Run) -> list[Run]:
    """The runs whose curves choose the run's step size.

    In Figure 3 AEVB and wake-sleep leave out the estimates of log p(x), which take longer than the
    training; the choice is by the running bound alone.
    """
    papers = paper_run(run.name)
    if papers.algorithm != "mcem":
        papers = replace(papers, measure="lower_bound")
    return [
        replace(papers, study=SELECTION, seed=0, split=0, step_size=step_size)
        for step_size in CANDIDATES
    ]


def selection_samples(run: Run) -> int:
    """Samples after which the run's candidates are compared.

    Monte Carlo EM has no warm-up, and its iterations are long: ten of them.
    """
    if run.algorithm == "mcem":
        return SELECTION_INTERVALS * samples_per_update(run)
    return SELECTION_INTERVALS * LOGGING_INTERVAL[run.dataset]


def parse(name: str, study: str | None = None, settings: Sequence[str] = ()) -> Run:
    """The run called `name`, with `settings` such as `optimiser=adam` in place of the paper's.

    Raises:
        ConfigurationError: if the name or a setting is not valid, or if a run with other settings
            than the paper's would take the place of a curve of the paper's figures.
    """
    if wrong := [setting for setting in settings if "=" not in setting]:
        raise ConfigurationError(
            f"--set {' '.join(wrong)}: expected NAME=VALUE, such as optimiser=adam"
        )
    values: dict[str, Any] = dict(setting.split("=", 1) for setting in settings)
    if len(values) < len(settings):
        raise ConfigurationError(f"--set {' '.join(settings)}: expected each setting once")
    identity = {"study", "dataset", "nz", "algorithm", "seed", "n_train"}
    known = {field.name for field in fields(Run)} - identity
    if unknown := set(values) - known:
        raise ConfigurationError(
            f"cannot set {', '.join(sorted(unknown))}: the settings are "
            f"{', '.join(sorted(known))}; the name of a run sets its data set, nz, n_train, "
            "algorithm and seed"
        )
    own = values if study is None else {"study": study, **values}
    papers = asdict(paper_run(name))
    with _wrong_settings_named(name):
        run = TypeAdapter(Run).validate_python(papers | own)
    if run.study in RUNS and run not in RUNS[run.study](run.seed):
        raise ConfigurationError(
            f"{name}: the study {run.study} holds the runs of the paper's figure alone; those with "
            "other settings, algorithms, data, nz or n_train need a --study of their own"
        )
    return run


@contextmanager
def _wrong_settings_named(name: str) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}, got {e['input']!r}"
            if e["loc"]
            else e["msg"].removeprefix("Value error, ")
            for e in error.errors()
            if e["type"] != "too_short"  # follows from what is wrong with the elements
        )
        raise ConfigurationError(f"{name}: {problems}") from None


def paper_run(name: str) -> Run:
    """The run of this name in the paper's figure, or as it would be there.

    Raises:
        ConfigurationError: if there can be none.
    """
    datasets, algorithms = "|".join(DATASETS), "|".join(LEARNERS)
    if match := re.fullmatch(r"(.+)-step([0-9.e+-]+)", name):
        with _wrong_settings_named(name), suppress(ValueError):
            step_size = float(match[2])
            for candidate in candidates(paper_run(match[1])):
                run = replace(candidate, seed=paper_run(match[1]).seed, step_size=step_size)
                if run.name == name:
                    return run
    with _wrong_settings_named(name):
        if match := re.fullmatch(rf"({datasets})-nz(\d+)-({algorithms})-seed(\d+)", name):
            dataset, nz, algorithm, seed = match.groups()
            return figure2_run(dataset, int(nz), algorithm, int(seed))  # type: ignore[arg-type]
        if match := re.fullmatch(rf"n([1-9]\d*)-({algorithms})-seed(\d+)", name):
            n_train, algorithm, seed = match.groups()
            return figure3_run(int(n_train), algorithm, int(seed))  # type: ignore[arg-type]
    raise ConfigurationError(
        f"no run is called {name!r}: expected <{datasets}>-nz<number>-<{algorithms}>"
        f"-seed<number>, for example mnist-nz20-aevb-seed0, or n<number>-<{algorithms}>"
        "-seed<number>, for example n1000-mcem-seed0"
    )


def command(run: Run, samples: int) -> str:
    """The command that makes the run's curve up to `samples`.

    Raises:
        ConfigurationError: if there is none: the run's name stands for another run, or its study
            is one of the paper's figures and its settings are not.
    """
    papers = asdict(parse(run.name, run.study))
    study = None if run.study == paper_run(run.name).study else run.study
    settings = []
    for name, value in papers.items():
        if (own := getattr(run, name)) != value:
            settings.append(f"{name}={own}")
    parse(run.name, study, settings)
    words = ["aevb run", run.name, f"--budget {samples}"]
    words += [f"--study {study}"] * (study is not None)
    return " ".join(words + [f"--set {setting}" for setting in settings])


def budget_of(run: Run, budget: str | float) -> float:
    """Samples that `budget` stands for: a number, or the name of one of `BUDGETS`.

    Raises:
        ConfigurationError: if it is neither, or is not positive; if the paper has no such run.
    """
    if budget in BUDGETS:
        named = BUDGETS[str(budget)]
        if (papers := run.n_train or run.dataset) not in named:
            raise ConfigurationError(
                f"budget {budget!r}: it stands for samples of the paper's runs, and none of those "
                f"is of {run.name.partition('-')[0]}; expected a number of samples, such as 1e6"
            )
        return named[papers]
    try:
        samples = float(budget)
    except ValueError:
        samples = 0.0
    if not 0 < samples < float("inf"):
        raise ConfigurationError(
            f"budget {budget!r}: expected a positive number of samples, such as 1e6, or "
            + " or ".join(map(repr, BUDGETS))
        )
    return samples


def end_of(run: Run, budget: str | float) -> int:
    """The log point at which the run stops with this budget."""
    return last_log_point(budget_of(run, budget), samples_per_update(run))


def architecture(run: Run, n_pixels: int) -> Architecture:
    """Sizes of the run's networks for images of so many pixels."""
    return Architecture(
        n_pixels,
        run.n_hidden,
        run.nz,
        run.likelihood,
        run.encoder_log_variance_factor,
        run.hidden_layers,
    )


def samples_per_update(run: Run) -> int:
    """By how much an update moves the run along the paper's axis."""
    return run.minibatch * LEARNERS[run.algorithm].samples_per_datapoint
