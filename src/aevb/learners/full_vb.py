"""Algorithm 2 (Appendix F): full variational Bayes, over the weights as well as over z."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Generator, Tensor, nn

from aevb.learners.aevb import lower_bound
from aevb.learners.learner import Learner
from aevb.learners.optimiser import Ascent, Optimisation
from aevb.model.networks import Affine, Decoder, Model
from aevb.model.randomness import normal

# A standard deviation of 0.05: wider than the initial weights, far from the prior's 1.
INITIAL_LOG_VARIANCE = -6.0
LOG_VARIANCE = "weight_log_variance"


class FullVB(Learner):
    """A diagonal Gaussian over the decoder's weights, and q(z|x), climb one bound of log p(X).

    θ are the weight matrices of the decoder, with the prior N(0, I / τ) that AEVB's runs have.
    Biases, which have no prior there, stay points, and so does the encoder. The decoder's weights
    are the means of q(θ); the log variance of each stands beside it, as `LOG_VARIANCE`.

    Args as for `Learner`.

    Raises:
        ValueError: if the weights have no prior.
    """

    objective = "bound of log p(X) / N"

    def __init__(self, model: Model, optimisation: Optimisation, noise: Generator) -> None:
        if optimisation.weight_decay <= 0:
            raise ValueError("prior is 0: a posterior over weights needs a prior, expected above 0")
        super().__init__(model, optimisation, noise)
        self.share = optimisation.share
        self.precision = optimisation.weight_decay / optimisation.share  # τ
        for layer in weighted_layers(model.decoder):
            start = torch.full_like(layer.weight, INITIAL_LOG_VARIANCE)
            layer.register_parameter(LOG_VARIANCE, nn.Parameter(start))
        # The prior of θ is in the bound.
        in_bound = replace(optimisation, weight_decay=0.0)
        self.ascents = {
            "encoder": Ascent(model.encoder.named_parameters("encoder"), optimisation),
            "decoder": Ascent(model.decoder.named_parameters("decoder"), in_bound),
        }

    def step(self, x: Tensor) -> Tensor:
        """The body of Algorithm 2, for a minibatch `(M, pixels)` and one draw of θ for each row."""
        # ε for z; ζ, for θ, is drawn inside the decoder
        epsilon = normal(self.noise, 1, len(x), self.model.nz)  # (1, M, nz)
        with weights_drawn(self.model.decoder, self.noise):
            bound = lower_bound(self.model, x, epsilon)  # (M,)
        # The mean of f / N (equation 21), both divergences in closed form as in equation 24
        kl = kl_of_weights(self.model.decoder, self.precision)
        objective = bound.sum() - self.share * kl
        every = {n: p for a in self.ascents.values() for n, p in a.parameters.items()}
        moved = torch.autograd.grad(objective, list(every.values()), materialize_grads=True)
        gradients = dict(zip(every, moved, strict=True))
        for ascent in self.ascents.values():
            ascent.update(gradients)
        return objective.detach() / len(x)


def weighted_layers(decoder: Decoder) -> list[Affine]:
    """The layers whose weights have, or are to have, a posterior."""
    return [layer for layer in decoder.modules() if isinstance(layer, Affine)]


def kl_of_weights(decoder: Decoder, precision: float) -> Tensor:
    """KL(q(θ) ‖ N(0, I / τ)), closed form (F.1); a scalar, nats for the whole training set."""
    total = torch.zeros(())
    for layer in weighted_layers(decoder):
        log_variance = layer.get_parameter(LOG_VARIANCE) + math.log(precision)
        squares = precision * layer.weight.square()
        total = total + 0.5 * (squares + log_variance.exp() - log_variance - 1).sum()
    return total


@contextmanager
def weights_drawn(decoder: Decoder, noise: Generator) -> Iterator[None]:
    """Within it, every row of z that the decoder takes meets its own draw of θ from q(θ).

    A layer's outputs are drawn instead of its weights, to the same distribution: for one row h,
    h W is Gaussian, with mean h E[W] and variance h² Var[W] (Kingma, Salimans & Welling 2015).
    """

    def draw(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        assert isinstance(layer, Affine)
        variance = layer.get_parameter(LOG_VARIANCE).exp() * layer.factor**2
        spread = inputs[0].square() @ variance
        return output + (spread + 1e-12).sqrt() * normal(noise, *output.shape)

    hooks: list[Any] = [layer.register_forward_hook(draw) for layer in weighted_layers(decoder)]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()
