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
    """Sample z ~ p(z|x) for the whole training set, then update the decoder along log p(x, z).

    Not on-line: an iteration passes through all N points ten times to move the chains, and five
    times to move the weights. On the paper's axis it counts as 15 N samples. (One more pass, for
    the gradient where the chains start, is not counted.)

    Attributes:
        memory: from the first step on, `chains` `(N, nz)`, and `step`, the step size `(1, 1)`.
    """

    optimised_parts = ("decoder",)
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
            The mean of log p(x, z) over the new chains, under the old weights; a scalar, nats per
            datapoint. It is no bound: the entropy of p(z|x) is missing.

        Raises:
            ValueError: if there are not as many images as chains.
        """
        if not self.memory:  # the chains start from the prior
            chains = normal(self.noise, len(x), self.model.nz)
            self.memory = {"chains": chains, "step": chains.new_full((1, 1), INITIAL_STEP_SIZE)}
        chains, step_size = self.memory["chains"], self.memory["step"]
        if len(x) != len(chains):
            raise ValueError(f"expected all {len(chains)} training points, not {len(x)}")
        joint = Joint(self.model.decoder, x)

        # E-step: one proposal per datapoint.
        start = joint.evaluate(chains)
        moved, acceptance = transition(joint, start, step_size, self.leapfrogs, self.noise)
        self.memory = {"chains": moved.z, "step": adapted(step_size, acceptance)}

        # M-step: the decoder maximises log p(x|z); z, and so log p(z), is fixed.
        for _ in range(self.weight_updates):
            self.m_step(joint, moved.z)
        return moved.log_prob.mean()

    def m_step(self, joint: Joint, z: Tensor) -> None:
        """One update of the decoder along the gradient of log p(x|z), summed over all points."""
        ascent = self.ascents["decoder"]
        gradients = {name: torch.zeros_like(p) for name, p in ascent.parameters.items()}
        for rows in joint.chunks():
            p_x = self.model.decoder(z[rows])
            parts = log_likelihood_gradients(p_x, joint.x[rows], list(ascent.parameters.values()))
            for total, part in zip(gradients.values(), parts, strict=True):
                total += part
        ascent.update(gradients)
