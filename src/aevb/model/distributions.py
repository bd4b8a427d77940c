"""The densities of the paper: standard normal prior, diagonal Gaussian, Bernoulli pixels.

Log densities are summed over the last axis, and in nats per datapoint. Sampling takes the noise,
or the generator to draw it from, as an argument.
"""

import math
from typing import NamedTuple, Protocol

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from aevb.model.randomness import normal, uniform

LOG_2PI = math.log(2 * math.pi)


def standard_normal_log_prob(z: Tensor) -> Tensor:
    """Log density of the prior p(z) = N(0, I) at z `(..., nz)`; returns `(...)`."""
    return -0.5 * (LOG_2PI + z.square()).sum(-1)


class Likelihood(Protocol):
    """p(x|z) of images: what a decoder returns."""

    @property
    def mean(self) -> Tensor:
        """Mean image, `(..., pixels)`."""
        ...

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density of x `(..., pixels)`; returns `(...)`."""
        ...

    def draw(self, noise: Generator) -> Tensor:
        """One draw, `(..., pixels)`."""
        ...


class DiagonalGaussian(NamedTuple):
    """N(mean, exp(log_variance)): the encoder's q(z|x) and the Gaussian decoder (Appendix C.2).

    Both fields are `(..., dimensions)`.
    """

    mean: Tensor
    log_variance: Tensor

    def log_prob(self, x: Tensor) -> Tensor:
        """Log density of x `(..., dimensions)`; returns `(...)`."""
        squared = (x - self.mean).square() * torch.exp(-self.log_variance)
        return -0.5 * (LOG_2PI + self.log_variance + squared).sum(-1)

    def sample(self, noise: Tensor) -> Tensor:
        """Location plus scale times standard normal `noise`; differentiable (section 2.4)."""
        return self.mean + torch.exp(0.5 * self.log_variance) * noise

    def draw(self, noise: Generator) -> Tensor:
        """One draw, `(..., dimensions)`."""
        return self.sample(normal(noise, *self.mean.shape))


class Bernoulli(NamedTuple):
    """Independent Bernoulli pixels with the given `logits`, `(..., pixels)` (Appendix C.1)."""

    logits: Tensor

    @property
    def mean(self) -> Tensor:
        """Probability of ink in every pixel, `(..., pixels)`."""
        return torch.sigmoid(self.logits)

    def log_prob(self, x: Tensor) -> Tensor:
        """Sum over pixels of x log y + (1 - x) log(1 - y), for y = sigmoid(logits).

        Grey pixels in [0, 1] are soft targets, as in the paper's code. Written in the logits,
        x·l − softplus(l), it does not overflow.
        """
        return (x * self.logits - F.softplus(self.logits)).sum(-1)

    def sample(self, noise: Tensor) -> Tensor:
        """Binary pixels: 1 where uniform `noise` is below the mean. Not differentiable."""
        return (noise < self.mean).to(self.logits.dtype)

    def draw(self, noise: Generator) -> Tensor:
        """Binary images, `(..., pixels)`."""
        return self.sample(uniform(noise, *self.logits.shape))
