"""A density for HMC from any differentiable function."""

from collections.abc import Callable

import torch
from torch import Tensor

from aevb.inference.hmc import Point


class Differentiable:
    """A density by autograd; `log_prob` maps `(rows, nz)` to `(rows,)`."""

    def __init__(self, log_prob: Callable[[Tensor], Tensor]) -> None:
        self.log_prob = log_prob

    def evaluate(self, z: Tensor) -> Point:
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            log_prob = self.log_prob(z)
            (gradient,) = torch.autograd.grad(log_prob.sum(), z)
        return Point(z.detach(), log_prob.detach(), gradient)

    def gradient(self, z: Tensor) -> Tensor:
        return self.evaluate(z).gradient
