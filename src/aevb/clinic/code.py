"""A VAE for MNIST as tutorials write it, in pieces that a mistake can replace."""

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from aevb.learners.optimiser import Ascent, Optimisation
from aevb.model.networks import Architecture, BernoulliDecoder, Initialisation, initialised
from aevb.model.randomness import generator, indices, normal

PIXELS, HIDDEN, MINIBATCH = 784, 500, 100


class Code:
    """The right code: Algorithm 1 with the settings of Figure 2.

    Args:
        nz: dimensions of z.
        seed: of all randomness; purposes have the generators of a run with this seed.
        step_size: of Adagrad.
        n_train: N, training images.

    Attributes:
        met: where somebody met this mistake, as GitHub writes it: `owner/repository#issue`.
        check: what to look at, to tell the mistake from others.
        mistaken: False for another setting that is no mistake.
    """

    met: ClassVar[str] = ""
    check: ClassVar[str] = ""
    mistaken: ClassVar[bool] = True

    def __init__(self, nz: int, seed: int, step_size: float, n_train: int) -> None:
        self.model = initialised(
            Architecture(PIXELS, HIDDEN, nz, "bernoulli"),
            Initialisation(),
            generator(seed, "initialisation"),
        )
        assert isinstance(self.model.decoder, BernoulliDecoder)
        self.decoder = self.model.decoder
        self.noise, self.order = generator(seed, "noise"), generator(seed, "minibatches")
        self.ascent = Ascent(self.parameters(), self.optimisation(step_size, n_train))

    # ------------------------------------------------------------- the pieces

    def parameters(self) -> Iterable[tuple[str, Tensor]]:
        """What is trained, with names; the name of a bias, which has no prior, ends in `bias`."""
        return self.model.named_parameters()

    def optimisation(self, step_size: float, n_train: int) -> Optimisation:
        """Adagrad, its warm-up, and the prior on the weights."""
        return Optimisation(step_size=step_size, weight_decay=MINIBATCH / n_train)

    def load(self, x: Tensor) -> Tensor:
        """What the loader makes of grey pixels in [0, 1], `(M, pixels)`."""
        return x

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z|x), both `(M, nz)`."""
        q = self.model.encoder(x)
        return q.mean, q.log_variance

    def epsilon(self, rows: int) -> Tensor:
        """Draws from N(0, I), `(M, nz)`."""
        return normal(self.noise, rows, self.model.nz)

    def sample(self, mean: Tensor, log_variance: Tensor, epsilon: Tensor) -> Tensor:
        """The sample z = μ + σ ε, `(M, nz)`."""
        return mean + torch.exp(0.5 * log_variance) * epsilon

    def decode(self, z: Tensor) -> Tensor:
        """Logits of the pixels, `(M, pixels)`."""
        logits: Tensor = self.decoder.logits(torch.tanh(self.decoder.hidden(z)))
        return logits

    def reconstruction(self, logits: Tensor, x: Tensor) -> Tensor:
        """Log likelihoods log p(x|z), `(M,)`."""
        return -F.binary_cross_entropy_with_logits(logits, x, reduction="none").sum(1)

    def kl(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """KL(q(z|x) ‖ N(0, I)), `(M,)`."""
        return -0.5 * (1 + log_variance - mean.square() - log_variance.exp()).sum(1)

    def bound(self, reconstruction: Tensor, kl: Tensor) -> Tensor:
        """The bound of a minibatch, a scalar; its negative is the loss."""
        return reconstruction.mean() - kl.mean()

    # ------------------------------------------------------------- training and evaluation

    def terms(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction and KL of grey images, `(M,)` each."""
        x = self.load(x)
        mean, log_variance = self.encode(x)
        z = self.sample(mean, log_variance, self.epsilon(len(x)))
        return self.reconstruction(self.decode(z), x), self.kl(mean, log_variance)

    def step(self, images: Tensor) -> float:
        """One update from a random minibatch; returns its bound before the update."""
        x = images.index_select(0, indices(self.order, MINIBATCH, len(images)))
        bound = self.bound(*self.terms(x))
        self.ascent.maximise(bound * MINIBATCH)
        return float(bound.detach())

    @torch.no_grad()
    def evaluate(self, images: Tensor) -> tuple[float, float, float]:
        """Bound, reconstruction and KL as the code reports them: means over minibatches."""
        noise = self.noise.get_state()  # evaluating does not change the training path
        terms = [self.terms(x) for x in torch.split(images, MINIBATCH)]
        self.noise.set_state(noise)
        values = [(self.bound(*term), term[0].mean(), term[1].mean()) for term in terms]
        bound, reconstruction, kl = torch.tensor(values).double().mean(0).tolist()
        return bound, reconstruction, kl
