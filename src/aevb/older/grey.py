"""Densities of grey pixels: probabilistic PCA and Gaussian mixtures, by scikit-learn.

A density of grey pixels is no probability. It grows without bound as the model gets surer of a
pixel that never changes, so its values stand in a table of their own.
"""

import time
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import numpy as np
import pandas as pd

from aevb.data import Dataset
from aevb.model.randomness import generator

LATENT = (20, 100, 300, 600)
COMPONENTS = 100
FLOORS = (1e-2, 1e-3, 1e-4)  # added to the variance of every pixel of a component
ITERATIONS = 10


def configuration(seed: int) -> dict[str, Any]:
    """Every setting, as the manifest has it."""
    return {
        "seed": seed,
        "latent": LATENT,
        "components": COMPONENTS,
        "variance_floors": FLOORS,
        "iterations": ITERATIONS,
        "covariance": "diagonal",
    }


def versions() -> dict[str, str]:
    """The version of scikit-learn."""
    return {"scikit-learn": version("scikit-learn")}


def densities(dataset: Dataset, seed: int) -> pd.DataFrame:
    """Mean log densities of images, nats per datapoint, with grey levels in [0, 1].

    Returns:
        `model`; `setting`, latent dimensions or the floor of the variance; `train`, `test`,
        `test_se`; processor seconds of `training` and of drawing 1,000 samples.
    """
    train, test = (x.numpy() for x in (dataset.train, dataset.test))
    rows = []
    for model, setting, fitted, seconds in _fitted(train, seed):
        per_image = fitted.score_samples(test)
        start = time.process_time()
        _draw(fitted, 1000, seed)
        rows.append(
            {
                "model": model,
                "setting": setting,
                "train": fitted.score_samples(train[:5000]).mean(),
                "test": per_image.mean(),
                "test_se": per_image.std() / len(test) ** 0.5,
                "training_seconds": seconds,
                "seconds_per_1000_samples": time.process_time() - start,
            }
        )
    return pd.DataFrame(rows)


def _fitted(train: np.ndarray[Any, Any], seed: int) -> Iterator[tuple[str, float, Any, float]]:
    # Here, since no other command needs the package.
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    for nz in LATENT:
        start = time.process_time()
        fitted = PCA(nz, svd_solver="covariance_eigh").fit(train)
        yield "probabilistic PCA", nz, fitted, time.process_time() - start
    for floor in FLOORS:
        start = time.process_time()
        mixture = GaussianMixture(
            COMPONENTS,
            covariance_type="diag",
            reg_covar=floor,
            max_iter=ITERATIONS,
            tol=0.0,
            init_params="random_from_data",
            random_state=generator(seed, "mixture").initial_seed() % 2**32,
        )
        yield "Gaussian mixture", floor, _quietly(mixture, train), time.process_time() - start


def _quietly(mixture: Any, train: np.ndarray[Any, Any]) -> Any:
    """The fit, without the warning that it ends before it has converged."""
    import warnings

    from sklearn.exceptions import ConvergenceWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return mixture.fit(train)


def _draw(fitted: Any, n: int, seed: int) -> Any:
    if hasattr(fitted, "sample"):
        return fitted.sample(n)
    noise = np.random.default_rng(seed)
    z = noise.standard_normal((n, fitted.n_components_))
    scale = np.sqrt(np.maximum(fitted.explained_variance_ - fitted.noise_variance_, 0))
    mean = z * scale @ fitted.components_ + fitted.mean_
    return mean + np.sqrt(fitted.noise_variance_) * noise.standard_normal(mean.shape)
