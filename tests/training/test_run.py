"""A run as data: what it holds, and which settings do not fit each other."""

from dataclasses import asdict
from typing import Any

import pytest
from pydantic import ValidationError

from aevb.learners.optimiser import Optimisation
from aevb.model.networks import Architecture
from aevb.training.run import LATER_SETTINGS, Run


def test_every_setting_is_in_a_manifest() -> None:
    run = Run(study="other", dataset="freyface", nz=10, algorithm="wake-sleep", split=3)
    assert run.configuration == {k: v for k, v in asdict(run).items() if k not in LATER_SETTINGS}
    assert {"hidden_layers": 1, "step_size": 0.01, "split": 3}.items() <= run.configuration.items()


def test_a_later_setting_is_in_a_manifest_where_it_is_not_the_default() -> None:
    """So the digests of curves from before it stay."""
    assert "beta" not in Run().configuration
    assert Run(beta=0.5).configuration == Run().configuration | {"beta": 0.5}


def test_a_run_has_a_name_in_its_study() -> None:
    assert Run().name == "mnist-nz20-aevb-seed0"
    assert Run(n_train=1000, nz=3, seed=2).name == "n1000-aevb-seed2"
    assert Run(study="step-size-selection").name == "mnist-nz20-aevb-seed0-step0.01"


def test_the_prior_is_shared_by_all_training_points() -> None:
    run = Run(prior=3.0, minibatch=20, warmup=7, step_size=0.02, optimiser="adam")
    assert run.optimisation(600) == Optimisation("adam", 0.02, 7, weight_decay=0.1, share=20 / 600)


def test_the_networks_have_the_sizes_of_the_run() -> None:
    run = Run(n_hidden=9, nz=4, hidden_layers=2, encoder_log_variance_factor=0.5)
    assert run.architecture(12) == Architecture(12, 9, 4, "bernoulli", 0.5, 2)


MCEM = {"algorithm": "mcem", "nz": 3, "measure": "marginal_loglik"}
WAKE_SLEEP = {"algorithm": "wake-sleep"}


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"algorithm": "adam"}, "adam.* aevb, wake-sleep, mcem"),
        (WAKE_SLEEP | {"n_samples": 5}, "n_samples .* aevb"),
        (MCEM | {"estimator": "A"}, "estimator .* aevb"),
        ({"sleep_first": True}, "sleep_first .* wake-sleep"),
        ({"likelihood": "gaussian", "clip_dreams": True}, "clip_dreams .* wake-sleep"),
        (WAKE_SLEEP | {"clip_dreams": True}, "clip_dreams .* Gaussian"),
        (MCEM | {"encoder_log_variance_factor": 0.1}, "encoder_log_var.* aevb and wake-sleep"),
        (MCEM | {"init_encoder_log_variance_std": 0.1}, "init_encoder.* aevb and wake-sleep"),
        (MCEM | {"measure": "lower_bound"}, "measure .* marginal_loglik for mcem"),
        ({"measure": "marginal_loglik"}, "measure marginal_loglik .* 5 .* 20"),
        ({"dataset": "freyface", "measure": "lower_bound_by_subset"}, "lower_bound_by.* mnist"),
        ({"split": 1}, "split .* freyface"),
        (WAKE_SLEEP | {"beta": 0.5}, "beta .* aevb, not wake-sleep"),
        ({"beta": -1.0}, "beta"),
        ({"measure": "predictive_loglik"}, "predictive_loglik .* full-vb, not aevb"),
        ({"algorithm": "full-vb", "prior": 0.0}, "prior must be positive for full-vb"),
        ({"split": -1}, "split"),
        ({"step_size": 0.0}, "step_size"),
        ({"step_size": float("nan")}, "step_size"),
        ({"prior": float("inf")}, "prior"),
        ({"minibatch": 0}, "minibatch"),
        ({"study": "../curves"}, "study"),
    ],
)
def test_a_setting_that_is_wrong_or_would_do_nothing_is_refused(
    settings: dict[str, Any], named: str
) -> None:
    with pytest.raises(ValidationError, match=named):
        Run(**settings)
