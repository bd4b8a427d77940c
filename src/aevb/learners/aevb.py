"""Algorithm 1: minibatch Auto-Encoding Variational Bayes."""

from typing import Literal

from torch import Generator, Tensor

from aevb.learners.learner import Learner
from aevb.learners.optimiser import Optimisation
from aevb.model.bound import estimator_a, estimator_b, kl_to_standard_normal
from aevb.model.distributions import standard_normal_log_prob
from aevb.model.networks import Model
from aevb.model.randomness import normal

Estimator = Literal["A", "B"]


def lower_bound(
    model: Model, x: Tensor, epsilon: Tensor, estimator: Estimator = "B", beta: float = 1.0
) -> Tensor:
    """SGVB estimate of the bound at every datapoint (equations 6, 7 and 10).

    Args:
        model: encoder and decoder.
        x: images, `(rows, pixels)`.
        epsilon: L draws from N(0, I) for each, `(L, rows, nz)`.
        estimator: A samples everything; B has the KL in closed form.
        beta: weight on the KL; 1 for a bound.

    Returns:
        `(rows,)`, nats per datapoint.
    """
    q = model.encoder(x)  # (rows, nz)
    z = q.sample(epsilon)  # (L, rows, nz)
    log_px_given_z = model.decoder(z).log_prob(x)  # (L, rows)
    if estimator == "B":
        return estimator_b(log_px_given_z, beta * kl_to_standard_normal(q))
    return estimator_a(log_px_given_z, beta * standard_normal_log_prob(z), beta * q.log_prob(z))


class AEVB(Learner):
    """Encoder and decoder maximise the same bound, with one gradient.

    With one hidden layer, L = 1, estimator B and beta = 1, `backprop.BackpropAEVB` computes
    the same step faster. Change both together.

    Args as for `Learner`, and:
        n_samples: L of Algorithm 1.
        estimator: A (equation 6) or B (equation 7).
        beta: weight on the KL (Higgins et al. 2017); 1 in the paper.
    """

    options = ("n_samples", "estimator", "beta")

    def __init__(
        self,
        model: Model,
        optimisation: Optimisation,
        noise: Generator,
        *,
        n_samples: int = 1,
        estimator: Estimator = "B",
        beta: float = 1.0,
    ) -> None:
        super().__init__(model, optimisation, noise)
        self.n_samples, self.estimator, self.beta = n_samples, estimator, beta

    def step(self, x: Tensor) -> Tensor:
        """The body of Algorithm 1's loop, for a minibatch Xᴹ `(M, pixels)`."""
        # ε ← L random samples from p(ε) = N(0, I), for each datapoint
        epsilon = normal(self.noise, self.n_samples, len(x), self.model.nz)  # (L, M, nz)
        # L̃(θ, φ; Xᴹ, ε), and its gradient; θ, φ ← an update along it
        bound = lower_bound(self.model, x, epsilon, self.estimator, self.beta)  # (M,)
        self.ascents["model"].maximise(bound.sum())
        return bound.detach().mean()
