"""What the rest of the library needs to know about an algorithm."""

from collections.abc import Iterable
from typing import ClassVar

from torch import Generator, Tensor, nn

from aevb.learners.optimiser import Ascent, Optimisation
from aevb.model.networks import Model


class Learner:
    """A learning rule for a model. A subclass declares what it is and defines `step`.

    Args:
        model: encoder and decoder.
        optimisation: how gradients move the parameters.
        noise: the generator of the algorithm's own randomness.

    Attributes:
        optimised_parts: parts with an optimiser each: `model`, `encoder` or `decoder`.
        options: names of further arguments of the subclass; each is a setting of a run.
        trains_encoder: whether it learns a q(z|x), and so has a lower bound.
        takes_all_points: whether every update takes all N datapoints, in order.
        samples_per_datapoint: samples on the paper's axes for one datapoint.
        objective: name of what `step` returns.
        ascents: the optimiser of each of `optimised_parts`.
        memory: other state between updates, by name.
    """

    optimised_parts: ClassVar[tuple[str, ...]] = ("model",)
    options: ClassVar[tuple[str, ...]] = ()
    trains_encoder: ClassVar[bool] = True
    takes_all_points: ClassVar[bool] = False
    samples_per_datapoint: ClassVar[int] = 1
    objective: ClassVar[str] = "bound"

    def __init__(self, model: Model, optimisation: Optimisation, noise: Generator) -> None:
        self.model, self.noise = model, noise
        self.ascents = {
            part: Ascent(_named_parameters(model, part), optimisation)
            for part in self.optimised_parts
        }
        self.memory: dict[str, Tensor] = {}

    def step(self, x: Tensor) -> Tensor:
        """Update the parameters from one minibatch.

        Args:
            x: images, `(minibatch, pixels)`.

        Returns:
            The mean objective of the minibatch before the update, a scalar, nats per datapoint.
        """
        raise NotImplementedError


def _named_parameters(model: Model, part: str) -> Iterable[tuple[str, Tensor]]:
    if part == "model":
        return model.named_parameters()
    network: nn.Module = getattr(model, part)
    return network.named_parameters(part)
