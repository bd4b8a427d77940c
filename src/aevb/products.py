"""Matrix products at the speed of the processor: the one place that decides how they are computed.

MKL takes a slow path on processors that are not Intel's: there oneDNN computes the product of an
MNIST update in half the time (0.34 ms for 0.72 ms on one core of an AMD EPYC with AVX-512). On
Intel's MKL is the faster by a tenth. So the vendor decides; manifests name the kernel.

In bfloat16 both factors and the result are rounded to eight bits, the sum inside is not. All else
stays in float32, parameters, accumulators and small products too.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

Products = Literal["float32", "bfloat16"]
Activation = Literal["none", "tanh"]

_factor_type = torch.float32


@contextmanager
def products_in(precision: Products) -> Iterator[None]:
    """Within it, the factors of large products are rounded to this precision."""
    global _factor_type
    before, _factor_type = _factor_type, getattr(torch, precision)
    try:
        yield
    finally:
        _factor_type = before


@cache
def kernel() -> Literal["oneDNN", "MKL", "BLAS"]:
    """What computes float32 products on this processor; BLAS is what PyTorch was built with."""
    has_mkl, has_onednn = torch._C.has_mkl, torch._C._has_mkldnn
    if has_mkl and _is_intel():
        return "MKL"
    # The operator is private: another version of PyTorch may not have it.
    return "oneDNN" if has_onednn and hasattr(torch.ops.mkldnn, "_linear_pointwise") else "BLAS"


def _is_intel() -> bool:
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and "GenuineIntel" in cpuinfo.read_text()


def factor(values: Tensor) -> Tensor:
    """A factor of a large product, rounded to the precision in force."""
    return values.to(_factor_type)


def product(
    a: Tensor, b: Tensor, bias: Tensor | None = None, activation: Activation = "none"
) -> Tensor:
    """activation(a b + bias), without a gradient.

    Args:
        a: `(rows, n)`.
        b: `(n, columns)`, of the type of `a`; transposed views are taken as they are.
        bias: `(columns,)`.
        activation: applied to every element.

    Returns:
        `(rows, columns)`, float32 (or wider, where the factors are).
    """
    by_onednn = a.device.type == "cpu" and kernel() == "oneDNN" and a.dtype == torch.float32
    if by_onednn:
        y: Tensor = torch.ops.mkldnn._linear_pointwise(a, b.mT, bias, activation, [], "")
        return y
    y = torch.mm(a, b) if a.dtype == torch.bfloat16 or bias is None else torch.addmm(bias, a, b)
    if a.dtype == torch.bfloat16:
        y = y.float() if bias is None else y + bias
    return y.tanh_() if activation == "tanh" else y


class _Affine(torch.autograd.Function):
    """x W + b for autograd, its three products by `product`."""

    generate_vmap_rule = False

    @staticmethod
    def forward(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        return product(factor(x), factor(weight), bias)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, Tensor, Tensor], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:2])

    @staticmethod
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        needs_x, needs_weight, needs_bias = ctx.needs_input_grad
        grad = factor(grad_y)
        return (
            product(grad, factor(weight).mT) if needs_x else None,
            product(factor(x).mT, grad) if needs_weight else None,
            grad_y.sum(0) if needs_bias else None,
        )


def affine(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """An affine map, x W + b, differentiable once.

    Args:
        x: `(rows, n_in)`.
        weight: `(n_in, n_out)`.
        bias: `(n_out,)`.

    Returns:
        `(rows, n_out)`.
    """
    y: Tensor = _Affine.apply(x, weight, bias)  # type: ignore[no-untyped-call]
    return y
