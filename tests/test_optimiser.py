"""The update rules against hand-computed numbers, PyTorch's optimisers and a MAP known answer."""

from collections.abc import Iterator, Mapping
from typing import Any, Literal

import pytest
import torch
from torch import Tensor

from aevb.learners import optimiser
from aevb.learners.optimiser import Ascent, Optimisation

Algorithm = Literal["adagrad", "adam"]
ALGORITHMS: tuple[Algorithm, ...] = ("adagrad", "adam")
SHAPES = {"layer.weight": (2, 6, 5), "layer.bias": (2, 1, 5)}


def parameters(seed: int = 0, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {k: torch.randn(v, generator=generator, dtype=dtype) for k, v in SHAPES.items()}


def gradients(updates: int, dtype: torch.dtype = torch.float32) -> Iterator[dict[str, Tensor]]:
    """Of scales from 1e-3 to 1e3; one in five is exactly zero, as those of dark pixels are."""
    for seed in range(updates):
        drawn = parameters(1000 + seed, dtype)
        yield {k: 10 ** (seed % 7 - 3.0) * g * (g.abs() > 0.25) for k, g in drawn.items()}


def scalar(value: float) -> Tensor:
    return torch.full((1, 1, 1), value)


def assert_same(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], rtol: float) -> None:
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=rtol, atol=rtol / 10)


def test_adagrad_of_a_hand_computed_example() -> None:
    w = {"weight": scalar(1.0)}
    ascent = Ascent(w, Optimisation(warmup=0, prior=0.0), [0.1], 1.0)
    ascent.ascend({"weight": scalar(3.0)})
    # 1 + 0.1 · 3 / √9, uphill.
    assert w["weight"].item() == pytest.approx(1.1)
    ascent.ascend({"weight": scalar(-4.0)})
    # 1.1 − 0.1 · 4 / √(9 + 16).
    assert w["weight"].item() == pytest.approx(1.02)
    assert ascent.accumulators["squares"]["weight"].item() == pytest.approx(25.0)


def test_adagrad_has_1e_minus_8_inside_the_square_root() -> None:
    w = {"weight": scalar(0.0)}
    Ascent(w, Optimisation(warmup=0, prior=0.0), [1.0], 1.0).ascend({"weight": scalar(1e-4)})
    # 1e-4 / √(1e-8 + 1e-8); outside the root it would be 1e-4 / (1e-4 + 1e-8) = 0.9999.
    assert w["weight"].item() == pytest.approx(0.5**0.5, rel=1e-5)


