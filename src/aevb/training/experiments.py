"""The paper's runs: one configuration for each curve, with its step size and its budget."""

from dataclasses import replace
from typing import Any

from aevb import data
from aevb.errors import ConfigurationError
from aevb.learners import LEARNERS
from aevb.training.log_points import last_log_point
from aevb.training.run import NZ_OF_FIGURE3, SELECTION, Run

DATASETS: dict[str, dict[str, Any]] = {
    "mnist": {"likelihood": "bernoulli", "n_hidden": 500, "minibatch": 100},
    # Every x of the paper's Frey Face curves is a multiple of 500.
    "freyface": {"likelihood": "gaussian", "n_hidden": 200, "minibatch": 500},
}
NZ: dict[data.Name, tuple[int, ...]] = {"mnist": (3, 5, 10, 20, 200), "freyface": (2, 5, 10, 20)}
N_TRAIN = (1000, 50_000)
ALGORITHMS: dict[str, tuple[str, ...]] = {
    "figure2": ("aevb", "wake-sleep"),
    "figure3": ("aevb", "wake-sleep", "mcem"),
}
# The right-hand edges of the paper's figures: by data set in Figure 2, by n_train in Figure 3.
PAPER_BUDGET = {"mnist": 2.5e8, "freyface": 1e8, 1000: 6e7, 50_000: 6.8e7}
# What two cores reach in minutes. In Figure 3 the evaluations take most of the time.
QUICK_BUDGET = {"mnist": 1e6, "freyface": 1e6, 1000: 2e5, 50_000: 1e5}
BUDGETS = {"quick": QUICK_BUDGET, "paper": PAPER_BUDGET}

# Section 5's candidates for the step size, and when to compare them: see `selection`. The choice is
# made with seed 0 and holds for every seed.
CANDIDATES = (0.01, 0.02, 0.1)
LOGGING_INTERVAL = {"mnist": 235_000, "freyface": 465_000}
SELECTION_INTERVALS = 10

# Chosen by `aevb select`, from results/curves/step-size-selection; a test compares.
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
    ("freyface", 10, "wake-sleep"): 0.01,
    ("freyface", 20, "aevb"): 0.01,
    ("freyface", 20, "wake-sleep"): 0.01,
    (1000, 3, "aevb"): 0.1,
    (1000, 3, "wake-sleep"): 0.1,
    (1000, 3, "mcem"): 0.1,
    (50_000, 3, "aevb"): 0.1,
    (50_000, 3, "wake-sleep"): 0.1,
    (50_000, 3, "mcem"): 0.1,
}

# In the first author's library for wake-sleep and MCEM, not for AEVB.
_DECODER_BIAS = {"init_decoder_output_bias_std": 0.01}
ALGORITHM_SETTINGS: dict[str, dict[str, Any]] = {
    "aevb": {},
    "wake-sleep": {"encoder_log_variance_factor": 0.1, **_DECODER_BIAS},
    "mcem": {"measure": "marginal_loglik", "warmup": 0, **_DECODER_BIAS},
}


def _settings(data_or_n_train: str | int, nz: int, algorithm: str) -> dict[str, Any]:
    """Settings of an algorithm in the paper's runs, with its step size."""
    settings = dict(ALGORITHM_SETTINGS.get(algorithm, {}))
    if (key := (data_or_n_train, nz, algorithm)) in STEP_SIZES:
        settings["step_size"] = STEP_SIZES[key]
    return settings


def figure2_run(dataset: data.Name, nz: int, algorithm: str, seed: int = 0) -> Run:
    """The run behind one curve of Figure 2."""
    settings = DATASETS[dataset] | _settings(dataset, nz, algorithm)
    if dataset == "freyface":
        settings["split"] = seed
    return Run(dataset=dataset, nz=nz, algorithm=algorithm, seed=seed, **settings)


def figure3_run(n_train: int, algorithm: str, seed: int = 0, nz: int = NZ_OF_FIGURE3) -> Run:
    """The run behind one curve of Figure 3, or one with other latent dimensions."""
    settings = {"measure": "marginal_loglik"} | _settings(n_train, nz, algorithm)
    if algorithm in LEARNERS and LEARNERS[algorithm].takes_all_points:
        settings["minibatch"] = n_train
    return Run(
        study="figure3",
        nz=nz,
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
    """The runs whose curves choose the step size of a run of the paper.

    The running bound alone decides. So AEVB and wake-sleep in Figure 3 leave out the estimates of
    log p(x), which take longer than the training.
    """
    measure = "lower_bound" if run.learner.trains_encoder else run.measure
    return [
        replace(run, measure=measure, study=SELECTION, seed=0, split=0, step_size=step)
        for step in CANDIDATES
    ]


def selection_samples(run: Run) -> int:
    """Samples after which the candidates are compared: ten logging intervals of the authors.

    For Monte Carlo EM, whose iterations are long, ten iterations.
    """
    if run.learner.takes_all_points:
        return SELECTION_INTERVALS * run.samples_per_update
    return SELECTION_INTERVALS * LOGGING_INTERVAL[run.dataset]


def budget_samples(run: Run, budget: str | float) -> float:
    """The budget in samples; `budget` is a number, or a name in `BUDGETS`.

    Raises:
        ConfigurationError: if it is neither, or not positive; or a name, and the paper has no such
            run.
    """
    if budget in BUDGETS:
        named = BUDGETS[str(budget)]
        if (papers := run.n_train or run.dataset) not in named:
            raise ConfigurationError(
                f"budget {budget!r}: the paper has no run with "
                f"{f'n_train={run.n_train}' if run.n_train else run.dataset}; expected a number of "
                "samples, such as 1e6"
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


def stopping_point(run: Run, budget: str | float) -> int:
    """The log point at which the run stops with this budget."""
    return last_log_point(budget_samples(run, budget), run.samples_per_update)
