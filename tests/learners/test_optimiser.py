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
SHAPES = {"layer.weight": (6, 5), "layer.bias": (5,)}


def parameters(seed: int = 0, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {k: torch.randn(v, generator=generator, dtype=dtype) for k, v in SHAPES.items()}


def gradients(updates: int, dtype: torch.dtype = torch.float32) -> Iterator[dict[str, Tensor]]:
    """Of scales from 1e-3 to 1e3; one in five is exactly zero, as those of dark pixels are."""
    for seed in range(updates):
        drawn = parameters(1000 + seed, dtype)
        yield {k: 10 ** (seed % 7 - 3.0) * g * (g.abs() > 0.25) for k, g in drawn.items()}


def scalar(value: float) -> Tensor:
    return torch.full((1, 1), value)


def ascent_of(parameters: Mapping[str, Tensor], rule: str | None = None, **settings: Any) -> Ascent:
    """Without a warm-up and with step size 0.1, unless `settings` say otherwise."""
    ascent = Ascent(parameters.items(), Optimisation(**{"warmup": 0, "step_size": 0.1} | settings))
    if rule is not None:
        ascent._rule = getattr(ascent, rule)
    return ascent


def assert_same(ours: Mapping[str, Tensor], theirs: Mapping[str, Tensor], rtol: float) -> None:
    for name, value in ours.items():
        torch.testing.assert_close(value, theirs[name], rtol=rtol, atol=rtol / 10)


def test_adagrad_of_a_hand_computed_example() -> None:
    w = {"weight": scalar(1.0)}
    ascent = ascent_of(w)
    ascent.update({"weight": scalar(3.0)})
    # 1 + 0.1 · 3 / √9, uphill.
    assert w["weight"].item() == pytest.approx(1.1)
    ascent.update({"weight": scalar(-4.0)})
    # 1.1 − 0.1 · 4 / √(9 + 16).
    assert w["weight"].item() == pytest.approx(1.02)
    assert ascent.accumulators["squares"]["weight"].item() == pytest.approx(25.0)


def test_adagrad_has_1e_minus_8_inside_the_square_root() -> None:
    w = {"weight": scalar(0.0)}
    ascent_of(w, step_size=1.0).update({"weight": scalar(1e-4)})
    # 1e-4 / √(1e-8 + 1e-8); outside the root it would be 1e-4 / (1e-4 + 1e-8) = 0.9999.
    assert w["weight"].item() == pytest.approx(0.5**0.5, rel=1e-5)


each_rule = pytest.mark.parametrize("rule", ["plain", "fused"])
each_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)


