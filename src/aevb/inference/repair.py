"""Missing pixels filled in by encoder and decoder, the third promise of section 2.1."""

import torch
from torch import Generator, Tensor

from aevb.model.networks import Model
from aevb.model.randomness import normal


@torch.no_grad()
def repaired(
    model: Model,
    x: Tensor,
    missing: Tensor,
    noise: Generator,
    *,
    transitions: int = 100,
    burn_in: int = 20,
) -> Tensor:
    """Expected images, given their seen pixels, by pseudo-Gibbs (Rezende et al. 2014).

    A transition draws z from q(z|x), then the missing pixels from p(x|z). The chain starts with
    the missing pixels at the mean of p(x|z = 0). Were q(z|x) the posterior, this would be Gibbs
    sampling from p(x, z) given the seen pixels.

    Args:
        model: encoder and decoder.
        x: images, `(rows, pixels)`; what stands in missing pixels is not read.
        missing: which pixels are missing, booleans, `(pixels,)`.
        noise: of the draws.
        transitions: of each chain.
        burn_in: transitions to discard first.

    Returns:
        `(rows, pixels)`: the seen pixels, and for the missing ones the mean of p(x|z) over the
        transitions that were kept.

    Raises:
        ValueError: if no transition is kept.
    """
    if not 0 <= burn_in < transitions:
        raise ValueError(f"burn_in is {burn_in}: expected from 0 to below {transitions}")
    x, total = x.clone(), torch.zeros_like(x)
    x[:, missing] = model.decoder(x.new_zeros(1, model.nz)).mean[:, missing]
    for k in range(transitions):
        q = model.encoder(x)
        p_x = model.decoder(q.sample(normal(noise, *q.mean.shape)))
        x[:, missing] = p_x.draw(noise)[:, missing]
        if k >= burn_in:
            total += p_x.mean
    x[:, missing] = total[:, missing] / (transitions - burn_in)
    return x
