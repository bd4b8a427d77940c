"""The wake-sleep algorithm (Hinton et al. 1995), on-line, with the encoder of AEVB."""

import torch
from torch import Tensor

from aevb.bound import estimator_a
from aevb.distributions import standard_normal_log_prob
from aevb.networks import Model
from aevb.optim import Ascent
from aevb.randomness import Streams


class WakeSleep:
    """Decoder and encoder climb two different objectives, in turn.

    Only real datapoints are counted as training samples, as in the paper's figures.

    Args:
        model: encoder and decoder.
        encoder_ascent: moves the encoder in the sleep phase.
        decoder_ascent: moves the decoder in the wake phase, with accumulators of its own.
        noise: the stream of wake samples and dreams.
    """

    samples_per_datapoint = 1

    def __init__(
        self, model: Model, encoder_ascent: Ascent, decoder_ascent: Ascent, noise: Streams
    ) -> None:
        self.model, self.noise, self.memory = model, noise, dict[str, Tensor]()
        self.ascents = {"encoder": encoder_ascent, "decoder": decoder_ascent}

    def step(self, x: Tensor) -> Tensor:
        """Wake on a minibatch `(replicates, minibatch, pixels)`, then sleep; returns its bound."""
        encoder, decoder, rows = self.model.encoder, self.model.decoder, x.shape[1]

        # Wake: explain real images with one z from q(z|x); the decoder climbs log p(x, z).
        with torch.no_grad():
            q = encoder(x)
            z = q.sample(self.noise.latents(rows))
        log_px_given_z = decoder(z).log_prob(x)
        self.ascents["decoder"].climb(log_px_given_z.sum())
        log_pz, log_qz = standard_normal_log_prob(z), q.log_prob(z)
        bound = estimator_a(log_px_given_z.detach()[None], log_pz[None], log_qz[None])

        # Sleep: dream images from the updated decoder; the encoder climbs log q(z|x) of the dreams.
        with torch.no_grad():
            z = self.noise.latents(rows)
            dream = decoder(z).draw(self.noise)
        log_qz_given_dream = encoder(dream).log_prob(z)
        self.ascents["encoder"].climb(log_qz_given_dream.sum())
        return bound.mean(1)
