"""One seed per run, one named generator of random numbers per purpose.

Purposes share no generator, so evaluating more often cannot change the training.
"""

import hashlib

import torch
from torch import Generator, Tensor


def generator(seed: int, purpose: str, device: torch.device | str = "cpu") -> Generator:
    """A generator that depends on the seed and the purpose (`"noise"`, …) alone."""
    digest = hashlib.sha256(f"{purpose} {seed}".encode()).digest()
    return Generator(device).manual_seed(int.from_bytes(digest[:4], "big"))


def normal(noise: Generator, *shape: int) -> Tensor:
    """Standard normal numbers of this shape."""
    return torch.randn(shape, generator=noise, device=noise.device)


def uniform(noise: Generator, *shape: int) -> Tensor:
    """Numbers in [0, 1) of this shape."""
    return torch.rand(shape, generator=noise, device=noise.device)


def indices(order: Generator, rows: int, n: int) -> Tensor:
    """Row numbers below `n`, drawn with replacement, `(rows,)`."""
    return torch.randint(n, (rows,), generator=order, device=order.device)
