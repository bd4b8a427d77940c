"""Encoder and decoders of Appendix C, and their initialisation. Knows no learning rule."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Generator, Tensor, nn

from aevb.errors import ConfigurationError
from aevb.model.distributions import Bernoulli, DiagonalGaussian, Likelihood
from aevb.model.products import affine


@dataclass(frozen=True)
class Architecture:
    """Sizes of a model: the same hidden layers in encoder and decoder (section 5).

    Attributes:
        n_pixels: of an image.
        n_hidden: units of a hidden layer.
        nz: latent dimensions.
        likelihood: a name in `DECODERS`.
        log_variance_factor: fixed factor on the weights of the encoder's log-variance head.
            Adagrad's steps ignore the scale of a gradient, so a small factor slows that head down.
        hidden_layers: the paper has one.
    """

    n_pixels: int
    n_hidden: int
    nz: int
    likelihood: str
    log_variance_factor: float = 1.0
    hidden_layers: int = 1


class Affine(nn.Module):
    """y = factor · x W + b; the factor is fixed, W and b start at zero.

    The products of a `large` layer, which has a side as long as an image, are in the precision of
    `products`. Others are in float32.
    """

    def __init__(self, n_in: int, n_out: int, factor: float = 1.0, *, large: bool = False) -> None:
        super().__init__()
        self.factor, self.large = factor, large
        self.weight = nn.Parameter(torch.zeros(n_in, n_out))
        self.bias = nn.Parameter(torch.zeros(n_out))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(..., n_in)` to `(..., n_out)`."""
        weight = self.weight if self.factor == 1 else self.weight * self.factor
        return affine(x, weight, self.bias, large=self.large)


class TanhLayers(nn.ModuleList):
    """Tanh layers after the first; none in the paper."""

    def __init__(self, n_hidden: int, layers: int) -> None:
        super().__init__(Affine(n_hidden, n_hidden) for _ in range(layers))

    def forward(self, h: Tensor) -> Tensor:
        """Map `(..., n_hidden)` to the same shape."""
        for layer in self:
            h = torch.tanh(layer(h))
        return h


class Encoder(nn.Module):
    """q(z|x): x → tanh layer → mean and log variance of a diagonal Gaussian (Appendix C.2)."""

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        self.hidden = Affine(sizes.n_pixels, sizes.n_hidden, large=True)
        self.deeper = TanhLayers(sizes.n_hidden, sizes.hidden_layers - 1)
        self.mean = Affine(sizes.n_hidden, sizes.nz)
        self.log_variance = Affine(sizes.n_hidden, sizes.nz, sizes.log_variance_factor)

    def forward(self, x: Tensor) -> DiagonalGaussian:
        """Map images `(..., n_pixels)` to q(z|x) over `(..., nz)`."""
        h = self.deeper(torch.tanh(self.hidden(x)))
        return DiagonalGaussian(self.mean(h), self.log_variance(h))


class Decoder(nn.Module):
    """p(x|z): any network that maps `(..., nz)` to a `Likelihood` of images.

    Attributes:
        outputs: names of the layers that give the parameters of p(x|z). Their biases are drawn
            with `init_decoder_output_bias_std`.
    """

    outputs: ClassVar[tuple[str, ...]] = ()

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        self.nz = sizes.nz

    def forward(self, z: Tensor) -> Likelihood:
        """Map `(..., nz)` to p(x|z) over `(..., n_pixels)`."""
        raise NotImplementedError


class BernoulliDecoder(Decoder):
    """p(x|z) for MNIST: z → tanh layer → logits of Bernoulli pixels (Appendix C.1)."""

    outputs = ("logits",)

    def __init__(self, sizes: Architecture) -> None:
        super().__init__(sizes)
        self.hidden = Affine(sizes.nz, sizes.n_hidden)
        self.deeper = TanhLayers(sizes.n_hidden, sizes.hidden_layers - 1)
        self.logits = Affine(sizes.n_hidden, sizes.n_pixels, large=True)

    def forward(self, z: Tensor) -> Bernoulli:
        """Map `(..., nz)` to p(x|z) over `(..., n_pixels)`."""
        return Bernoulli(self.logits(self.deeper(torch.tanh(self.hidden(z)))))


class GaussianDecoder(Decoder):
    """p(x|z) for Frey Face: mean in (0, 1) through a sigmoid, log variance (Appendix C.2)."""

    outputs = ("mean", "log_variance")

    def __init__(self, sizes: Architecture) -> None:
        super().__init__(sizes)
        self.hidden = Affine(sizes.nz, sizes.n_hidden)
        self.deeper = TanhLayers(sizes.n_hidden, sizes.hidden_layers - 1)
        self.mean = Affine(sizes.n_hidden, sizes.n_pixels, large=True)
        self.log_variance = Affine(sizes.n_hidden, sizes.n_pixels, large=True)

    def forward(self, z: Tensor) -> DiagonalGaussian:
        """Map `(..., nz)` to p(x|z) over `(..., n_pixels)`."""
        h = self.deeper(torch.tanh(self.hidden(z)))
        return DiagonalGaussian(torch.sigmoid(self.mean(h)), self.log_variance(h))


DECODERS: dict[str, type[Decoder]] = {"bernoulli": BernoulliDecoder, "gaussian": GaussianDecoder}


class Model(nn.Module):
    """Encoder and decoder; all parameters are zero until drawn or loaded."""

    def __init__(self, sizes: Architecture) -> None:
        super().__init__()
        self.nz = sizes.nz
        self.encoder = Encoder(sizes)
        self.decoder = DECODERS[sizes.likelihood](sizes)


@dataclass(frozen=True)
class Initialisation:
    """Standard deviations of the N(0, std²) from which parameters are drawn.

    The paper says N(0, 0.01); its curves start where a *standard deviation* of 0.01 puts them.
    """

    std: float = 0.01
    encoder_log_variance_std: float = 0.0
    decoder_output_bias_std: float = 0.0


@torch.no_grad()
def initialised(sizes: Architecture, initialisation: Initialisation, generator: Generator) -> Model:
    """A model before its first update.

    Raises:
        ConfigurationError: if there is a standard deviation for the biases of the decoder's
            outputs, and the decoder does not name them.
    """
    model = Model(sizes)
    outputs = model.decoder.outputs
    if initialisation.decoder_output_bias_std and not outputs:
        raise ConfigurationError(
            f"init_decoder_output_bias_std is {initialisation.decoder_output_bias_std}, and "
            f"{type(model.decoder).__name__} does not name its output layers: expected "
            "`outputs = (...)` in that class, or --set init_decoder_output_bias_std=0"
        )
    special = {
        "encoder.log_variance.weight": initialisation.encoder_log_variance_std,
        "encoder.log_variance.bias": initialisation.encoder_log_variance_std,
        **{f"decoder.{name}.bias": initialisation.decoder_output_bias_std for name in outputs},
    }
    for name, parameter in model.named_parameters():
        # Drawn even for a standard deviation of zero, so that the other draws do not depend on it.
        drawn = torch.randn(parameter.shape, generator=generator)
        parameter.copy_(drawn * special.get(name, initialisation.std))
    return model
