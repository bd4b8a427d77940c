"""The variational lower bound: the KL of Appendix B and the SGVB estimators of section 2.3.

Bounds are `(...)`, in nats per datapoint, higher is better. Log densities are `(L, ...)`, at L
samples of z from q(z|x) for each datapoint.
"""

import math

import torch
from torch import Tensor

from aevb.model.distributions import DiagonalGaussian


def kl_to_standard_normal(q: DiagonalGaussian) -> Tensor:
    """KL(q(z|x) ‖ N(0, I)), closed form (Appendix B).

    Args:
        q: means and log variances, `(..., nz)`.

    Returns:
        `(...)`, nats per datapoint, never negative.
    """
    return -0.5 * (1 + q.log_variance - q.mean.square() - torch.exp(q.log_variance)).sum(-1)


def estimator_a(log_px_given_z: Tensor, log_pz: Tensor, log_qz_given_x: Tensor) -> Tensor:
    """SGVB estimator A: the mean over L of log p(x, z) − log q(z|x), unbiased (equation 6)."""
    return (log_px_given_z + log_pz - log_qz_given_x).mean(0)


def estimator_b(log_px_given_z: Tensor, kl: Tensor) -> Tensor:
    """SGVB estimator B: the mean over L of log p(x|z), minus KL(q(z|x) ‖ p(z)) (equation 7).

    Unbiased, and usually with less variance than estimator A. `kl` is `(...)`.
    """
    return log_px_given_z.mean(0) - kl


def importance_weighted(log_px_given_z: Tensor, log_pz: Tensor, log_qz_given_x: Tensor) -> Tensor:
    """Importance-weighted bound: log of the mean over L of p(x, z) / q(z|x) (Burda et al. 2015).

    With L = 1 it is estimator A. As L grows, its mean rises to log p(x).
    """
    log_weights = log_px_given_z + log_pz - log_qz_given_x
    return torch.logsumexp(log_weights, 0) - math.log(log_weights.shape[0])
