"""Monte Carlo EM (Appendix E): no encoder, one persistent HMC chain per training point."""

import torch
from torch import Tensor

from aevb.inference.hmc import (
    INITIAL_STEP_SIZE,
    Joint,
    adapted,
    log_likelihood_gradients,
    transition,
)
from aevb.learners.optimiser import Ascent
from aevb.model.networks import Model
from aevb.model.randomness import Streams


class MCEM:
    """Sample z ~ p(z|x) for the whole training set, then let the decoder climb log p(x, z).

    Not on-line: every iteration takes ten leapfrog steps through all N points to move the chains
    and passes through them five times to move the weights. Counted so, it costs 15 N of the samples
    on the paper's axis. (The gradient where the chains start, under the new weights, is one pass
    more.)

    Args:
        model: only its decoder is used.
        ascent: moves the decoder's parameters; its minibatch share is 1.
        noise: the stream of starting points, momenta and acceptances.
        n_points: N, training points; the chains start from the prior.

    Raises:
        ValueError: if the replicates differ in nz: there is no density over padding dimensions.

    Attributes:
        memory: what, beside parameters and accumulators, an iteration leaves to the next, by name:
            `chains`, `(replicates, N, nz)`, and `step`, the HMC step sizes `(replicates, 1, 1)`.
            Changed in place, so that a checkpoint can be copied into it.
    """

    leapfrogs = 10
    weight_updates = 5
    samples_per_datapoint = leapfrogs + weight_updates

    def __init__(self, model: Model, ascent: Ascent, noise: Streams, n_points: int) -> None:
        noise.require_one_nz()
        self.model, self.noise = model, noise
        self.ascents = {"decoder": ascent}
        chains = noise.latents(n_points)
        step_sizes = chains.new_full((len(chains), 1, 1), INITIAL_STEP_SIZE)
        self.memory = {"chains": chains, "step": step_sizes}

    def step(self, x: Tensor) -> Tensor:
        """One iteration on the whole training set.

        Args:
            x: all training images, `(replicates, N, pixels)`, in the same order every time.

        Returns:
            The mean of log p(x, z) over the new chains before the weights move, `(replicates,)`,
            nats per datapoint. Not a bound: the entropy of p(z|x) is missing.

        Raises:
            ValueError: if `x` has another number of images than there are chains.
        """
        chains, step_sizes = self.memory["chains"], self.memory["step"]
        if x.shape[1] != chains.shape[1]:
            raise ValueError(f"expected all {chains.shape[1]} training points, not {x.shape[1]}")
        joint = Joint(self.model.decoder, x)

        # E-step: one proposal per datapoint.
        start = joint.at(chains)
        moved, acceptance = transition(joint, start, step_sizes, self.leapfrogs, self.noise)
        chains.copy_(moved.z)
        step_sizes.copy_(adapted(step_sizes, acceptance))

        # M-step: the decoder climbs log p(x, z), that is log p(x|z), with these z held.
        ascent = self.ascents["decoder"]
        for _ in range(self.weight_updates):
            gradients = {name: torch.zeros_like(p) for name, p in ascent.parameters.items()}
            for rows in joint.chunks():
                p_x = self.model.decoder(chains[:, rows])
                parts = log_likelihood_gradients(p_x, x[:, rows], list(ascent.parameters.values()))
                for total, part in zip(gradients.values(), parts, strict=True):
                    total += part
            ascent.ascend(gradients)
        return moved.log_prob.mean(1)
