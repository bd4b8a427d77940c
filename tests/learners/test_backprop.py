"""Gradients by hand against autograd: the same steps, update after update."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from aevb.data import Dataset
from aevb.learners.aevb import AEVB
from aevb.learners.backprop import BackpropAEVB, BackpropWakeSleep, fast_learner
from aevb.learners.learner import Learner
from aevb.learners.wake_sleep import WakeSleep
from aevb.model import networks, products
from aevb.model.distributions import Bernoulli
from aevb.model.networks import BernoulliDecoder, Encoder
from aevb.training import job
from aevb.training.loop import Training
from aevb.training.run import Run

pytestmark = pytest.mark.usefixtures("double_precision")

RUN = Run(
    n_hidden=9, nz=4, minibatch=7, warmup=2, encoder_log_variance_factor=0.3, init_std=0.3,
    step_size=0.05,
)  # fmt: skip


def begin(run: Run, *, fast: bool = True) -> Training:
    pixels = torch.rand(60, 12, generator=torch.Generator().manual_seed(0))
    dataset = Dataset("mnist", pixels, pixels[:0], pixels[:0], (3, 4))
    return job.start(run, dataset, fast=fast)


each_kind = pytest.mark.parametrize(
    ("algorithm", "likelihood"),
    [(a, p) for a in ("aevb", "wake-sleep") for p in ("bernoulli", "gaussian")],
)


@each_kind
def test_updates_are_those_of_autograd(algorithm: str, likelihood: str) -> None:
    assert_same_updates(replace(RUN, algorithm=algorithm, likelihood=likelihood))


def test_variants_of_wake_sleep_are_those_of_autograd() -> None:
    wake_sleep = replace(RUN, algorithm="wake-sleep", likelihood="gaussian")
    assert_same_updates(replace(wake_sleep, sleep_first=True, clip_dreams=True))


def assert_same_updates(run: Run) -> None:
    by_hand, plain = begin(run), begin(run, fast=False)
    assert type(plain.learner) in (AEVB, WakeSleep)
    start = [p.detach().clone() for p in plain.learner.model.parameters()]
    for training in (by_hand, plain):
        training.advance(12)
    assert by_hand.running_bound == pytest.approx(plain.running_bound)
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
    z = 3 * torch.randn(5, 4, generator=torch.Generator().manual_seed(1))
    x = torch.rand(5, 12, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        p = learner.model.decoder(z)
        assert isinstance(p, Bernoulli)
        assert scale < 300 or p.logits.max() > 100
        exact = Bernoulli(p.logits.double())
        ours, gradients, _ = learner._decoder.forward_and_backward(z, x)
    expected = exact.log_prob(x.double()).sum()
    torch.testing.assert_close(ours.double(), expected, rtol=1e-6, atol=1e-4)
    grad_logits = (x.double() - exact.mean).sum(0)
    grad_bias = gradients["decoder.logits.bias"].double()
    torch.testing.assert_close(grad_bias, grad_logits, rtol=1e-5, atol=1e-5)


@each_kind
def test_a_run_starts_with_gradients_by_hand_where_it_can(algorithm: str, likelihood: str) -> None:
    learner = begin(replace(RUN, algorithm=algorithm, likelihood=likelihood)).learner
    assert isinstance(learner, BackpropAEVB | BackpropWakeSleep)
    assert type(begin(replace(RUN, n_samples=2)).learner) is AEVB
    assert type(begin(replace(RUN, estimator="A")).learner) is AEVB
    deep = begin(replace(RUN, algorithm=algorithm, likelihood=likelihood, hidden_layers=3)).learner
    assert type(deep) is (AEVB if algorithm == "aevb" else WakeSleep)


class ReluDecoder(BernoulliDecoder):
    """A decoder of a user's own, whose forward pass is another."""

    def forward(self, z: Tensor) -> Bernoulli:
        return Bernoulli(self.logits(torch.relu(self.hidden(z))))


@pytest.mark.parametrize(("algorithm", "learner"), [("aevb", AEVB), ("wake-sleep", WakeSleep)])
def test_a_decoder_of_ones_own_is_not_taken_for_the_papers(
    algorithm: str, learner: type[Learner], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(networks.DECODERS, "bernoulli", ReluDecoder)
    assert type(begin(replace(RUN, algorithm=algorithm)).learner) is learner


def test_an_encoder_or_a_learner_of_ones_own_is_not_taken_for_the_papers() -> None:
    class OtherEncoder(Encoder):
        pass

    class OtherLearner(AEVB):
        pass

    model, options = begin(RUN).learner.model, {"n_samples": 1, "estimator": "B", "beta": 1.0}
    assert fast_learner(AEVB, model, options) is BackpropAEVB
    assert fast_learner(OtherLearner, model, options) is OtherLearner
    model.encoder.__class__ = OtherEncoder
    assert fast_learner(AEVB, model, options) is AEVB


@pytest.mark.parametrize("fast", [True, False])
def test_rounded_products_stay_within_training_and_near_it(
    fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_default_dtype(torch.float32)
    exact = begin(RUN, fast=fast)
    rounded = begin(replace(RUN, products="bfloat16"), fast=fast)
    types = []
    step = rounded.learner.step

    def observed(x: Tensor) -> Tensor:
        types.append(products.factor(x).dtype)
        return step(x)

    monkeypatch.setattr(rounded.learner, "step", observed)
    for training in (exact, rounded):
        training.advance(30)
    assert set(types) == {torch.bfloat16}
    assert products.factor(torch.zeros(1)).dtype == torch.float32
    assert rounded.running_bound != exact.running_bound
    assert rounded.running_bound == pytest.approx(exact.running_bound, rel=1e-2)


@each_kind
def test_each_kernel_makes_the_same_update(
    algorithm: str, likelihood: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_default_dtype(torch.float32)
    bounds = []
    for name in ("MKL", "oneDNN"):
        monkeypatch.setattr(products, "KERNEL", name)
        training = begin(replace(RUN, algorithm=algorithm, likelihood=likelihood))
        training.advance(12)
        bounds.append(training.running_bound)
    assert bounds[0] == pytest.approx(bounds[1], rel=1e-5)
