"""Learners on small models: any encoder and decoder, one latent variable, plain Adagrad."""

from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor, nn

from aevb.learners import LEARNERS
from aevb.learners.learner import Learner
from aevb.learners.optimiser import Ascent, Optimisation
from aevb.model.distributions import DiagonalGaussian
from aevb.model.networks import Affine, Architecture, Encoder
from aevb.model.randomness import generator, indices


class Pair(nn.Module):
    """An encoder and a decoder of one latent variable: all that a learner needs of a model."""

    nz = 1

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.decoder = encoder, decoder


class LinearGaussianNetwork(nn.Module):
    """N(W x + b, s² I): an encoder or a decoder with a linear mean; starts at N(0, I)."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.mean = Affine(n_in, n_out)
        self.log_variance = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> DiagonalGaussian:
        """Map `(..., n_in)` to a Gaussian over `(..., n_out)`."""
        mean = self.mean(x)
        return DiagonalGaussian(mean, self.log_variance.expand_as(mean))


@torch.no_grad()
def tanh_encoder(seed: int = 0, mean: float = 0.0) -> Encoder:
    """The paper's encoder with one pixel, 32 hidden units and weights drawn at random.

    Args:
        seed: of the weights.
        mean: the bias of q's mean.
    """
    encoder = Encoder(Architecture(n_pixels=1, n_hidden=32, nz=1, likelihood="gaussian"))
    g = torch.Generator().manual_seed(seed)
    for layer, std in ((encoder.hidden, 1.0), (encoder.mean, 0.1), (encoder.log_variance, 0.1)):
        layer.weight.normal_(0, std, generator=g)
    encoder.hidden.bias.normal_(0, 2, generator=g)
    encoder.mean.bias.fill_(mean)
    return encoder


def learner(
    algorithm: str, pair: Pair, step_size: float, *, decoder_learns: bool = True, seed: int = 0
) -> Learner:
    """A learner of `LEARNERS` on a pair, without warm-up and prior.

    Args:
        algorithm: `aevb` or `wake-sleep`.
        pair: what it trains.
        step_size: of Adagrad.
        decoder_learns: `False` holds the decoder still.
        seed: of the noise.
    """
    plain = Optimisation(step_size=step_size, warmup=0)
    made = LEARNERS[algorithm](pair, plain, generator(seed, "noise"))  # type: ignore[arg-type]
    if not decoder_learns and algorithm == "aevb":
        made.ascents["model"] = Ascent(pair.encoder.named_parameters(), plain)
    elif not decoder_learns:
        held = replace(plain, step_size=0.0)
        made.ascents["decoder"] = Ascent(pair.decoder.named_parameters(), held)
    return made


def train(
    learner: Learner,
    x: Tensor,
    updates: int,
    look: Callable[[], Mapping[str, float]] = dict,
    *,
    minibatch: int = 100,
    seed: int = 0,
) -> list[dict[str, float]]:
    """Train on minibatches, and record values now and then.

    Args:
        learner: updated in place.
        x: datapoints, `(n, pixels)`.
        updates: how many.
        look: returns what to record.
        minibatch: datapoints an update.
        seed: of the minibatches.

    Returns:
        `updates` and what `look` returned: before the first update, then at about 30 updates that
        are evenly spaced on a logarithmic axis.
    """
    moments = {0, *np.geomspace(1, updates, 40).astype(int)}
    order = generator(seed, "minibatches")
    seen: list[dict[str, float]] = []
    for update in range(updates + 1):
        if update in moments:
            with torch.no_grad():
                seen.append({"updates": update, **look()})
        if update < updates:
            learner.step(x[indices(order, minibatch, len(x))])
    return seen
