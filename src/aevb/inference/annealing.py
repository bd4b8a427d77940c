"""Annealed importance sampling of a partition function (Neal 2001; Salakhutdinov & Murray 2008)."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol, TypeVar

import torch
from torch import Generator, Tensor

State = TypeVar("State")


class Path(Protocol[State]):
    """Unnormalised densities f_β, from one of known sum at β = 0 to the wanted one at β = 1."""

    @property
    def log_z_start(self) -> float:
        """Log of the sum of f_0."""
        ...

    def start(self, chains: int, noise: Generator) -> State:
        """Exact draws from f_0, as many as there are chains."""
        ...

    def log_ratio(self, state: State, beta: float, following: float) -> Tensor:
        """Log f_following − log f_β at every chain, `(chains,)`."""
        ...

    def move(self, state: State, beta: float, noise: Generator) -> State:
        """One step of a Markov chain that leaves f_β as it is."""
        ...


class LogPartition(NamedTuple):
    """An estimate of log Z.

    Attributes:
        log_z: log of the mean weight; nats. On average it lies below log Z.
        error: its standard error, from the spread of the weights (delta method).
        effective_chains: (Σ w)² / Σ w², from 1 to the number of chains.
    """

    log_z: float
    error: float
    effective_chains: float


def log_partition(
    path: Path[State], betas: Sequence[float], chains: int, noise: Generator
) -> LogPartition:
    """Estimate log Z of f_1 by annealing every chain from f_0.

    Args:
        path: the densities between the two.
        betas: temperatures in rising order, from 0 to 1.
        chains: independent chains, two at least.
        noise: of the chains.

    Raises:
        ValueError: if there are fewer than two chains, or the betas do not rise from 0 to 1.
    """
    if chains < 2:
        raise ValueError(f"{chains} chains tell no error: expected 2 or more")
    rises = all(beta < following for beta, following in pairwise(betas))
    if len(betas) < 2 or betas[0] != 0 or betas[-1] != 1 or not rises:
        raise ValueError("betas: expected numbers that rise from 0 to 1")
    state = path.start(chains, noise)
    log_weights = torch.zeros(chains, dtype=torch.float64)
    for beta, following in pairwise(betas):
        log_weights += path.log_ratio(state, beta, following)
        state = path.move(state, following, noise)
    weights = torch.softmax(log_weights, 0)  # sum to one
    effective = 1 / weights.square().sum().item()
    # Var(mean w) / mean(w)², with n − 1 in the variance.
    error = math.sqrt(max(chains / effective - 1, 0.0) / (chains - 1))
    log_mean = torch.logsumexp(log_weights, 0).item() - math.log(chains)
    return LogPartition(path.log_z_start + log_mean, error, effective)
