"""One file per algorithm, each the pseudo-code of its paper made executable."""

from collections.abc import Mapping
from typing import Protocol

from torch import Tensor

from aevb.learners.optimiser import Ascent
from aevb.model.networks import Model
from aevb.model.randomness import Streams


class Learner(Protocol):
    """What the training loop knows of an algorithm."""

    @property
    def model(self) -> Model:
        """The networks of the stack."""
        ...

    @property
    def ascents(self) -> Mapping[str, Ascent]:
        """What moves the parameters, by what it moves."""
        ...

    @property
    def noise(self) -> Streams:
        """The streams of the algorithm's own randomness."""
        ...

    @property
    def memory(self) -> Mapping[str, Tensor]:
        """What else an update leaves to the next, `(replicates, ...)`, changed in place."""
        ...

    @property
    def samples_per_datapoint(self) -> int:
        """Training samples that a datapoint of a minibatch counts for on the paper's axes."""
        ...

    def step(self, x: Tensor) -> Tensor:
        """Update the parameters from one minibatch.

        Args:
            x: images, `(replicates, minibatch, pixels)`.

        Returns:
            The minibatch's bound under the parameters that the update starts from (wake-sleep: that
            the wake phase starts from; MCEM: the mean of log p(x, z)), `(replicates,)`, nats per
            datapoint.
        """
        ...
