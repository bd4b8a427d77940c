"""A mixture of Bernoullis, by expectation-maximisation (Dempster, Laird & Rubin 1977)."""

import math

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from aevb.learners.learner import Learner
from aevb.learners.optimiser import Optimisation
from aevb.model.products import product
from aevb.model.randomness import uniform

CHUNK = 5000  # datapoints at a time


class BernoulliMixture(nn.Module):
    """One latent variable, the number k of the component; given k the pixels are independent.

    Attributes:
        log_weights: log p(k), `(K,)`.
        logits: of the pixels of every component, `(K, pixels)`.
    """

    def __init__(self, n_components: int, n_pixels: int) -> None:
        super().__init__()
        start = torch.full((n_components,), -math.log(n_components))
        self.log_weights = nn.Parameter(start, requires_grad=False)
        self.logits = nn.Parameter(torch.zeros(n_components, n_pixels), requires_grad=False)

    def log_joint(self, x: Tensor) -> Tensor:
        """Log p(x, k) of black-and-white images `(rows, pixels)`; `(rows, K)`, nats."""
        constants = self.log_weights - F.softplus(self.logits).sum(1)
        return product(x, self.logits.mT, constants)

    def loglik(self, x: Tensor) -> Tensor:
        """Log p(x), exact, `(rows,)`, nats per datapoint."""
        chunks = x.split(CHUNK)  # type: ignore[no-untyped-call]
        return torch.cat([torch.logsumexp(self.log_joint(rows), 1) for rows in chunks])

    def means(self, n: int, noise: Generator) -> Tensor:
        """Mean images of n components drawn from p(k), `(n, pixels)`."""
        k = torch.multinomial(self.log_weights.exp(), n, replacement=True, generator=noise)
        return torch.sigmoid(self.logits[k])


def started(x: Tensor, n_components: int, noise: Generator) -> BernoulliMixture:
    """A mixture whose components start half way between the mean image and one image each."""
    mixture = BernoulliMixture(n_components, x.shape[1])
    chosen = x[torch.randperm(len(x), generator=noise)[:n_components]]
    means = (0.5 * chosen + 0.5 * x.mean(0)).clamp(0.02, 0.98)
    mixture.logits.copy_(torch.logit(means) + 0.01 * uniform(noise, *means.shape))
    return mixture


class EM(Learner):
    """Expectation-maximisation, with a Beta(1 + a, 1 + a) prior on the pixels of each component.

    With a prior, the log likelihood plus the log prior never falls.

    Args as for `Learner`, and:
        pseudo_counts: a, the images of ink and of none that each component has seen beforehand.
    """

    optimised_parts = ()
    options = ("pseudo_counts",)
    trains_encoder = False
    takes_all_points = True
    objective = "log p(x)"

    def __init__(
        self,
        model: BernoulliMixture,
        optimisation: Optimisation,
        noise: Generator,
        *,
        pseudo_counts: float = 0.1,
    ) -> None:
        super().__init__(model, optimisation, noise)  # type: ignore[arg-type]
        self.mixture, self.pseudo_counts = model, pseudo_counts

    @torch.no_grad()
    def step(self, x: Tensor) -> Tensor:
        """One iteration over all points; returns their mean log p(x) before it."""
        mixture, a = self.mixture, self.pseudo_counts
        mass = torch.zeros_like(mixture.log_weights)  # (K,)
        ink = torch.zeros_like(mixture.logits)  # (K, pixels)
        total = torch.zeros((), dtype=torch.float64)
        for rows in x.split(CHUNK):  # type: ignore[no-untyped-call]
            # E: the share of every component in every image
            log_joint = mixture.log_joint(rows)  # (rows, K)
            log_px = torch.logsumexp(log_joint, 1, keepdim=True)
            share = log_joint.sub_(log_px).exp_()
            total += log_px.sum()
            mass += share.sum(0)
            ink += product(share.mT, rows)
        # M: the shares as counts
        mixture.log_weights.copy_((mass / mass.sum()).log())
        mean = (ink + a) / (mass[:, None] + 2 * a)
        mixture.logits.copy_(torch.logit(mean))
        return total / len(x)
