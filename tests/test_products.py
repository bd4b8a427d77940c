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


def test_gradients_are_those_of_autograd(kernel: str) -> None:
    inputs = [draws(6, 5), draws(5, 4, seed=1), draws(4, seed=2)]
    ours, theirs = ([t.clone().requires_grad_() for t in inputs] for _ in range(2))
    weights = draws(6, 4, seed=3)
    x, w, b = theirs
    by_hand = torch.autograd.grad((affine(*ours) * weights).sum(), ours)
    expected = torch.autograd.grad(((x @ w + b) * weights).sum(), theirs)
    torch.testing.assert_close(by_hand, expected)


def test_double_precision_stays_double(kernel: str) -> None:
    a, b = draws(30, 20).double(), draws(20, 10, seed=1).double()
    torch.testing.assert_close(product(a, b), a @ b, rtol=1e-14, atol=1e-14)


def test_bfloat16_rounds_factors_and_result_and_not_the_sum(kernel: str) -> None:
    a, b, bias = draws(30, 400), draws(400, 10, seed=1), draws(10, seed=2)
    with products_in("bfloat16"):
        rounded = product(factor(a), factor(b), bias)
    assert rounded.dtype == torch.float32
    exact = a.bfloat16().double() @ b.bfloat16().double()
    nearest = exact.float().bfloat16().float()
    # Half a step of bfloat16, and a hair for sums that fall on the other side of a tie.
    torch.testing.assert_close(rounded - bias, exact.float(), rtol=2**-8, atol=1e-4)
    assert ((rounded - bias) - nearest).abs().median() < 1e-5


def test_the_precision_is_that_of_before_after_an_error() -> None:
    def fail() -> None:
        with products_in("bfloat16"):
            assert factor(draws(2)).dtype == torch.bfloat16
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert factor(draws(2)).dtype == torch.float32


@pytest.mark.parametrize(
    ("cpuinfo", "expected"), [("GenuineIntel", "MKL"), ("AuthenticAMD", "oneDNN")]
)
def test_the_vendor_decides_between_mkl_and_onednn(
    cpuinfo: str, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch._C, "has_mkl", True)
    monkeypatch.setattr(torch._C, "_has_mkldnn", True)
    monkeypatch.setattr(products, "_is_intel", lambda: cpuinfo == "GenuineIntel")
    assert products.fastest_kernel() == expected


def test_without_either_library_pytorch_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch._C, "has_mkl", False)
    monkeypatch.setattr(torch._C, "_has_mkldnn", False)
    assert products.fastest_kernel() == "BLAS"