@pytest.mark.parametrize("rule", ["plain", "fused"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_update_rules_are_those_of_torch(algorithm: Algorithm, rule: str) -> None:
    steps, prior, share = [0.1, 0.02], 0.7, 0.25
    ours = parameters(dtype=torch.float64)
    ascent = Ascent(ours, Optimisation(algorithm, warmup=0, prior=prior), steps, share)
    ascent._rule = getattr(ascent, rule)
    theirs = [{k: p[r].clone() for k, p in ours.items()} for r in range(2)]
    references = []
    for r, step in enumerate(steps):
        groups: list[dict[str, Any]] = [
            {"params": [theirs[r]["layer.weight"]], "weight_decay": prior * share},
            {"params": [theirs[r]["layer.bias"]]},
        ]
        references.append(
            torch.optim.Adagrad(
                groups, lr=step, initial_accumulator_value=1e-8, eps=0.0, maximize=True
            )
            if algorithm == "adagrad"
            else torch.optim.Adam(groups, lr=step, maximize=True)
        )
    for g in gradients(60, torch.float64):
        ascent.ascend(g)
        for r, reference in enumerate(references):
            for name, p in theirs[r].items():
                p.grad = g[name][r].clone()
            reference.step()
    stacked = {name: torch.stack([theirs[r][name] for r in range(2)]) for name in ours}
    # The plain rule's step sizes are rounded to single precision.
    assert_same(ours, stacked, rtol=1e-10 if rule == "fused" else 1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_fused_updates_are_the_plain_ones(algorithm: Algorithm, dtype: torch.dtype) -> None:
    """Over 300 updates with a warm-up, a prior and a step size per replicate."""
    fused, plain = parameters(dtype=dtype), parameters(dtype=dtype)
    optimisation = Optimisation(algorithm, warmup=20, prior=1.0)
    of_fused, of_plain = (Ascent(p, optimisation, [0.1, 0.02], 0.002) for p in (fused, plain))
    of_plain._rule = of_plain.plain
    assert of_fused._rule == of_fused.fused
    for k, g in enumerate(gradients(300, dtype)):
        # Laid out as the weights, as those of tied weights, and as those of a sum.
        if k % 3 == 1:
            g = {name: value.mT.contiguous().mT for name, value in g.items()}
        elif k % 3 == 2:
            g = {name: value[..., :1].expand_as(value) for name, value in g.items()}
        of_fused.ascend(g)
        of_plain.ascend(g)
    # In double precision the plain rule's step sizes still are of single precision.
    rtol = 2e-5 if dtype == torch.float32 else 1e-6
    assert_same(fused, plain, rtol)
    # The accumulators too.
    for key, values in of_fused.accumulators.items():
        assert_same(values, of_plain.accumulators[key], rtol)


def test_every_replicate_needs_a_step_size() -> None:
    with pytest.raises(ValueError, match="for each of 2 replicates, got 1"):
        Ascent(parameters(), Optimisation(), [0.1], 1.0)


@pytest.mark.parametrize("kernels", [{}, {"adagrad": "_a_kernel_of_no_version_"}])
def test_where_there_is_no_kernel_the_plain_rule_moves(
    kernels: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def rule() -> object:
        return Ascent(parameters(), Optimisation(), [0.1, 0.1], 0.1)._rule.__name__

    assert rule() == "fused"
    monkeypatch.setattr(optimiser, "KERNELS", kernels)
    assert rule() == "plain"


def test_an_algorithm_without_a_rule_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(optimiser.ACCUMULATORS, "sgd", {})
    ascent = Ascent(parameters(), Optimisation("sgd"), [0.1, 0.1], 1.0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="no rule for 'sgd'"):
        ascent.ascend(next(iter(gradients(1))))


def test_a_rule_of_a_subclass_is_used_and_not_taken_for_one_that_repeats() -> None:
    class Counting(Ascent):
        def ascend(self, gradients: Mapping[str, torch.Tensor]) -> None:
            super().ascend(gradients)

    class Sliding(Ascent):
        def plain(self, gradients: Mapping[str, torch.Tensor]) -> None:
            for name, p in self.parameters.items():
                p += gradients[name]

    before, (step,) = parameters(), gradients(1)
    sliding = Sliding(parameters(), Optimisation(warmup=0), [0.1, 0.1], 1.0)
    sliding.ascend(step)
    for name, p in sliding.parameters.items():
        assert torch.equal(p, before[name] + step[name])
    for kind, repeats in ((Ascent, True), (Counting, False), (Sliding, False)):
        ascent = kind(parameters(), Optimisation(warmup=0), [0.1, 0.1], 1.0)
        assert not ascent.repeats
        ascent.ascend(next(iter(gradients(1))))
        assert ascent.repeats is repeats


@pytest.mark.parametrize("rule", ["plain", "fused"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_zero_gradient_moves_nothing(algorithm: Algorithm, rule: str) -> None:
    p = parameters()
    ascent = Ascent(p, Optimisation(algorithm, warmup=0, prior=0.0), [0.1, 0.1], 1.0)
    ascent._rule = getattr(ascent, rule)
    ascent.ascend({name: torch.zeros_like(value) for name, value in p.items()})
    assert_same(p, parameters(), rtol=0)


@pytest.mark.parametrize("rule", ["plain", "fused"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_replicate_moves_as_it_does_alone(algorithm: Algorithm, rule: str) -> None:
    together = parameters()
    optimisation, steps = Optimisation(algorithm, warmup=2), [0.1, 0.02]
    alone = [{k: p[r : r + 1].clone() for k, p in together.items()} for r in range(2)]
    ascents = [Ascent(alone[r], optimisation, [steps[r]], 0.1) for r in range(2)]
    stacked = Ascent(together, optimisation, steps, 0.1)
    for ascent in (*ascents, stacked):
        ascent._rule = getattr(ascent, rule)
    for g in gradients(30):
        stacked.ascend(g)
        for r in range(2):
            ascents[r].ascend({name: value[r : r + 1] for name, value in g.items()})
    for r in range(2):
        assert_same({k: p[r : r + 1] for k, p in together.items()}, alone[r], rtol=0)


@pytest.mark.parametrize("rule", ["plain", "fused"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_warm_up_feeds_the_accumulators_and_moves_nothing(algorithm: Algorithm, rule: str) -> None:
    p = parameters()
    ascent = Ascent(p, Optimisation(algorithm, warmup=3, prior=0.0), [0.1, 0.1], 1.0)
    ascent._rule = getattr(ascent, rule)
    drawn = list(gradients(4))
    for g in drawn[:3]:
        ascent.ascend(g)
    assert_same(p, parameters(), rtol=0)
    squares = ascent.accumulators["squares"]["layer.weight"]
    if algorithm == "adagrad":
        expected = 1e-8 + sum((g["layer.weight"] ** 2 for g in drawn[:3]), torch.zeros(()))
        torch.testing.assert_close(squares, expected)
    else:
        expected = sum(
            (0.001 * 0.999 ** (2 - i) * g["layer.weight"] ** 2 for i, g in enumerate(drawn[:3])),
            torch.zeros(()),
        )
        torch.testing.assert_close(squares, expected)
    ascent.ascend(drawn[3])
    moved = p["layer.weight"] != parameters()["layer.weight"]
    # Adagrad moves what has a gradient now, Adam what ever had one.
    moving = drawn[3:] if algorithm == "adagrad" else drawn
    assert torch.equal(moved, torch.stack([g["layer.weight"] != 0 for g in moving]).any(0))


@pytest.mark.parametrize("warmup", [0, 1, 5])
def test_the_first_update_after_the_warm_up_is_the_first_to_move(warmup: int) -> None:
    w = {"weight": scalar(0.0)}
    ascent = Ascent(w, Optimisation(warmup=warmup, prior=0.0), [0.1], 1.0)
    for _ in range(warmup):
        ascent.ascend({"weight": scalar(1.0)})
        assert w["weight"].item() == 0.0
    ascent.ascend({"weight": scalar(1.0)})
    assert w["weight"].item() == pytest.approx(0.1 / (warmup + 1) ** 0.5)


@pytest.mark.parametrize("rule", ["plain", "fused"])
def test_the_prior_pulls_weights_and_not_biases(rule: str) -> None:
    """Its gradient is −(M/N) w, here −0.25 · 0.8 w, on top of that of the data."""
    p, start = parameters(), parameters()
    ascent = Ascent(p, Optimisation(warmup=0, prior=0.8), [0.1, 0.02], 0.25)
    ascent._rule = getattr(ascent, rule)
    ascent.ascend({name: torch.zeros_like(value) for name, value in p.items()})
    squares = ascent.accumulators["squares"]
    assert torch.equal(p["layer.bias"], start["layer.bias"])
    torch.testing.assert_close(squares["layer.bias"], torch.full(SHAPES["layer.bias"], 1e-8))
    w = start["layer.weight"]
    torch.testing.assert_close(squares["layer.weight"], 1e-8 + (0.2 * w) ** 2)
    step = torch.tensor([0.1, 0.02])[:, None, None]
    expected = w - step * 0.2 * w / (1e-8 + (0.2 * w) ** 2).sqrt()
    torch.testing.assert_close(p["layer.weight"], expected)


def test_climbing_reaches_the_maximum_a_posteriori() -> None:
    """The mean of N(w, 1) with w ~ N(0, 1), from minibatches of M = 4 of N = 20: Σx / (N + 1)."""
    x = torch.linspace(1.0, 3.0, 20)
    weight, bias = (torch.zeros(1, 1, 1, requires_grad=True) for _ in range(2))
    ascent = Ascent({"weight": weight, "bias": bias}, Optimisation(warmup=0), [0.5], 4 / 20)
    for _ in range(200):
        # Every minibatch has the mean of all data: no noise.
        minibatch = torch.full((4,), x.mean().item())
        objective = -0.5 * ((minibatch - weight) ** 2 + (minibatch - bias) ** 2).sum()
        ascent.climb(objective)
    assert weight.item() == pytest.approx(x.sum().item() / 21, abs=1e-5)
    assert bias.item() == pytest.approx(x.mean().item(), abs=1e-5)


def test_climb_follows_the_gradient_of_the_objective() -> None:
    p = {name: value.requires_grad_() for name, value in parameters().items()}
    q = parameters()
    climbing, ascending = (Ascent(v, Optimisation(warmup=0), [0.1, 0.1], 1.0) for v in (p, q))
    for _ in range(3):
        climbing.climb(sum((-(value**4).sum() for value in p.values()), torch.zeros(())))
        ascending.ascend({name: -4 * value**3 for name, value in q.items()})
    assert climbing.updates == 3
    assert all(value.grad is None for value in p.values())
    assert_same({k: v.detach() for k, v in p.items()}, q, rtol=1e-6)
