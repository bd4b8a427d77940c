"""Linear networks in the place of `networks.Model`: a learner on them has a known answer."""

import torch
from torch import Generator, Tensor, nn

from aevb.model.distributions import DiagonalGaussian
from aevb.model.linear_gaussian import LinearGaussian
from aevb.model.networks import Affine, Decoder, Model


class LinearEncoder(nn.Module):
    """q(z|x) = N(A x + c, diagonal), the family that holds the best q of the linear model."""

    def __init__(self, n_pixels: int, nz: int) -> None:
        super().__init__()
        self.mean = Affine(n_pixels, nz)
        self.log_variance = nn.Parameter(torch.zeros(nz))

    def forward(self, x: Tensor) -> DiagonalGaussian:
        mean = self.mean(x)
        return DiagonalGaussian(mean, self.log_variance.expand_as(mean))


class LinearDecoder(Decoder):
    """p(x|z) = N(W z + b, s² I)."""

    def __init__(self, n_pixels: int, nz: int) -> None:
        nn.Module.__init__(self)
        self.nz = nz
        self.mean = Affine(nz, n_pixels)
        self.log_variance = nn.Parameter(torch.zeros(()))

    def forward(self, z: Tensor) -> DiagonalGaussian:
        mean = self.mean(z)
        return DiagonalGaussian(mean, self.log_variance.expand_as(mean))


class LinearModel(Model):
    """Linear encoder and decoder; weights start small and random, the rest at zero."""

    encoder: LinearEncoder  # type: ignore[assignment]
    decoder: LinearDecoder

    def __init__(self, n_pixels: int, nz: int, generator: Generator) -> None:
        nn.Module.__init__(self)
        self.nz = nz
        self.encoder = LinearEncoder(n_pixels, nz)
        self.decoder = LinearDecoder(n_pixels, nz)
        for layer in (self.encoder.mean, self.decoder.mean):
            nn.init.normal_(layer.weight, 0, 0.1, generator)

    def exact(self) -> LinearGaussian:
        """The exact answers for the decoder."""
        mean = self.decoder.mean
        return LinearGaussian(mean.weight.T, mean.bias, self.decoder.log_variance.exp())


def linear_model(truth: LinearGaussian) -> LinearModel:
    """Networks with the decoder `truth` and the best encoder for it."""
    pixels, nz = truth.weight.shape
    model = LinearModel(pixels, nz, torch.Generator())
    # The best mean is linear in x: its values at 0 and at the unit vectors are the parameters.
    at_zero, at_units = (truth.best_diagonal(x) for x in (torch.zeros(pixels), torch.eye(pixels)))
    with torch.no_grad():
        model.encoder.mean.weight.copy_(at_units.mean - at_zero.mean)
        model.encoder.mean.bias.copy_(at_zero.mean)
        model.encoder.log_variance.copy_(at_zero.log_variance)
        model.decoder.mean.weight.copy_(truth.weight.T)
        model.decoder.mean.bias.copy_(truth.bias)
        model.decoder.log_variance.fill_(truth.variance.log().item())
    return model


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal numbers in double precision."""
    return torch.randn(shape, generator=Generator().manual_seed(seed), dtype=torch.float64)


def example(nz: int, n_pixels: int = 5) -> LinearGaussian:
    """A model with oblique columns of W: for nz > 1 no diagonal q is its posterior."""
    noise = Generator().manual_seed(3)
    weight = torch.randn(n_pixels, nz, generator=noise, dtype=torch.float64)
    bias = torch.randn(n_pixels, generator=noise, dtype=torch.float64)
    return LinearGaussian(weight, bias, torch.tensor(0.3))


def log_px_given_z(model: LinearGaussian, x: Tensor, z: Tensor) -> Tensor:
    """Log p(x|z) under the model, nats per datapoint."""
    mean = z @ model.weight.T + model.bias
    return DiagonalGaussian(mean, model.variance.log().expand_as(mean)).log_prob(x)
