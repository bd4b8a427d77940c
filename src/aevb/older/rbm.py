"""A restricted Boltzmann machine, by contrastive divergence (Hinton 2002; Tieleman 2008)."""

import math
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from aevb.learners.learner import Learner
from aevb.learners.optimiser import Optimisation
from aevb.model.products import product
from aevb.model.randomness import normal, uniform


class RBM(nn.Module):
    """p(v, h) = exp(b·v + c·h + v W h) / Z, with binary pixels v and hidden units h.

    Attributes:
        weight: W, `(pixels, hidden)`.
        visible_bias: b, `(pixels,)`.
        hidden_bias: c, `(hidden,)`.
    """

    def __init__(self, n_pixels: int, n_hidden: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(n_pixels, n_hidden), requires_grad=False)
        self.visible_bias = nn.Parameter(torch.zeros(n_pixels), requires_grad=False)
        self.hidden_bias = nn.Parameter(torch.zeros(n_hidden), requires_grad=False)

    def hidden_logits(self, v: Tensor) -> Tensor:
        """Logits of p(h|v), `(rows, hidden)`."""
        return product(v, self.weight, self.hidden_bias)

    def visible_logits(self, h: Tensor) -> Tensor:
        """Logits of p(v|h), `(rows, pixels)`."""
        return product(h, self.weight.mT, self.visible_bias)

    def log_unnormalised(self, v: Tensor) -> Tensor:
        """Log p(v) + log Z, `(rows,)`: the sum over h is a product."""
        return v @ self.visible_bias + F.softplus(self.hidden_logits(v)).sum(1)

    def gibbs(self, v: Tensor, noise: Generator, steps: int = 1) -> Tensor:
        """The pixels after some steps of the chain v → h → v, `(rows, pixels)`."""
        for _ in range(steps):
            h = drawn(self.hidden_logits(v), noise)
            v = drawn(self.visible_logits(h), noise)
        return v

    def upside_down(self) -> "RBM":
        """A machine with the layers exchanged: its pixels are the hidden units of this one."""
        other = RBM(*reversed(self.weight.shape))
        other.weight.copy_(self.weight.mT)
        other.visible_bias.copy_(self.hidden_bias)
        other.hidden_bias.copy_(self.visible_bias)
        return other


def drawn(logits: Tensor, noise: Generator) -> Tensor:
    """Binary units with these logits; overwrites the logits."""
    u = uniform(noise, *logits.shape)
    return torch.lt(u, logits.sigmoid_(), out=u)


def started(x: Tensor, n_hidden: int, noise: Generator) -> RBM:
    """A machine with small weights whose visible biases alone give the mean image of x."""
    rbm = RBM(x.shape[1], n_hidden)
    rbm.weight.copy_(0.01 * normal(noise, *rbm.weight.shape))
    rbm.visible_bias.copy_(mean_logits(x))
    return rbm


def mean_logits(x: Tensor) -> Tensor:
    """Logits of the mean image, with one image of ink and one of none added, `(pixels,)`."""
    return torch.logit((x.sum(0) + 1) / (len(x) + 2))


class ContrastiveDivergence(Learner):
    """The gradient of log p(v), with its second term from a short Gibbs chain.

    CD-k starts the chain at the minibatch. Persistent CD goes on from the chains' last states.

    Args as for `Learner`, and:
        schedule: pairs of an update and the steps k of the chain from that update on.
        persistent: whether the chains go on from update to update.

    Attributes:
        memory: `update`, how many there were; `chains` `(M, pixels)` of persistent CD.
    """

    options = ("schedule", "persistent")
    trains_encoder = False
    objective = "reconstruction"

    def __init__(
        self,
        model: RBM,
        optimisation: Optimisation,
        noise: Generator,
        *,
        schedule: tuple[tuple[int, int], ...] = ((0, 1),),
        persistent: bool = False,
    ) -> None:
        super().__init__(model, optimisation, noise)  # type: ignore[arg-type]
        self.rbm, self.schedule, self.persistent = model, schedule, persistent
        self.memory["update"] = torch.zeros((), dtype=torch.int64)

    @property
    def steps(self) -> int:
        """Gibbs steps of the coming update, k."""
        update = int(self.memory["update"])
        return next(k for start, k in reversed(self.schedule) if update >= start)

    @torch.no_grad()
    def step(self, x: Tensor) -> Tensor:
        """One update; returns the mean log probability of the reconstructed minibatch.

        That is log p(v|h) with h drawn from p(h|v): what one can afford to look at.
        """
        rbm, noise, k = self.rbm, self.noise, self.steps
        positive = torch.sigmoid(rbm.hidden_logits(x))  # (M, hidden)
        h = torch.bernoulli(positive, generator=noise)
        logits = rbm.visible_logits(h)  # (M, pixels)
        reconstruction = torch.dot(x.view(-1), logits.view(-1)) - F.softplus(logits).sum()
        if self.persistent:
            v = rbm.gibbs(self.memory.get("chains", x), noise, k)
            self.memory["chains"] = v
        else:
            v = rbm.gibbs(drawn(logits, noise), noise, k - 1)
        negative = torch.sigmoid(rbm.hidden_logits(v))
        ends = torch.cat([x, -v])  # the difference of two products is one product
        gradients = {
            "weight": product(ends.mT, torch.cat([positive, negative])),
            "visible_bias": ends.sum(0),
            "hidden_bias": positive.sum(0) - negative.sum(0),
        }
        self.ascents["model"].update(gradients)
        self.memory["update"] += 1
        return reconstruction / len(x)


class _State(NamedTuple):
    v: Tensor  # (chains, pixels)
    wv: Tensor  # c + v W, (chains, hidden)


class FromBiases:
    """A path of densities, for `log_partition`, from a machine without weights to `rbm`.

        log f_β(v) = (1 − β) a·v + β b·v + Σ_j softplus(β (c + v W)_j)

    Args:
        rbm: the machine whose Z is wanted.
        base: a, the logits of the pixels where the path starts, `(pixels,)`.
    """

    def __init__(self, rbm: RBM, base: Tensor) -> None:
        self.rbm, self.base = rbm, base
        n_hidden = rbm.weight.shape[1]
        self.log_z_start = F.softplus(base.double()).sum().item() + n_hidden * math.log(2)

    def _state(self, v: Tensor) -> _State:
        return _State(v, self.rbm.hidden_logits(v))

    def start(self, chains: int, noise: Generator) -> _State:
        """Independent pixels."""
        return self._state(drawn(self.base.repeat(chains, 1), noise))

    def log_ratio(self, state: _State, beta: float, following: float) -> Tensor:
        """As `Path.log_ratio`."""
        wanted = self.rbm.visible_bias - self.base
        hidden = F.softplus(following * state.wv) - F.softplus(beta * state.wv)
        return (following - beta) * (state.v @ wanted).double() + hidden.sum(1).double()

    def move(self, state: _State, beta: float, noise: Generator) -> _State:
        """One Gibbs step."""
        h = drawn(beta * state.wv, noise)
        logits = torch.lerp(self.base, self.rbm.visible_bias, beta) + beta * product(
            h, self.rbm.weight.mT
        )
        return self._state(drawn(logits, noise))
