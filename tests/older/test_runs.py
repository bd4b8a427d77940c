"""The experiments: what they measure, and their published files."""

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import IMAGES

from aevb.errors import ConfigurationError
from aevb.learners.optimiser import Optimisation
from aevb.model.linear_gaussian import maximum_likelihood
from aevb.model.randomness import generator
from aevb.older import experiments, grey, runs
from aevb.older.experiments import EXPERIMENTS, Machine, Mixture, autocorrelation, temperatures
from aevb.older.rbm import RBM
from aevb.results import provenance
from aevb.training.loop import train

PUBLISHED = sorted(path.stem for path in runs.folder().glob("*.json"))
BINARY = replace(
    IMAGES,
    train=IMAGES.train.round(),
    validation=IMAGES.validation.round(),
    test=IMAGES.test.round(),
    pixels="binary",
)


@pytest.mark.parametrize("name", ["rbm-pcd", "rbm-seed0", "rbm-pcd-seed", "rbm-pcd-seedx"])
def test_a_name_that_does_not_exist_is_refused_with_those_that_do(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"rbm-pcd-seed0.*mixture-k10"):
        runs.write(name)


def test_a_second_layer_without_a_first_says_what_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(FileNotFoundError, match="aevb older rbm-pcd-seed7"):
        runs.write("dbn-seed7")


def test_the_loop_trains_older_learners_and_a_short_run_is_the_start_of_a_long_one() -> None:
    experiment = Machine(seed=0, n_hidden=5, optimisation=Optimisation(warmup=2))
    ends = []
    for budgets in ((3000,), (1000, 3000)):
        training = experiment.start(BINARY, {})
        for budget in budgets:
            train(training, budget, lambda _: {})
        ends.append(training.state()["parameters"])
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_a_run_has_a_row_at_its_first_and_its_last_point_and_seconds_that_grow() -> None:
    experiment = Mixture(seed=0, samples=2000, components=3)
    training = experiment.start(BINARY, {})
    seconds = runs.train(experiment, training, BINARY)
    rows = pd.DataFrame(training.rows)
    assert rows.samples.iloc[0] == len(BINARY.train)
    assert rows.samples.iloc[-1] >= 2000
    assert rows.seconds.is_monotonic_increasing
    assert rows.seconds.iloc[-1] == seconds
    model = training.learner.mixture  # type: ignore[attr-defined]
    assert rows.test.iloc[-1] == pytest.approx(model.loglik(BINARY.test).mean().item())


@pytest.mark.parametrize("n", [10, 100, 1000])
def test_temperatures_rise_from_0_to_1(n: int) -> None:
    betas = temperatures(n)
    assert (betas[0], betas[-1], len(betas)) == (0, 1, n + 1)
    assert all(later > earlier for earlier, later in pairwise(betas))


def test_a_machine_without_weights_forgets_at_once_and_one_with_two_modes_does_not() -> None:
    v = torch.cat([torch.zeros(20, 12), torch.ones(20, 12)])
    free, stuck = RBM(12, 4), RBM(12, 4)
    free.weight.copy_(0.01 * torch.randn(12, 4, generator=generator(0, "weights")))
    stuck.weight.fill_(8.0)
    stuck.visible_bias.fill_(-16.0)
    stuck.hidden_bias.fill_(-48.0)
    noise = generator(0, "chain")
    forgets = autocorrelation(free, v, noise, burn_in=50, lags=40)
    remembers = autocorrelation(stuck, v, noise, burn_in=50, lags=40)
    assert forgets.step.iloc[0] == 0
    assert forgets.autocorrelation.iloc[0] == 1
    assert forgets.autocorrelation[1:].abs().max() < 0.5
    assert remembers.autocorrelation.min() > 0.99


def test_scikit_learns_probabilistic_pca_is_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(grey, "LATENT", (3,))
    monkeypatch.setattr(grey, "COMPONENTS", 2)
    table = grey.densities(IMAGES, seed=0)
    ours = maximum_likelihood(IMAGES.train, 3).marginal_loglik(IMAGES.test).mean().item()
    # It divides the covariance by n − 1.
    assert table.test[table.model == "probabilistic PCA"].item() == pytest.approx(ours, abs=0.1)
    assert list(table.setting) == [3, *grey.FLOORS]
    assert np.isfinite(table.drop(columns="model").to_numpy()).all()


def test_every_experiment_is_published_with_seed_0() -> None:
    assert {f"{name}-seed0" for name in [*EXPERIMENTS, "grey"]} <= set(PUBLISHED)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_files_belong_together(name: str) -> None:
    manifest, table = runs.manifest(name), runs.table(name)
    base, seed = runs.parse(name)
    assert manifest["name"] == name
    assert manifest["configuration"]["seed"] == seed
    assert manifest["configuration_sha256"] == provenance.digest(manifest["configuration"])
    if base == "grey":
        assert manifest["configuration"] == json.loads(json.dumps(grey.configuration(seed)))
        return
    made = EXPERIMENTS[base](seed).configuration()
    assert manifest["configuration"] == json.loads(json.dumps(made)), f"run `aevb older {name}`"
    assert table.samples.iloc[-1] == manifest["samples"]
    assert table.seconds.iloc[-1] == pytest.approx(manifest["training_seconds"], abs=0.06)
    # The last row is exact, of fewer images, or from fewer temperatures.
    limit = {"exact": 1e-3, "importance sampling": 4}.get(manifest["kind"], 20)
    assert manifest["results"]["test"] == pytest.approx(table.test.iloc[-1], abs=limit)
    assert runs.picture(name).shape == (28 * experiments.PICTURES // 10, 280)
    assert all(math.isfinite(value) for value in manifest["results"].values())