@each_rule
@each_algorithm
def test_update_rules_are_those_of_torch(algorithm: Algorithm, rule: str) -> None:
    ours, decay = parameters(dtype=torch.float64), 0.7 * 0.25
    theirs = {name: p.clone() for name, p in ours.items()}
    ascent = ascent_of(ours, rule, algorithm=algorithm, weight_decay=decay)
    groups: list[dict[str, Any]] = [
        {"params": [theirs["layer.weight"]], "weight_decay": decay},
        {"params": [theirs["layer.bias"]]},
    ]
    reference = (
        torch.optim.Adagrad(groups, lr=0.1, initial_accumulator_value=1e-8, eps=0.0, maximize=True)
        if algorithm == "adagrad"
        else torch.optim.Adam(groups, lr=0.1, maximize=True)
    )
    for g in gradients(60, torch.float64):
        ascent.update(g)
        for name, p in theirs.items():
            p.grad = g[name].clone()
        reference.step()
    assert_same(ours, theirs, rtol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@each_algorithm
def test_fused_updates_are_the_plain_ones(algorithm: Algorithm, dtype: torch.dtype) -> None:
    """Over 300 updates with a warm-up and a prior, the accumulators too."""
    settings: dict[str, Any] = {"algorithm": algorithm, "warmup": 20, "weight_decay": 0.002}
    fused, plain = parameters(dtype=dtype), parameters(dtype=dtype)
    of_fused, of_plain = ascent_of(fused, **settings), ascent_of(plain, "plain", **settings)
    assert of_fused._rule == of_fused.fused
    for k, g in enumerate(gradients(300, dtype)):
        # Laid out as the weights, as those of tied weights, and as those of a sum.
        if k % 3 == 1:
            g["layer.weight"] = g["layer.weight"].mT.contiguous().mT
        elif k % 3 == 2:
            g = {name: value[..., :1].expand_as(value) for name, value in g.items()}
        of_fused.update(g)
        of_plain.update(g)
    rtol = 2e-5 if dtype == torch.float32 else 1e-10
    assert_same(fused, plain, rtol)
    for key, values in of_fused.accumulators.items():
        assert_same(values, of_plain.accumulators[key], rtol)


@pytest.mark.parametrize("kernels", [{}, {"adagrad": "_a_kernel_of_no_version_"}])
def test_where_there_is_no_kernel_the_plain_rule_moves(
    kernels: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def rule() -> object:
        return ascent_of(parameters())._rule.__name__

    assert rule() == "fused"
    monkeypatch.setattr(optimiser, "KERNELS", kernels)
    assert rule() == "plain"


def test_an_algorithm_without_a_rule_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(optimiser.ACCUMULATORS, "sgd", {})
    ascent = ascent_of(parameters(), algorithm="sgd")
    with pytest.raises(ValueError, match="no rule for 'sgd'"):
        ascent.update(next(iter(gradients(1))))


def test_a_rule_of_a_subclass_is_used() -> None:
    class Sliding(Ascent):
        def plain(self, gradients: Mapping[str, Tensor]) -> None:
            for name, p in self.parameters.items():
                p += gradients[name]

    before, (step,) = parameters(), gradients(1)
    sliding = Sliding(parameters().items(), Optimisation(warmup=0))
    sliding.update(step)
    for name, p in sliding.parameters.items():
        assert torch.equal(p, before[name] + step[name])


@each_rule
@each_algorithm
def test_a_zero_gradient_moves_nothing(algorithm: Algorithm, rule: str) -> None:
    p = parameters()
    ascent = ascent_of(p, rule, algorithm=algorithm)
    ascent.update({name: torch.zeros_like(value) for name, value in p.items()})
    assert_same(p, parameters(), rtol=0)


@each_rule
@each_algorithm
def test_warm_up_feeds_the_accumulators_and_moves_nothing(algorithm: Algorithm, rule: str) -> None:
    p = parameters()
    ascent = ascent_of(p, rule, algorithm=algorithm, warmup=3)
    drawn = list(gradients(4))
    for g in drawn[:3]:
        ascent.update(g)
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
    ascent.update(drawn[3])
    moved = p["layer.weight"] != parameters()["layer.weight"]
    # Adagrad moves what has a gradient now, Adam what ever had one.
    moving = drawn[3:] if algorithm == "adagrad" else drawn
    assert torch.equal(moved, torch.stack([g["layer.weight"] != 0 for g in moving]).any(0))


@pytest.mark.parametrize("warmup", [0, 1, 5])
def test_the_first_update_after_the_warm_up_is_the_first_to_move(warmup: int) -> None:
    w = {"weight": scalar(0.0)}
    ascent = ascent_of(w, warmup=warmup)
    for _ in range(warmup):
        ascent.update({"weight": scalar(1.0)})
        assert w["weight"].item() == 0.0
    ascent.update({"weight": scalar(1.0)})
    assert w["weight"].item() == pytest.approx(0.1 / (warmup + 1) ** 0.5)


@each_rule
def test_the_prior_pulls_weights_and_not_biases(rule: str) -> None:
    """Its gradient is −(M/N) w, here −0.25 · 0.8 w, on top of that of the data."""
    p, start = parameters(), parameters()
    ascent = ascent_of(p, rule, weight_decay=0.25 * 0.8)
    ascent.update({name: torch.zeros_like(value) for name, value in p.items()})
    squares = ascent.accumulators["squares"]
    assert torch.equal(p["layer.bias"], start["layer.bias"])
    torch.testing.assert_close(squares["layer.bias"], torch.full(SHAPES["layer.bias"], 1e-8))
    w = start["layer.weight"]
    torch.testing.assert_close(squares["layer.weight"], 1e-8 + (0.2 * w) ** 2)
    expected = w - 0.1 * 0.2 * w / (1e-8 + (0.2 * w) ** 2).sqrt()
    torch.testing.assert_close(p["layer.weight"], expected)


def test_climbing_reaches_the_maximum_a_posteriori() -> None:
    """The mean of N(w, 1) with w ~ N(0, 1), from minibatches of M = 4 of N = 20: Σx / (N + 1)."""
    x = torch.linspace(1.0, 3.0, 20)
    weight, bias = (torch.zeros((), requires_grad=True) for _ in range(2))
    ascent = ascent_of({"weight": weight, "bias": bias}, step_size=0.5, weight_decay=4 / 20)
    for _ in range(200):
        # Every minibatch has the mean of all data: no noise.
        minibatch = torch.full((4,), x.mean().item())
        objective = -0.5 * ((minibatch - weight) ** 2 + (minibatch - bias) ** 2).sum()
        ascent.maximise(objective)
    assert weight.item() == pytest.approx(x.sum().item() / 21, abs=1e-5)
    assert bias.item() == pytest.approx(x.mean().item(), abs=1e-5)


def test_climb_follows_the_gradient_of_the_objective() -> None:
    p = {name: value.requires_grad_() for name, value in parameters().items()}
    q = parameters()
    climbing, ascending = (ascent_of(v) for v in (p, q))
    for _ in range(3):
        climbing.maximise(sum((-(value**4).sum() for value in p.values()), torch.zeros(())))
        ascending.update({name: -4 * value**3 for name, value in q.items()})
    assert climbing.updates == 3
    assert all(value.grad is None for value in p.values())
    assert_same({k: v.detach() for k, v in p.items()}, q, rtol=1e-6)
