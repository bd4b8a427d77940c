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
from aevb.learners.learner import Learner
from aevb.model.randomness import normal


class MCEM(Learner):
    """Sample z ~ p(z|x) for the whole training set, then let the decoder climb log p(x, z).

    Not on-line: every iteration takes ten leapfrog steps through all N points to move the chains
    and passes through them five times to move the weights. Counted so, it costs 15 N of the samples
    on the paper's axis. (The gradient where the chains start, under the new weights, is one pass
    more.)

    Args:
        model: only its decoder is used.
        optimisation: how gradients move the decoder's parameters.
        noise: the generator of starting points, momenta and acceptances.

    Attributes:
        memory: from the first step on, `chains`, `(N, nz)`, and `step`, the HMC step size `(1, 1)`.
    """

    moves = ("decoder",)
    leapfrogs = 10
    weight_updates = 5
    samples_per_datapoint = leapfrogs + weight_updates
    takes_all_points = True
    trains_encoder = False
    objective = "log p(x, z)"

    def step(self, x: Tensor) -> Tensor:
        """One iteration on the whole training set.

        Args:
            x: all training images, `(N, pixels)`, in the same order every time.

        Returns:
            The mean of log p(x, z) over the new chains before the weights move, a scalar, nats per
            datapoint. Not a bound: the entropy of p(z|x) is missing.

        Raises:
            ValueError: if `x` has another number of images than there are chains.
        """
        if not self.memory:  # the chains start from the prior
            chains = normal(self.noise, len(x), self.model.nz)
            self.memory = {"chains": chains, "step": chains.new_full((1, 1), INITIAL_STEP_SIZE)}
        chains, step_size = self.memory["chains"], self.memory["step"]
        if len(x) != len(chains):
            raise ValueError(f"expected all {len(chains)} training points, not {len(x)}")
        joint = Joint(self.model.decoder, x)

        # E-step: one proposal per datapoint.
        start = joint.at(chains)
        moved, acceptance = transition(joint, start, step_size, self.leapfrogs, self.noise)
        self.memory = {"chains": moved.z, "step": adapted(step_size, acceptance)}

        # M-step: the decoder climbs log p(x, z), that is log p(x|z), with these z held.
        for _ in range(self.weight_updates):
            self.climb(joint, moved.z)
        return moved.log_prob.mean()

    def climb(self, joint: Joint, z: Tensor) -> None:
        """One update of the decoder along the gradient of log p(x|z), summed over all points."""
        ascent = self.ascents["decoder"]
        gradients = {name: torch.zeros_like(p) for name, p in ascent.parameters.items()}
        for rows in joint.chunks():
            p_x = self.model.decoder(z[rows])
            parts = log_likelihood_gradients(p_x, joint.x[rows], list(ascent.parameters.values()))
            for total, part in zip(gradients.values(), parts, strict=True):
                total += part
        ascent.ascend(gradients)
