"""Encoder and decoders of Appendix C, and their initialisation. Knows no learning rule.

Every tensor has a leading replicate axis: runs of the same data set and algorithm (other seeds,
other Nz) train as one stack of independent models, and a single run is a stack of one. A model
whose Nz is below the stack's is padded with latent dimensions whose weights are zero and stay zero.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn

from aevb.model.distributions import Bernoulli, DiagonalGaussian
from aevb.model.products import affine


@dataclass(frozen=True)
class Architecture:
    """Sizes of one model: the same hidden layer in encoder and decoder (section 5).

    `log_variance_factor` multiplies the weights of the encoder's log-variance head. A small one
    slows that head down under Adagrad, whose steps do not depend on the scale of a gradient.
    The paper has one hidden layer; `hidden_layers` of the same width take its place.
    """

    n_pixels: int
    n_hidden: int
    nz: int
    likelihood: Literal["bernoulli", "gaussian"]
    log_variance_factor: float = 1.0
    hidden_layers: int = 1


class StackedLinear(nn.Module):
    """y = factor · x W + b, one W and b per replicate; the factor is fixed.

    A layer at the pixels takes its products in the precision of `products`, the others in float32.
    """

    def __init__(
        self,
        replicates: int,
        n_in: int,
        n_out: int,
        factor: float = 1.0,
        *,
        at_pixels: bool = False,
    ) -> None:
        super().__init__()
        self.factor, self.at_pixels = factor, at_pixels
        self.weight = nn.Parameter(torch.zeros(replicates, n_in, n_out))
        self.bias = nn.Parameter(torch.zeros(replicates, 1, n_out))

    def forward(self, x: Tensor) -> Tensor:
        """Map `(replicates, rows, n_in)` to `(replicates, rows, n_out)`."""
        weight = self.weight if self.factor == 1 else self.weight * self.factor
        if len(weight) == 1:
            # Views, not selections: the gradient of a selection fills a tensor with zeros first.
            one = x.squeeze(0), weight.squeeze(0), self.bias.flatten()
            return affine(*one, rounds=self.at_pixels).unsqueeze(0)
        return torch.stack(
            [
                affine(*one, rounds=self.at_pixels)
                for one in zip(x, weight, self.bias[:, 0], strict=True)
            ]
        )


class TanhLayers(nn.ModuleList):
    """Tanh layers of one width, behind the first; none in the paper."""

    def __init__(self, replicates: int, n_hidden: int, layers: int) -> None:
        super().__init__(StackedLinear(replicates, n_hidden, n_hidden) for _ in range(layers))

    def forward(self, h: Tensor) -> Tensor:
        """Map `(replicates, rows, n_hidden)` to the same shape."""
        for layer in self:
            h = torch.tanh(layer(h))
        return h


class Encoder(nn.Module):
    """q(z|x): x → tanh layer → mean and log variance of a diagonal Gaussian (Appendix C.2).

    Args:
        n_pixels: pixels of an image.
        n_hidden: hidden units.
        nz: latent dimensions of each replicate.
        log_variance_factor: see `Architecture`.
        hidden_layers: see `Architecture`.
    """

    active: Tensor | None

    def __init__(
        self,
        n_pixels: int,
        n_hidden: int,
        nz: Sequence[int],
        log_variance_factor: float = 1.0,
        hidden_layers: int = 1,
    ) -> None:
        super().__init__()
        replicates, widest = len(nz), max(nz)
        self.hidden = StackedLinear(replicates, n_pixels, n_hidden, at_pixels=True)
        self.deeper = TanhLayers(replicates, n_hidden, hidden_layers - 1)
        self.mean = StackedLinear(replicates, n_hidden, widest)
        self.log_variance = StackedLinear(replicates, n_hidden, widest, log_variance_factor)
        # A padding dimension has q(z|x) = p(z) = N(0, 1) and passes no gradient.
        padded = min(nz) < widest
        active = torch.arange(widest) < torch.tensor(nz)[:, None, None] if padded else None
        self.register_buffer("active", active, persistent=False)

    def forward(self, x: Tensor) -> DiagonalGaussian:
        """Map images `(replicates, rows, n_pixels)` to q(z|x) over `(replicates, rows, nz)`."""
        h = self.deeper(torch.tanh(self.hidden(x)))
        mean, log_variance = self.mean(h), self.log_variance(h)
        if self.active is not None:
            mean, log_variance = mean * self.active, log_variance * self.active
        return DiagonalGaussian(mean, log_variance)


class BernoulliDecoder(nn.Module):
    """p(x|z) for MNIST: z → tanh layer → logits of Bernoulli pixels (Appendix C.1)."""

    def __init__(
        self, n_pixels: int, n_hidden: int, nz: Sequence[int], hidden_layers: int = 1
    ) -> None:
        super().__init__()
        self.hidden = StackedLinear(len(nz), max(nz), n_hidden)
        self.deeper = TanhLayers(len(nz), n_hidden, hidden_layers - 1)
        self.logits = StackedLinear(len(nz), n_hidden, n_pixels, at_pixels=True)

    def forward(self, z: Tensor) -> Bernoulli:
        """Map `(replicates, rows, nz)` to p(x|z) over `(replicates, rows, n_pixels)`."""
        return Bernoulli(self.logits(self.deeper(torch.tanh(self.hidden(z)))))


class GaussianDecoder(nn.Module):
    """p(x|z) for Frey Face: mean in (0, 1) through a sigmoid, log variance (Appendix C.2)."""

    def __init__(
        self, n_pixels: int, n_hidden: int, nz: Sequence[int], hidden_layers: int = 1
    ) -> None:
        super().__init__()
        self.hidden = StackedLinear(len(nz), max(nz), n_hidden)
        self.deeper = TanhLayers(len(nz), n_hidden, hidden_layers - 1)
        self.mean = StackedLinear(len(nz), n_hidden, n_pixels, at_pixels=True)
        self.log_variance = StackedLinear(len(nz), n_hidden, n_pixels, at_pixels=True)

    def forward(self, z: Tensor) -> DiagonalGaussian:
        """Map `(replicates, rows, nz)` to p(x|z) over `(replicates, rows, n_pixels)`."""
        h = self.deeper(torch.tanh(self.hidden(z)))
        return DiagonalGaussian(torch.sigmoid(self.mean(h)), self.log_variance(h))


Decoder = BernoulliDecoder | GaussianDecoder
DECODERS: dict[str, type[Decoder]] = {"bernoulli": BernoulliDecoder, "gaussian": GaussianDecoder}


class Model(nn.Module):
    """Encoder and decoder of a stack of runs, all parameters zero until loaded.

    Args:
        architectures: one per replicate; they may differ in Nz alone.

    Raises:
        ValueError: if the architectures differ in anything else.
    """

    def __init__(self, architectures: Sequence[Architecture]) -> None:
        super().__init__()
        shapes = {replace(a, nz=0) for a in architectures}
        if len(shapes) != 1:
            raise ValueError(f"only models that differ in nz alone can be stacked, not {shapes}")
        shape = shapes.pop()
        self.nz = [a.nz for a in architectures]
        sizes = shape.n_pixels, shape.n_hidden, self.nz
        self.encoder = Encoder(*sizes, shape.log_variance_factor, shape.hidden_layers)
        self.decoder: Decoder = DECODERS[shape.likelihood](*sizes, shape.hidden_layers)


def load_replicate(
    target: Mapping[str, Tensor], replicate: int, values: Mapping[str, Tensor]
) -> None:
    """Write the tensors of one run into their place in a stack; padding stays as it is."""
    with torch.no_grad():
        for name, value in values.items():
            target[name][replicate][tuple(slice(n) for n in value.shape)] = value


@dataclass(frozen=True)
class Initialisation:
    """Standard deviations of the N(0, std²) from which parameters are drawn.

    The paper says N(0, 0.01); its curves start where a *standard deviation* of 0.01 puts them.
    """

    std: float = 0.01
    encoder_log_variance_std: float = 0.0
    decoder_output_bias_std: float = 0.0


def initial_parameters(
    architecture: Architecture, initialisation: Initialisation, generator: torch.Generator
) -> dict[str, Tensor]:
    """Draw the parameters of one run.

    Returns:
        By the name `<network>.<layer>.<weight|bias>`: weights `(n_in, n_out)`, biases `(1, n_out)`.
    """
    special = {
        "encoder.log_variance.weight": initialisation.encoder_log_variance_std,
        "encoder.log_variance.bias": initialisation.encoder_log_variance_std,
        "decoder.logits.bias": initialisation.decoder_output_bias_std,
        "decoder.mean.bias": initialisation.decoder_output_bias_std,
        "decoder.log_variance.bias": initialisation.decoder_output_bias_std,
    }
    return {
        # Drawn even where the standard deviation is zero: all other draws stay what they were.
        name: torch.randn(shape, generator=generator) * special.get(name, initialisation.std)
        for name, shape in parameter_shapes(architecture).items()
    }


def initialised(
    architectures: Sequence[Architecture],
    initialisation: Initialisation,
    generators: Sequence[torch.Generator],
) -> Model:
    """A stack of runs before its first update, each drawn from a generator of its own."""
    model = Model(architectures)
    for r, (one, generator) in enumerate(zip(architectures, generators, strict=True)):
        values = initial_parameters(one, initialisation, generator)
        load_replicate(dict(model.named_parameters()), r, values)
    return model


def parameter_shapes(architecture: Architecture) -> dict[str, torch.Size]:
    """Shapes of the parameters of one run, without the replicate axis, by name."""
    with torch.device("meta"):
        model = Model([architecture])
    return {name: parameter.shape[1:] for name, parameter in model.named_parameters()}
