"""Decoders of one latent variable and one pixel: posterior, bound and likelihood without sampling.

Sums over a fine grid of z give log p(x) and p(z|x) of any such decoder. For `SquareDecoder` the
bound of a Gaussian q, the q with the highest bound and the decoder with the highest bound have
closed forms as well. All answers are in double precision and in nats per datapoint.
"""

import math

import torch
from torch import Tensor, nn

from aevb.model.distributions import LOG_2PI, DiagonalGaussian, standard_normal_log_prob

GRID = torch.linspace(-8, 8, 801, dtype=torch.float64)
WIDE_GRID = torch.linspace(-30, 30, 3001, dtype=torch.float64)  # as fine, for a q that is wide
SPACING = GRID[1] - GRID[0]


class SquareDecoder(nn.Module):
    """p(x|z) = N(c z² + b, s²). Where x is well above b the posterior has two peaks.

    Args:
        c: 0 for a decoder that ignores z.
        b: mean of x at z = 0.
        s: standard deviation of the noise.
    """

    def __init__(self, c: float = 1.0, b: float = 0.0, s: float = 0.5) -> None:
        super().__init__()
        self.c = nn.Parameter(torch.tensor(c, dtype=torch.float64))
        self.b = nn.Parameter(torch.tensor(b, dtype=torch.float64))
        self.log_variance = nn.Parameter(torch.tensor(2 * math.log(s), dtype=torch.float64))

    def forward(self, z: Tensor) -> DiagonalGaussian:
        """Map z `(..., 1)` to p(x|z) over `(..., 1)`."""
        mean = self.c * z**2 + self.b
        return DiagonalGaussian(mean, self.log_variance.expand_as(mean))


class CubicDecoder(nn.Module):
    """p(x|z) = N(z + z³/3 + b, s²). Every posterior has one peak.

    Args:
        s: standard deviation of the noise, fixed; the one parameter, b, starts at zero.
    """

    def __init__(self, s: float = 0.3) -> None:
        super().__init__()
        self.b = nn.Parameter(torch.zeros((), dtype=torch.float64))
        self.log_variance = 2 * math.log(s)

    def forward(self, z: Tensor) -> DiagonalGaussian:
        """Map z `(..., 1)` to p(x|z) over `(..., 1)`."""
        mean = z + z**3 / 3 + self.b
        return DiagonalGaussian(mean, torch.full_like(mean, self.log_variance))


@torch.no_grad()
def log_joint(decoder: nn.Module, x: Tensor, grid: Tensor = GRID) -> Tensor:
    """Log p(x, z) for x `(n, 1)` and every z of a grid, `(n, grid)`."""
    z = grid[:, None]
    log_px_given_z: Tensor = decoder(z).log_prob(x[:, None])
    return log_px_given_z + standard_normal_log_prob(z)


def marginal_loglik(decoder: nn.Module, x: Tensor) -> Tensor:
    """Log p(x) for x `(n, 1)`, `(n,)`."""
    return torch.logsumexp(log_joint(decoder, x), 1) + SPACING.log()


def log_posterior(decoder: nn.Module, x: Tensor, grid: Tensor = GRID) -> Tensor:
    """Log p(z|x) for x `(n, 1)` and every z of a grid, `(n, grid)`."""
    return log_joint(decoder, x, grid) - marginal_loglik(decoder, x)[:, None]


def posterior_moments(decoder: nn.Module, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of p(z|x) for x `(n,)`, `(n,)` each.

    The Gaussian q with these moments has the lowest KL(p(z|x) ‖ q), which the sleep phase lowers.
    """
    p = log_posterior(decoder, x[:, None]).exp() * SPACING
    mean = p @ GRID
    return mean, p @ GRID**2 - mean**2


def lower_bound(decoder: nn.Module, x: Tensor, q: DiagonalGaussian) -> Tensor:
    """The bound of any decoder, by a sum over the grid (equation 2 of the paper).

    Args:
        decoder: of one latent variable.
        x: `(n, 1)`.
        q: over `(n, 1)`.

    Returns:
        `(n,)`, nats per datapoint.
    """
    log_q = DiagonalGaussian(q.mean[:, None], q.log_variance[:, None]).log_prob(GRID[:, None])
    return (log_q.exp() * (log_joint(decoder, x) - log_q)).sum(1) * SPACING


def square_bound(decoder: SquareDecoder, x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """The bound of q = N(mean, variance) in closed form, from E[z²] and E[z⁴] under q.

    Args:
        decoder: its c, b and s enter.
        x: `(n,)`, as `mean` and `variance`.
        mean: of q.
        variance: of q.

    Returns:
        `(n,)`, nats per datapoint.
    """
    c, b, s2 = _numbers(decoder)
    second, fourth = _moments(mean, variance)
    error = (x - b) ** 2 - 2 * (x - b) * c * second + c**2 * fourth
    reconstruction = -0.5 * (LOG_2PI + math.log(s2) + error / s2)
    return reconstruction + 0.5 * (1 + variance.log() - second)


def highest_bound(decoder: SquareDecoder, x: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance of the q with the highest bound for x `(n,)`, `(n,)` each.

    Where the derivatives of `square_bound` are zero, the variance solves a quadratic equation:
    one for a mean of zero, one for another mean. Of two equally good means it is the positive one.
    """
    c, b, s2 = _numbers(decoder)
    k = c * (x - b) / s2
    # at zero: 3 c²/s² v² + (1/2 − k) v − 1/2 = 0
    a = 3 * c**2 / s2
    centred = (k - 0.5 + torch.sqrt((k - 0.5) ** 2 + 2 * a)) / (2 * a)
    # on one of two peaks: 6 c²/s² v² + (1 − 2k) v + 1/2 = 0, smaller root
    root = (2 * k - 1) ** 2 - 4 * a
    aside = (2 * k - 1 - root.clamp(min=0).sqrt()) / (4 * a)
    square = (x - b) / c - 3 * aside - s2 / (2 * c**2)
    exists = (root >= 0) & (aside > 0) & (square > 0)
    aside, square = torch.where(exists, aside, 1.0), torch.where(exists, square, 0.0)
    zero = torch.zeros_like(x)
    higher = square_bound(decoder, x, square.sqrt(), aside) > square_bound(
        decoder, x, zero, centred
    )
    higher &= exists
    return torch.where(higher, square.sqrt(), zero), torch.where(higher, aside, centred)


def best_square_decoder(x: Tensor, mean: Tensor, variance: Tensor) -> SquareDecoder:
    """The square decoder with the highest mean bound, given q: a regression of x on z².

    Args:
        x: `(n,)`, as `mean` and `variance`.
        mean: of q at each datapoint.
        variance: of q at each datapoint.
    """
    second, fourth = _moments(mean, variance)
    c = (x * second).mean() - x.mean() * second.mean()
    c = c / (fourth.mean() - second.mean() ** 2)
    b = x.mean() - c * second.mean()
    s2 = ((x - b) ** 2 - 2 * (x - b) * c * second + c**2 * fourth).mean()
    return SquareDecoder(c.item(), b.item(), s2.sqrt().item())


def _numbers(decoder: SquareDecoder) -> tuple[float, float, float]:
    return decoder.c.item(), decoder.b.item(), decoder.log_variance.exp().item()


def _moments(mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    """E[z²] and E[z⁴] of a Gaussian."""
    return mean**2 + variance, mean**4 + 6 * mean**2 * variance + 3 * variance**2
