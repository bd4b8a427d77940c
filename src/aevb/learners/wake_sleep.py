"""The wake-sleep algorithm (Hinton et al. 1995), on-line, with the encoder of AEVB."""

import torch
from torch import Tensor

from aevb.learners.optimiser import Ascent
from aevb.model.bound import estimator_a
from aevb.model.distributions import standard_normal_log_prob
from aevb.model.networks import Model
from aevb.model.randomness import Streams


class WakeSleep:
    """Decoder and encoder climb two different objectives, in turn.

    Only real datapoints are counted as training samples, as in the paper's figures. Runs with one
    hidden layer train by `backprop.BackpropWakeSleep`, the same step with its gradients by hand: a
    change of one is a change of both.

    Args:
        model: encoder and decoder.
        encoder_ascent: moves the encoder in the sleep phase.
        decoder_ascent: moves the decoder in the wake phase, with accumulators of its own.
        noise: the stream of wake samples and dreams.
        sleep_first: sleep before the wake phase of every step, instead of after it.
        clip_dreams: dreams of Gaussian pixels are moved into [0, 1], where real pixels lie.
    """

    samples_per_datapoint = 1

    def __init__(
        self,
        model: Model,
        encoder_ascent: Ascent,
        decoder_ascent: Ascent,
        noise: Streams,
        *,
        sleep_first: bool = False,
        clip_dreams: bool = False,
    ) -> None:
        self.model, self.noise, self.memory = model, noise, dict[str, Tensor]()
        self.ascents = {"encoder": encoder_ascent, "decoder": decoder_ascent}
        self.sleep_first, self.clip_dreams = sleep_first, clip_dreams

    def step(self, x: Tensor) -> Tensor:
        """Wake on a minibatch `(replicates, minibatch, pixels)`, and sleep; returns its bound."""
        if self.sleep_first:
            self.sleep(x.shape[1])
            return self.wake(x)
        bound = self.wake(x)
        self.sleep(x.shape[1])
        return bound

    def wake(self, x: Tensor) -> Tensor:
        """Explain real images with one z from q(z|x); the decoder climbs log p(x, z)."""
        with torch.no_grad():
            q = self.model.encoder(x)
            z = q.sample(self.noise.latents(x.shape[1]))
        log_px_given_z = self.model.decoder(z).log_prob(x)
        self.ascents["decoder"].climb(log_px_given_z.sum())
        log_pz, log_qz = standard_normal_log_prob(z), q.log_prob(z)
        return estimator_a(log_px_given_z.detach()[None], log_pz[None], log_qz[None]).mean(1)

    def sleep(self, rows: int) -> None:
        """Dream as many images from p(x, z); the encoder climbs log q(z|x) of the dreams."""
        with torch.no_grad():
            z = self.noise.latents(rows)
            dream = self.model.decoder(z).draw(self.noise)
            if self.clip_dreams:
                dream.clamp_(0, 1)
        log_qz_given_dream = self.model.encoder(dream).log_prob(z)
        self.ascents["encoder"].climb(log_qz_given_dream.sum())
