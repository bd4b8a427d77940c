"""Algorithm 1: minibatch Auto-Encoding Variational Bayes."""

from typing import Literal

from torch import Tensor

from aevb.learners.optimiser import Ascent
from aevb.model.bound import estimator_a, estimator_b, kl_to_standard_normal
from aevb.model.distributions import standard_normal_log_prob
from aevb.model.networks import Model
from aevb.model.randomness import Streams


def lower_bound(
    model: Model,
    x: Tensor,
    noise: Streams,
    *,
    n_samples: int = 1,
    estimator: Literal["A", "B"] = "B",
) -> Tensor:
    """SGVB estimate of the bound at every datapoint (equations 6, 7 and 10).

    Args:
        model: encoder and decoder.
        x: images, `(replicates, rows, pixels)`.
        noise: the stream from which epsilon ~ N(0, I) is drawn.
        n_samples: L, samples of z per datapoint.
        estimator: A, everything sampled; or B, with the KL in closed form.

    Returns:
        `(replicates, rows)`, nats per datapoint.
    """
    rows = x.shape[1]

    def per_sample(values: Tensor) -> Tensor:
        """From `(replicates, L * rows)` to `(L, replicates, rows)`."""
        return values.view(-1, n_samples, rows).movedim(1, 0)

    q = model.encoder(x)
    repeated = type(q)(*(t.repeat(1, n_samples, 1) for t in q)) if n_samples > 1 else q
    z = repeated.sample(noise.latents(n_samples * rows))
    log_px_given_z = model.decoder(z).log_prob(x.repeat(1, n_samples, 1) if n_samples > 1 else x)
    if estimator == "B":
        return estimator_b(per_sample(log_px_given_z), kl_to_standard_normal(q))
    return estimator_a(
        per_sample(log_px_given_z),
        per_sample(standard_normal_log_prob(z)),
        per_sample(repeated.log_prob(z)),
    )


class AEVB:
    """Encoder and decoder climb the same bound, with one gradient.

    Runs with one hidden layer, L = 1 and estimator B train by `backprop.BackpropAEVB`, the same
    step with its gradients by hand: a change of one is a change of both.

    Args:
        model: encoder and decoder.
        ascent: moves the parameters of both.
        noise: the stream of epsilon.
        n_samples: L of Algorithm 1.
        estimator: A (equation 6) or B (equation 7).
    """

    samples_per_datapoint = 1

    def __init__(
        self,
        model: Model,
        ascent: Ascent,
        noise: Streams,
        *,
        n_samples: int = 1,
        estimator: Literal["A", "B"] = "B",
    ) -> None:
        self.model, self.noise, self.memory = model, noise, dict[str, Tensor]()
        self.ascents = {"both": ascent}
        self.n_samples, self.estimator = n_samples, estimator

    def step(self, x: Tensor) -> Tensor:
        """One update from a minibatch `(replicates, minibatch, pixels)`; returns its bound."""
        bound = lower_bound(
            self.model, x, self.noise, n_samples=self.n_samples, estimator=self.estimator
        )
        self.ascents["both"].climb(bound.sum())
        return bound.detach().mean(1)
