"""Reweighted wake-sleep (Bornschein & Bengio 2015): wake-sleep with importance weights."""

import torch
from torch import Generator, Tensor

from aevb.learners.optimiser import Optimisation
from aevb.learners.wake_sleep import WakeSleep
from aevb.model.bound import importance_weighted
from aevb.model.distributions import standard_normal_log_prob
from aevb.model.networks import Model
from aevb.model.randomness import normal


class ReweightedWakeSleep(WakeSleep):
    """Wake with K weighted explanations, from which the encoder learns too; sleep as before.

    Args as for `WakeSleep`, and:
        n_samples: K of the paper.
    """

    options = (*WakeSleep.options, "n_samples")
    objective = "importance-weighted bound"

    def __init__(
        self,
        model: Model,
        optimisation: Optimisation,
        noise: Generator,
        *,
        sleep_first: bool = False,
        clip_dreams: bool = False,
        n_samples: int = 1,
    ) -> None:
        super().__init__(
            model, optimisation, noise, sleep_first=sleep_first, clip_dreams=clip_dreams
        )
        self.n_samples = n_samples

    def wake(self, x: Tensor) -> Tensor:
        """Explain real images; decoder and encoder climb the weighted log p(x, z) and log q(z|x).

        With normalised weights the decoder's gradient is that of the importance-weighted bound.
        The encoder's is that of −KL(p(z|x) ‖ q(z|x)), both up to a bias that falls with K.
        """
        q = self.model.encoder(x)  # (M, nz)
        with torch.no_grad():
            z = q.sample(normal(self.noise, self.n_samples, *q.mean.shape))  # (K, M, nz)
        log_px_given_z, log_qz = self.model.decoder(z).log_prob(x), q.log_prob(z)  # (K, M)
        with torch.no_grad():
            log_pz = standard_normal_log_prob(z)
            weights = torch.softmax(log_px_given_z + log_pz - log_qz, 0)  # (K, M)
            bound = importance_weighted(log_px_given_z, log_pz, log_qz)  # (M,)
        self.ascents["decoder"].maximise((weights * log_px_given_z).sum())
        self.ascents["encoder"].maximise((weights * log_qz).sum())
        return bound.mean()
