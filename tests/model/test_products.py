"""Matrix products: every kernel gives the product, and its gradients, that plain PyTorch gives."""

import pytest
import torch
from torch import Tensor

from aevb.model import products
from aevb.model.products import affine, factor, product, products_in

KERNELS = ("oneDNN", "MKL", "BLAS")


@pytest.fixture(params=KERNELS)
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each kernel in turn, whatever the processor; MKL and BLAS are the same call of PyTorch."""
    name: str = request.param
    if name == "oneDNN" and not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        pytest.skip("this PyTorch has no oneDNN")
    monkeypatch.setattr(products, "KERNEL", name)
    return name


def draws(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_every_kernel_gives_the_product(kernel: str) -> None:
    a, b, bias = draws(30, 20), draws(20, 10, seed=1), draws(10, seed=2)
    torch.testing.assert_close(product(a, b), a @ b)
    torch.testing.assert_close(product(a, b, bias), a @ b + bias)
    torch.testing.assert_close(product(a, b, bias, "tanh"), torch.tanh(a @ b + bias))
    torch.testing.assert_close(product(a, b, activation="tanh"), torch.tanh(a @ b))


def test_transposed_and_cut_factors_are_taken_as_they_are(kernel: str) -> None:
    a, b = draws(20, 30), draws(10, 20, seed=1)
    torch.testing.assert_close(product(a.mT, b.mT), a.mT @ b.mT)
    torch.testing.assert_close(product(a[:, 3:17].mT, b.mT), a[:, 3:17].mT @ b.mT)


@pytest.mark.parametrize("rows", [(6,), (2, 3)])
def test_gradients_are_those_of_autograd(rows: tuple[int, ...], kernel: str) -> None:
    inputs = [draws(*rows, 5), draws(5, 4, seed=1), draws(4, seed=2)]
    ours, theirs = ([t.clone().requires_grad_() for t in inputs] for _ in range(2))
    upstream = draws(*rows, 4, seed=3)
    x, w, b = theirs
    y, expected = affine(*ours), x @ w + b
    torch.testing.assert_close(y, expected)
    torch.testing.assert_close(
        torch.autograd.grad(y, ours, upstream), torch.autograd.grad(expected, theirs, upstream)
    )


def test_double_precision_stays_double(kernel: str) -> None:
    a, b = draws(30, 20).double(), draws(20, 10, seed=1).double()
    torch.testing.assert_close(product(a, b), a @ b, rtol=1e-14, atol=1e-14)


def test_bfloat16_rounds_factors_and_result_and_not_the_sum(kernel: str) -> None:
    a, b, bias = draws(30, 400), draws(400, 10, seed=1), draws(10, seed=2)
    with products_in("bfloat16"):
        rounded = product(factor(a), factor(b), bias)
    assert rounded.dtype == torch.float32
    exact = (a.bfloat16().double() @ b.bfloat16().double()).float()
    # Half a step of bfloat16, and a hair for sums that fall on the other side of a tie.
    torch.testing.assert_close(rounded - bias, exact, rtol=2**-8, atol=1e-4)
    assert (rounded - bias - exact.bfloat16().float()).abs().median() < 1e-5


def test_the_precision_is_that_of_before_after_an_error() -> None:
    def fail() -> None:
        with products_in("bfloat16"):
            assert factor(draws(2)).dtype == torch.bfloat16
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert factor(draws(2)).dtype == torch.float32


@pytest.mark.parametrize(
    ("has_mkl", "has_onednn", "is_intel", "expected"),
    [
        (True, True, True, "MKL"),
        (True, True, False, "oneDNN"),
        (False, False, True, "BLAS"),
        (False, False, False, "BLAS"),
    ],
)
def test_the_vendor_decides_between_the_libraries_that_there_are(
    has_mkl: bool, has_onednn: bool, is_intel: bool, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch._C, "has_mkl", has_mkl)
    monkeypatch.setattr(torch._C, "_has_mkldnn", has_onednn)
    monkeypatch.setattr(products, "_is_intel", lambda: is_intel)
    assert products.fastest_kernel() == expected
