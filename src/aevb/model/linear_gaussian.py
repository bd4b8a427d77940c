"""Exact likelihood, posterior and bound of the linear-Gaussian model: known answers.

    p(z) = N(0, I),    p(x|z) = N(W z + b, s² I)

All that a variational auto-encoder estimates has a closed form here (Tipping & Bishop 1999,
"Probabilistic principal component analysis"). So every estimator can be checked, and the paper's
equation 1 holds without any sampling:

    marginal_loglik(x)  =  lower_bound(x, q)  +  gap(x, q)

Datapoints x are `(..., pixels)`, q(z|x) is over `(..., nz)`, and answers are `(...)`, in nats per
datapoint and double precision. They are differentiable in the parameters of the model and of q.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from aevb.model.bound import kl_to_standard_normal
from aevb.model.distributions import LOG_2PI, DiagonalGaussian


@dataclass(frozen=True, eq=False)
class LinearGaussian:
    """The model p(z) = N(0, I), p(x|z) = N(W z + b, s² I).

    Attributes:
        weight: W, `(pixels, nz)`; the transpose of a layer's weight in `networks`.
        bias: b, `(pixels,)`.
        variance: s², a scalar tensor.

    Raises:
        ValueError: if the shapes do not fit together, or if the variance is not positive.
    """

    weight: Tensor
    bias: Tensor
    variance: Tensor

    def __post_init__(self) -> None:
        if self.weight.ndim != 2 or self.bias.shape != self.weight.shape[:1]:
            raise ValueError(
                "expected a weight (pixels, nz) and a bias (pixels,), not "
                f"{tuple(self.weight.shape)} and {tuple(self.bias.shape)}"
            )
        if self.variance.ndim != 0 or not self.variance > 0:
            raise ValueError(f"expected one positive variance, not {self.variance}")
        for name in ("weight", "bias", "variance"):
            object.__setattr__(self, name, getattr(self, name).double())

    @property
    def covariance(self) -> Tensor:
        """Covariance W Wᵀ + s² I of x, `(pixels, pixels)`."""
        noise = self.variance * torch.eye(len(self.bias), dtype=torch.float64)
        return self.weight @ self.weight.T + noise

    @property
    def posterior_precision(self) -> Tensor:
        """Inverse covariance I + Wᵀ W / s² of p(z|x), the same for every x, `(nz, nz)`."""
        identity = torch.eye(self.weight.shape[1], dtype=torch.float64)
        return identity + self.weight.T @ self.weight / self.variance

    def sample(self, rows: int, generator: torch.Generator) -> Tensor:
        """Datapoints `(rows, pixels)`: z from the prior, then x from p(x|z)."""
        pixels, nz = self.weight.shape
        z = torch.randn(rows, nz, generator=generator, dtype=torch.float64)
        noise = torch.randn(rows, pixels, generator=generator, dtype=torch.float64)
        return z @ self.weight.T + self.bias + self.variance.sqrt() * noise

    def marginal_loglik(self, x: Tensor) -> Tensor:
        """Log p(x), the density of N(b, W Wᵀ + s² I)."""
        marginal = MultivariateNormal(self.bias, self.covariance)
        log_px: Tensor = marginal.log_prob(x.double())  # type: ignore[no-untyped-call]
        return log_px

    def posterior(self, x: Tensor) -> MultivariateNormal:
        """p(z|x): its mean is linear in x, its covariance does not depend on x."""
        precision = self.posterior_precision
        projection = torch.linalg.solve(precision, self.weight.T / self.variance)
        mean = (x.double() - self.bias) @ projection.T
        return MultivariateNormal(mean, precision_matrix=precision)

    def best_diagonal(self, x: Tensor) -> DiagonalGaussian:
        """The diagonal Gaussian q with the highest bound: the best that an encoder can do.

        Its mean is the posterior's. Its variances are the reciprocals of the diagonal of the
        posterior's precision. If the columns of W are orthogonal, it is the posterior. Else a gap
        remains that no diagonal q closes.
        """
        mean = self.posterior(x).mean
        return DiagonalGaussian(mean, -self.posterior_precision.diagonal().log().expand_as(mean))

    def lower_bound(self, x: Tensor, q: DiagonalGaussian) -> Tensor:
        """Exact bound E_q[log p(x|z)] − KL(q ‖ p(z)) (equation 3 of the paper)."""
        q = DiagonalGaussian(q.mean.double(), q.log_variance.double())
        # The error x − W z − b: its mean under q, and what the variance of q adds to its square.
        error = (x.double() - self.bias) - q.mean @ self.weight.T
        spread = torch.exp(q.log_variance) @ self.weight.square().sum(0)
        expected_squares = error.square().sum(-1) + spread
        log_normaliser = len(self.bias) * (LOG_2PI + self.variance.log())
        log_px_given_z = -0.5 * (log_normaliser + expected_squares / self.variance)
        return log_px_given_z - kl_to_standard_normal(q)

    def gap(self, x: Tensor, q: DiagonalGaussian) -> Tensor:
        """What the bound loses: KL(q(z|x) ‖ p(z|x)) (equation 1 of the paper).

        It is not computed as the difference of the other two answers.
        """
        scale = torch.exp(0.5 * q.log_variance.double())
        q_of_z = MultivariateNormal(q.mean.double(), scale_tril=torch.diag_embed(scale))
        return kl_divergence(q_of_z, self.posterior(x))


def maximum_likelihood(x: Tensor, nz: int) -> LinearGaussian:
    """The linear-Gaussian model with the highest likelihood: probabilistic PCA.

    With λ₁ ≥ λ₂ ≥ … the eigenvalues of the sample covariance (divisor n) and U the eigenvectors of
    the nz largest (Tipping & Bishop 1999, section 3.2):

        b = mean of x,    s² = mean of the other λ,    W = U (Λ − s² I)^½

    W is determined up to a rotation of z. The one returned has orthogonal columns, the longest
    first. So the posterior is a diagonal Gaussian.

    Raises:
        ValueError: if nz is not from 1 to pixels − 1; if the data lie in an nz-dimensional plane,
            so that the likelihood has no maximum.
    """
    n, pixels = x.shape
    if not 1 <= nz < pixels:
        raise ValueError(f"expected nz from 1 to {pixels - 1} for {pixels} pixels, not {nz}")
    x = x.double()
    bias = x.mean(0)
    ascending, vectors = torch.linalg.eigh((x - bias).T @ (x - bias) / n)
    eigenvalues, vectors = ascending.flip(0), vectors.flip(1)
    variance = eigenvalues[nz:].mean()
    if not variance > 1e-12 * eigenvalues[0]:
        raise ValueError(
            f"the {n} datapoints lie in a plane of {nz} dimensions: the likelihood has no maximum"
        )
    weight = vectors[:, :nz] * (eigenvalues[:nz] - variance).clamp(min=0).sqrt()
    return LinearGaussian(weight, bias, variance)
