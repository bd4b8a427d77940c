"""One seed per run, one named stream of random numbers per purpose.

A stream belongs to a run, not to the stack it trains in: a run draws the same numbers alone and
beside others. Streams of different purposes never share a generator, so evaluating more often
cannot change the training path.
"""

import hashlib
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad


def generator(seed: int, purpose: str, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator that depends on the seed and the purpose (`"noise"`, …) alone."""
    digest = hashlib.sha256(f"{purpose} {seed}".encode()).digest()
    return torch.Generator(device).manual_seed(int.from_bytes(digest[:4], "big"))


class Streams:
    """The streams of a stack of runs for one purpose, drawn side by side.

    Args:
        generators: one per replicate.
        nz: latent dimensions of each replicate.
    """

    def __init__(self, generators: Sequence[torch.Generator], nz: Sequence[int]) -> None:
        self.generators = list(generators)
        self.nz = list(nz)

    def require_one_nz(self) -> None:
        """ValueError if the replicates differ in nz: there is no density over padding."""
        if min(self.nz) < max(self.nz):
            raise ValueError(f"expected replicates with one nz, not {self.nz}")

    def latents(self, rows: int) -> Tensor:
        """Standard normal `(replicates, rows, nz)`; zero in padding dimensions."""
        widest = max(self.nz)
        return torch.stack(
            [
                pad(torch.randn(rows, nz, generator=g, device=g.device), (0, widest - nz))
                for g, nz in zip(self.generators, self.nz, strict=True)
            ]
        )

    def normal(self, *shape: int) -> Tensor:
        """Standard normal `(replicates, *shape)`."""
        return torch.stack(
            [torch.randn(shape, generator=g, device=g.device) for g in self.generators]
        )

    def uniform(self, *shape: int) -> Tensor:
        """Uniform in [0, 1), `(replicates, *shape)`."""
        return torch.stack(
            [torch.rand(shape, generator=g, device=g.device) for g in self.generators]
        )

    def indices(self, rows: int, n: int) -> Tensor:
        """Row numbers below `n`, drawn with replacement, `(replicates, rows)`."""
        return torch.stack(
            [torch.randint(n, (rows,), generator=g, device=g.device) for g in self.generators]
        )
