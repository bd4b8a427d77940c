"""Repair against the conditional mean of the linear-Gaussian model."""

import pytest
import torch
from linear_gaussian import LinearModel, example, linear_model

from aevb.inference.repair import repaired
from aevb.model.randomness import generator

pytestmark = pytest.mark.usefixtures("double_precision")
MISSING = torch.tensor([False, True, False, True, True])


def exact_model() -> LinearModel:
    """A decoder with its posterior as encoder."""
    return linear_model(example(1))


def test_with_the_posterior_as_encoder_missing_pixels_get_their_conditional_means() -> None:
    truth = example(1)
    x = truth.sample(3, torch.Generator().manual_seed(0))
    many = x.repeat(500, 1)
    found = repaired(exact_model(), many, MISSING, generator(0, "noise"), transitions=60)
    found = found.view(500, 3, 5)
    covariance, seen = truth.covariance, ~MISSING
    gain = torch.linalg.solve(covariance[seen][:, seen], covariance[seen][:, MISSING])
    expected = truth.bias[MISSING] + (x[:, seen] - truth.bias[seen]) @ gain
    error = found[..., MISSING].std(0) / 500**0.5
    assert (error < 0.1).all()
    assert ((found[..., MISSING].mean(0) - expected).abs() < 5 * error).all()
    assert found[..., seen].equal(many.view(500, 3, 5)[..., seen])


def test_what_stands_in_missing_pixels_is_not_read() -> None:
    x = example(1).sample(3, torch.Generator().manual_seed(0))
    other = x.masked_fill(MISSING, torch.nan)
    first, second = (
        repaired(exact_model(), images, MISSING, generator(0, "noise")) for images in (x, other)
    )
    assert first.equal(second)


def test_a_chain_keeps_a_transition() -> None:
    with pytest.raises(ValueError, match=r"burn_in is 20: expected .* 20"):
        repaired(
            exact_model(),
            torch.zeros(1, 5),
            MISSING,
            generator(0, "noise"),
            transitions=20,
        )
