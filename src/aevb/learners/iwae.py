"""The importance-weighted autoencoder (Burda et al. 2015): a tighter bound from k samples."""

from torch import Generator, Tensor

from aevb.learners.learner import Learner
from aevb.learners.optimiser import Optimisation
from aevb.model.bound import importance_weighted
from aevb.model.distributions import standard_normal_log_prob
from aevb.model.networks import Model
from aevb.model.randomness import normal


class IWAE(Learner):
    """Encoder and decoder climb the importance-weighted bound, with one gradient.

    With one sample it is AEVB with estimator A.

    Args as for `Learner`, and:
        n_samples: k of the paper.
    """

    options = ("n_samples",)
    objective = "importance-weighted bound"

    def __init__(
        self, model: Model, optimisation: Optimisation, noise: Generator, *, n_samples: int = 1
    ) -> None:
        super().__init__(model, optimisation, noise)
        self.n_samples = n_samples

    def step(self, x: Tensor) -> Tensor:
        """One update on a minibatch `(M, pixels)`; returns its mean bound."""
        q = self.model.encoder(x)  # (M, nz)
        z = q.sample(normal(self.noise, self.n_samples, *q.mean.shape))  # (k, M, nz)
        log_px_given_z = self.model.decoder(z).log_prob(x)  # (k, M)
        bound = importance_weighted(log_px_given_z, standard_normal_log_prob(z), q.log_prob(z))
        self.ascents["model"].maximise(bound.sum())
        return bound.detach().mean()
