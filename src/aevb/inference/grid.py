"""The posterior of two latent variables on a grid: exact values for small models."""

import math

import torch
from torch import Tensor

from aevb.inference.likelihood import pairwise_log_likelihood
from aevb.model.distributions import DiagonalGaussian, standard_normal_log_prob
from aevb.model.networks import Decoder


class PosteriorGrid:
    """log p(x, z) of images on a grid of two latent variables; log p(x) and bounds are its sums.

    Args:
        decoder: p(x|z), with nz = 2.
        x: images, `(rows, pixels)`.
        first: evenly spaced values of the first latent variable.
        second: of the second.

    Attributes:
        log_joint: log p(x, z), `(rows, first, second)`, nats.

    Raises:
        ValueError: if the decoder has not two latent variables.
    """

    def __init__(self, decoder: Decoder, x: Tensor, first: Tensor, second: Tensor) -> None:
        if decoder.nz != 2:
            raise ValueError(f"expected a decoder of two latent variables, not {decoder.nz}")
        self.axes = first, second
        z = torch.cartesian_prod(first, second)
        log_joint = pairwise_log_likelihood(decoder, z, x) + standard_normal_log_prob(z)
        self.log_joint = log_joint.view(len(x), len(first), len(second))

    @property
    def _spacings(self) -> tuple[Tensor, Tensor]:
        first, second = self.axes
        return first[1] - first[0], second[1] - second[0]

    def marginal_loglik(self) -> Tensor:
        """Log p(x), `(rows,)`, nats."""
        first, second = self._spacings
        return torch.logsumexp(self.log_joint.flatten(1), 1) + (first * second).log()

    def posterior(self) -> Tensor:
        """p(z|x) of the grid points, `(rows, first, second)`; sums to one."""
        return torch.softmax(self.log_joint.flatten(1), 1).view_as(self.log_joint)

    def lower_bound(self, q: DiagonalGaussian) -> Tensor:
        """The bound at one diagonal Gaussian for each image, `(rows,)`, nats.

        The expectation of log p(x, z) is a sum over the grid; the entropy of q is in closed form.
        """
        along = [
            DiagonalGaussian(q.mean[:, None, None, j], q.log_variance[:, None, None, j])
            .log_prob(axis[:, None])
            .exp()
            * spacing
            for j, (axis, spacing) in enumerate(zip(self.axes, self._spacings, strict=True))
        ]
        expected = torch.einsum("ni,nj,nij->n", *along, self.log_joint)
        return expected + 0.5 * (1 + math.log(2 * math.pi) + q.log_variance).sum(-1)

    def best_gaussian(self, start: DiagonalGaussian, steps: int = 200) -> DiagonalGaussian:
        """The diagonal Gaussian with the highest bound for each image, by Adam.

        Args:
            start: where to begin, such as the encoder's q; no image ends lower.
            steps: of the ascent; the last 30 % are smaller.
        """
        moves = torch.zeros(2, *start.mean.shape, requires_grad=True)
        width = torch.exp(start.log_variance / 2)
        adam = torch.optim.Adam([moves], lr=0.1, maximize=True)
        best, highest = start, self.lower_bound(start)
        for step in range(steps):
            adam.param_groups[0]["lr"] = 0.1 if step < 0.7 * steps else 0.02
            with torch.enable_grad():
                q = DiagonalGaussian(start.mean + width * moves[0], start.log_variance + moves[1])
                bound = self.lower_bound(q)
                adam.zero_grad()
                bound.sum().backward()  # type: ignore[no-untyped-call]
            better = (bound.detach() > highest)[:, None]
            best = DiagonalGaussian(
                torch.where(better, q.mean.detach(), best.mean),
                torch.where(better, q.log_variance.detach(), best.log_variance),
            )
            highest = torch.maximum(highest, bound.detach())
            adam.step()
        return best
