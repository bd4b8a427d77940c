"""The wake-sleep algorithm (Hinton et al. 1995), on-line, with the encoder of AEVB."""

from typing import ClassVar

import torch
from torch import Generator, Tensor

from aevb.learners.learner import Learner
from aevb.learners.optimiser import Optimisation
from aevb.model.distributions import standard_normal_log_prob
from aevb.model.networks import Model
from aevb.model.randomness import normal


class WakeSleep(Learner):
    """Decoder and encoder maximise two different objectives, in turn.

    Only real datapoints count as training samples, as in the paper's figures. With one hidden
    layer, `backprop.BackpropWakeSleep` computes the same step faster. Change both together.

    Args as for `Learner`, and:
        sleep_first: sleep before waking in every step, instead of after it.
        clip_dreams: clip Gaussian dreams to [0, 1], where real pixels lie.
    """

    optimised_parts = ("encoder", "decoder")
    options: ClassVar[tuple[str, ...]] = ("sleep_first", "clip_dreams")

    def __init__(
        self,
        model: Model,
        optimisation: Optimisation,
        noise: Generator,
        *,
        sleep_first: bool = False,
        clip_dreams: bool = False,
    ) -> None:
        super().__init__(model, optimisation, noise)
        self.sleep_first, self.clip_dreams = sleep_first, clip_dreams

    def step(self, x: Tensor) -> Tensor:
        """Wake on a minibatch `(M, pixels)`, and sleep; returns its mean bound."""
        if self.sleep_first:
            self.sleep(len(x))
            return self.wake(x)
        bound = self.wake(x)
        self.sleep(len(x))
        return bound

    def wake(self, x: Tensor) -> Tensor:
        """Infer one z from q(z|x) for each real image; the decoder maximises log p(x, z)."""
        with torch.no_grad():
            q = self.model.encoder(x)  # (M, nz)
            z = q.sample(normal(self.noise, len(x), self.model.nz))  # (M, nz)
        log_px_given_z = self.model.decoder(z).log_prob(x)  # (M,)
        self.ascents["decoder"].maximise(log_px_given_z.sum())
        log_pz, log_qz = standard_normal_log_prob(z), q.log_prob(z)  # (M,)
        bound: Tensor = log_px_given_z.detach() + log_pz - log_qz
        return bound.mean()

    def sleep(self, rows: int) -> None:
        """Draw as many dreams from p(x, z); the encoder maximises log q(z|x) of the dreams."""
        with torch.no_grad():
            z = normal(self.noise, rows, self.model.nz)  # (M, nz)
            dream = self.model.decoder(z).draw(self.noise)  # (M, pixels)
            if self.clip_dreams:
                dream.clamp_(0, 1)
        log_qz_given_dream = self.model.encoder(dream).log_prob(z)  # (M,)
        self.ascents["encoder"].maximise(log_qz_given_dream.sum())
