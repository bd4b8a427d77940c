"""A deep belief network of two hidden layers, learnt greedily (Hinton, Osindero & Teh 2006)."""

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from aevb.learners.optimiser import Optimisation
from aevb.older.rbm import RBM, ContrastiveDivergence, drawn


class DBN(nn.Module):
    """p(v, h₁, h₂) = p(v|h₁) p(h₁, h₂): the top layers are an RBM, the lower one is directed.

    Args:
        lower: gives p(v|h₁), and the approximate posterior q(h₁|v).
        top: the RBM over h₁ and h₂.
    """

    def __init__(self, lower: RBM, top: RBM) -> None:
        super().__init__()
        self.lower, self.top = lower, top

    def log_ratio(self, v: Tensor, noise: Generator) -> Tensor:
        """Log p(v, h₁) − log q(h₁|v) + log Z of the top, at one h₁ from q; `(rows,)`, nats.

        Its mean over h₁, less log Z, is the variational bound of log p(v).
        """
        logits = self.lower.hidden_logits(v)  # (rows, h₁)
        log_off = F.softplus(logits)
        h = drawn(logits.clone(), noise)
        log_q = (h * logits - log_off).sum(1)
        pixels = self.lower.visible_logits(h)
        log_pv_given_h = (v * pixels - F.softplus(pixels)).sum(1)
        return self.top.log_unnormalised(h) + log_pv_given_h - log_q

    def means(self, h: Tensor, noise: Generator, steps: int) -> Tensor:
        """Mean images after some Gibbs steps of the top from h₁ `(rows, h₁)`; `(rows, pixels)`."""
        return torch.sigmoid(self.lower.visible_logits(self.top.gibbs(h, noise, steps)))


class GreedyTop(ContrastiveDivergence):
    """Contrastive divergence of the top RBM, on draws from the frozen q(h₁|v).

    Args as for `ContrastiveDivergence`; `model` is the network. What `step` returns is of h₁.
    """

    def __init__(
        self, model: DBN, optimisation: Optimisation, noise: Generator, **options: object
    ) -> None:
        super().__init__(model.top, optimisation, noise, **options)  # type: ignore[arg-type]
        self.dbn = model

    def step(self, x: Tensor) -> Tensor:
        """One update from a minibatch of images `(M, pixels)`."""
        return super().step(drawn(self.dbn.lower.hidden_logits(x), self.noise))
