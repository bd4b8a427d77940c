"""Gradients by hand against autograd: the same steps, update after update."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from aevb import runner
from aevb.backprop import BackpropAEVB, BackpropWakeSleep
from aevb.data import Dataset
from aevb.distributions import Bernoulli
from aevb.experiments import Algorithm, Likelihood, Run
from aevb.learners.aevb import AEVB
from aevb.learners.wake_sleep import WakeSleep
from aevb.train import Training

pytestmark = pytest.mark.usefixtures("double_precision")

RUN = Run(n_hidden=9, minibatch=7, warmup=2, encoder_log_variance_factor=0.3, init_std=0.3)
NZ = (2, 4)


def begin(run: Run, *, by_hand: bool = True) -> Training:
    pixels = torch.rand(60, 12, generator=torch.Generator().manual_seed(0))
    dataset = Dataset("mnist", pixels, pixels[:0], pixels[:0], (3, 4))
    runs = [replace(run, nz=nz, seed=seed) for seed, nz in enumerate(NZ)]
    return runner.start(runs, [0.05, 0.02], dataset, by_hand=by_hand)


each_kind = pytest.mark.parametrize(
    ("algorithm", "likelihood"),
    [(a, p) for a in ("aevb", "wake-sleep") for p in ("bernoulli", "gaussian")],
)


@each_kind
def test_updates_are_those_of_autograd(algorithm: Algorithm, likelihood: Likelihood) -> None:
    assert_same_updates(replace(RUN, algorithm=algorithm, likelihood=likelihood))


def test_variants_of_wake_sleep_are_those_of_autograd() -> None:
    wake_sleep = replace(RUN, algorithm="wake-sleep", likelihood="gaussian")
    assert_same_updates(replace(wake_sleep, sleep_first=True, clip_dreams=True))


def assert_same_updates(run: Run) -> None:
    by_hand, plain = begin(run), begin(run, by_hand=False)
    assert type(plain.learner) in (AEVB, WakeSleep)
    start = [p.detach().clone() for p in plain.learner.model.parameters()]
    for training in (by_hand, plain):
        training.advance(12)
    torch.testing.assert_close(by_hand.running_bound, plain.running_bound)
    ours, theirs = (dict(t.learner.model.named_parameters()) for t in (by_hand, plain))
    for (name, expected), before in zip(theirs.items(), start, strict=True):
        assert not torch.equal(expected, before), f"{name} has not moved"
        torch.testing.assert_close(ours[name], expected, msg=name)


@pytest.mark.parametrize("scale", [1.0, 30.0, 300.0])
def test_log_likelihood_does_not_overflow(scale: float) -> None:
    """Logits far beyond where sigmoid(-logits) underflows in single precision."""
    torch.set_default_dtype(torch.float32)
    learner = begin(RUN).learner
    assert isinstance(learner, BackpropAEVB)
    with torch.no_grad():
        learner.model.decoder.get_submodule("logits").weight.mul_(scale)  # type: ignore[operator]
    z = 3 * torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(1))
    x = torch.rand(2, 5, 12, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        p = learner.model.decoder(z)
        assert isinstance(p, Bernoulli)
        assert scale < 300 or p.logits.max() > 100
        expected = Bernoulli(p.logits.double()).log_prob(x.double())
        ours = learner._decoder.log_prob(z, x)
    torch.testing.assert_close(ours.double(), expected, rtol=1e-6, atol=1e-4)


@each_kind
def test_a_run_starts_with_gradients_by_hand_where_it_can(
    algorithm: Algorithm, likelihood: Likelihood
) -> None:
    learner = begin(replace(RUN, algorithm=algorithm, likelihood=likelihood)).learner
    assert isinstance(learner, BackpropAEVB | BackpropWakeSleep)
    assert type(begin(replace(RUN, n_samples=2)).learner) is AEVB
    assert type(begin(replace(RUN, estimator="A")).learner) is AEVB
    deep = begin(replace(RUN, algorithm=algorithm, likelihood=likelihood, hidden_layers=3)).learner
    assert type(deep) is (AEVB if algorithm == "aevb" else WakeSleep)


def test_rounded_products_stay_within_training_and_near_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    torch.set_default_dtype(torch.float32)
    exact, rounded = begin(RUN), begin(replace(RUN, products="bfloat16"))
    precisions = []
    step = rounded.learner.step

    def observed(x: Tensor) -> Tensor:
        precisions.append(torch.get_float32_matmul_precision())
        return step(x)

    monkeypatch.setattr(rounded.learner, "step", observed)
    for training in (exact, rounded):
        training.advance(30)
    assert set(precisions) == {"medium"}
    assert torch.get_float32_matmul_precision() == "highest"
    torch.testing.assert_close(rounded.running_bound, exact.running_bound, rtol=1e-2, atol=0)
