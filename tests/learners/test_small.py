"""Learners on small models."""

import copy

import pytest
import torch

from aevb.learners import small
from aevb.model.linear_gaussian import LinearGaussian


def trained(algorithm: str, *, decoder_learns: bool) -> tuple[small.Pair, small.Pair]:
    """A pair before and after 50 updates."""
    decoder = small.LinearGaussianNetwork(1, 2)
    pair = small.Pair(small.LinearGaussianNetwork(2, 1), decoder)
    with torch.no_grad():
        decoder.mean.weight.fill_(0.5)  # at zero the encoder would have nothing to learn
    before = copy.deepcopy(pair)
    x = torch.randn(100, 2, generator=torch.Generator().manual_seed(0)) + 1
    learner = small.learner(algorithm, pair, 0.1, decoder_learns=decoder_learns)
    small.train(learner, x, 50)
    return before, pair


@pytest.mark.parametrize("algorithm", ["aevb", "wake-sleep"])
def test_a_decoder_is_held_still_on_demand(algorithm: str) -> None:
    for learns in (True, False):
        before, after = trained(algorithm, decoder_learns=learns)
        pairs = zip(before.decoder.parameters(), after.decoder.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs) != learns
        widths = [pair.encoder.state_dict()["log_variance"] for pair in (before, after)]
        assert not torch.equal(*widths)


def test_training_looks_before_the_first_update_and_after_the_last() -> None:
    weight, bias = torch.tensor([[1.0], [0.5]]), torch.zeros(2)
    x = LinearGaussian(weight, bias, torch.tensor(0.1)).sample(50, torch.Generator())
    decoder = small.LinearGaussianNetwork(1, 2)
    pair = small.Pair(small.LinearGaussianNetwork(2, 1), decoder)
    learner = small.learner("aevb", pair, 0.1)
    seen = small.train(learner, x.float(), 20, lambda: {"b": decoder.mean.bias[0].item()})
    assert (seen[0], seen[-1]["updates"]) == ({"updates": 0, "b": 0.0}, 20)
    assert seen[-1]["b"] != 0
