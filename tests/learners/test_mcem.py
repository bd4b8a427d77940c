"""Monte Carlo EM against steps by hand and the exact maximum likelihood."""

import pytest
import torch
from linear_gaussian import LinearModel, example
from torch import Generator, Tensor

from aevb.inference.hmc import Joint, adapted, transition
from aevb.learners.mcem import MCEM
from aevb.learners.optimiser import Ascent, Optimisation
from aevb.model.distributions import standard_normal_log_prob
from aevb.model.linear_gaussian import maximum_likelihood
from aevb.model.networks import Architecture, Initialisation, Model, initialised
from aevb.model.randomness import generator, normal

pytestmark = pytest.mark.usefixtures("double_precision")

PIXELS, N, NZ = 12, 30, 3
RULE = Optimisation(step_size=0.02, warmup=0, weight_decay=1.0)


def small_model(seed: int = 0) -> Model:
    sizes = Architecture(PIXELS, 7, NZ, "bernoulli")
    return initialised(sizes, Initialisation(std=0.5), generator(seed, "start"))


def images() -> Tensor:
    return torch.rand(N, PIXELS, generator=Generator().manual_seed(0))


def learner(seed: int = 0) -> MCEM:
    return MCEM(small_model(seed), RULE, generator(seed, "noise"))


def state(one: MCEM) -> dict[str, Tensor]:
    """Copies of what an iteration changes, by name."""
    parameters = {name: p.detach().clone() for name, p in one.model.named_parameters()}
    return parameters | {name: t.clone() for name, t in one.memory.items()}


def test_an_iteration_is_one_proposal_and_five_updates_by_hand() -> None:
    """The weight updates through autograd of log p(x, z) itself."""
    one, x = learner(), images()
    noise, model = generator(0, "noise"), small_model()
    decoder = model.decoder
    ascent = Ascent(decoder.named_parameters("decoder"), RULE)
    joint, chains, step = Joint(decoder, x), normal(noise, N, NZ), torch.full((1, 1), 0.01)
    for _ in range(3):
        point, acceptance = transition(joint, joint.evaluate(chains), step, 10, noise)
        chains, step = point.z, adapted(step, acceptance)
        for _ in range(5):
            log_joint = standard_normal_log_prob(chains) + decoder(chains).log_prob(x)
            ascent.maximise(log_joint.sum())
        torch.testing.assert_close(one.step(x), point.log_prob.mean())
        torch.testing.assert_close(one.memory, {"chains": chains, "step": step})
    assert one.ascents["decoder"].updates == 15
    torch.testing.assert_close(one.model.state_dict(), model.state_dict())


def test_the_encoder_does_not_move() -> None:
    one = learner()
    before = state(one)
    one.step(images())
    moved = {name for name, value in before.items() if not torch.equal(value, state(one)[name])}
    assert moved == {name for name in before if name.startswith("decoder")}


def test_many_chunks_of_rows_are_one_training_set(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = learner(), learner()
    whole.step(images())
    monkeypatch.setattr(Joint, "chunks", lambda self: iter(slice(i, i + 7) for i in range(0, N, 7)))
    parts.step(images())
    torch.testing.assert_close(state(whole), state(parts))


def test_iterations_continue_from_what_is_remembered() -> None:
    """Parameters, accumulators, noise and `memory`: bit for bit."""
    one, other, x = learner(), learner(seed=5), images()
    for _ in range(4):
        one.step(x)
    other.model.load_state_dict(one.model.state_dict())
    other.memory = {name: t.clone() for name, t in one.memory.items()}
    ascent, copy = one.ascents["decoder"], other.ascents["decoder"]
    for name, tensor in ascent.accumulators["squares"].items():
        copy.accumulators["squares"][name].copy_(tensor)
    copy.updates = ascent.updates
    other.noise.set_state(one.noise.get_state())
    for _ in range(3):
        assert torch.equal(one.step(x), other.step(x))
    torch.testing.assert_close(state(one), state(other), rtol=0, atol=0)


def test_another_number_of_images_is_refused() -> None:
    one = learner()
    one.step(images())
    with pytest.raises(ValueError, match=f"all {N} training points, not {N - 1}"):
        one.step(images()[:-1])


def test_mcem_reaches_the_exact_maximum_likelihood() -> None:
    """Of probabilistic PCA, to 0.01 nats: the fixed point of EM, with Monte Carlo noise on it."""
    x = example(2).sample(1000, Generator().manual_seed(0))
    best = maximum_likelihood(x, 2).marginal_loglik(x).mean()
    model = LinearModel(5, 2, Generator().manual_seed(1))
    one = MCEM(model, Optimisation(step_size=0.1, warmup=0), generator(0, "noise"))

    def gap() -> float:
        with torch.no_grad():
            return (best - model.exact().marginal_loglik(x).mean()).item()

    assert gap() > 1
    for _ in range(250):
        one.step(x)
    assert -1e-9 < gap() < 0.01
