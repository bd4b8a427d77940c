"""Linear networks with the interface of `networks.Model`: a learner on them has a known answer."""

from typing import cast

import torch
from torch import Tensor, nn

from aevb.model.distributions import DiagonalGaussian
from aevb.model.linear_gaussian import LinearGaussian
from aevb.model.networks import Model, StackedLinear


class LinearEncoder(nn.Module):
    """q(z|x) = N(A x + c, diagonal), the family that holds the best q of the linear model."""

    def __init__(self, replicates: int, n_pixels: int, nz: int) -> None:
        super().__init__()
        self.mean = StackedLinear(replicates, n_pixels, nz)
        self.log_variance = nn.Parameter(torch.zeros(replicates, 1, nz))

    def forward(self, x: Tensor) -> DiagonalGaussian:
        mean = self.mean(x)
        return DiagonalGaussian(mean, self.log_variance.expand_as(mean))


class LinearDecoder(nn.Module):
    """p(x|z) = N(W z + b, s² I)."""

    def __init__(self, replicates: int, n_pixels: int, nz: int) -> None:
        super().__init__()
        self.mean = StackedLinear(replicates, nz, n_pixels)
        self.log_variance = nn.Parameter(torch.zeros(replicates, 1, 1))

    def forward(self, z: Tensor) -> DiagonalGaussian:
        mean = self.mean(z)
        return DiagonalGaussian(mean, self.log_variance.expand_as(mean))


class LinearModel(nn.Module):
    """Encoder and decoder of a stack; weights start small and random, the rest at zero."""

    def __init__(self, replicates: int, n_pixels: int, nz: int, generator: torch.Generator) -> None:
        super().__init__()
        self.encoder = LinearEncoder(replicates, n_pixels, nz)
        self.decoder = LinearDecoder(replicates, n_pixels, nz)
        with torch.no_grad():
            for layer in (self.encoder.mean, self.decoder.mean):
                layer.weight.normal_(0, 0.1, generator=generator)

    def as_model(self) -> Model:
        """The same object, to a type checker: learners use no more than what is here."""
        return cast(Model, self)

    def exact(self, replicate: int = 0) -> LinearGaussian:
        """The exact answers for one replicate's decoder."""
        decoder = self.decoder
        return LinearGaussian(
            decoder.mean.weight[replicate].T,
            decoder.mean.bias[replicate, 0],
            decoder.log_variance[replicate, 0, 0].exp(),
        )


def example(nz: int, n_pixels: int = 5) -> LinearGaussian:
    """A model with oblique columns of W: for nz > 1 no diagonal q is its posterior."""
    generator = torch.Generator().manual_seed(3)
    weight = torch.randn(n_pixels, nz, generator=generator, dtype=torch.float64)
    bias = torch.randn(n_pixels, generator=generator, dtype=torch.float64)
    return LinearGaussian(weight, bias, torch.tensor(0.3))
