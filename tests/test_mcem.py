"""Monte Carlo EM against steps by hand and the exact maximum likelihood."""

from collections.abc import Sequence

import pytest
import torch
from linear_gaussian import LinearModel, example
from torch import Tensor

from aevb.inference.hmc import Joint, adapted, transition
from aevb.learners.mcem import MCEM
from aevb.learners.optimiser import Ascent, Optimisation
from aevb.model.distributions import standard_normal_log_prob
from aevb.model.linear_gaussian import maximum_likelihood
from aevb.model.networks import (
    Architecture,
    Initialisation,
    Model,
    initialised,
)
from aevb.model.randomness import Streams, generator

pytestmark = pytest.mark.usefixtures("double_precision")

PIXELS, N = 12, 30


def noise(seeds: Sequence[int], nz: Sequence[int] | None = None) -> Streams:
    return Streams([generator(seed, "noise") for seed in seeds], nz or [3] * len(seeds))


def stack(seeds: Sequence[int], nz: Sequence[int] | None = None) -> Model:
    architectures = [Architecture(PIXELS, 7, n, "bernoulli") for n in nz or [3] * len(seeds)]
    generators = [generator(seed, "start") for seed in seeds]
    return initialised(architectures, Initialisation(std=0.5), generators)


def decoder_of(model: Model | LinearModel) -> dict[str, Tensor]:
    return {name: p for name, p in model.named_parameters() if name.startswith("decoder")}


def images(replicates: int = 1) -> Tensor:
    x = torch.rand(1, N, PIXELS, generator=torch.Generator().manual_seed(0))
    return x.expand(replicates, N, PIXELS)


def learner(
    seeds: Sequence[int],
    nz: Sequence[int] | None = None,
    optimisation: Optimisation | None = None,
) -> MCEM:
    model = stack(seeds, nz)
    rule = optimisation or Optimisation(warmup=0)
    ascent = Ascent(decoder_of(model), rule, [0.02] * len(seeds), 1.0)
    return MCEM(model, ascent, noise(seeds, nz), N)


def values(one: MCEM) -> dict[str, Tensor]:
    state = {name: p.detach().clone() for name, p in one.model.named_parameters()}
    return state | {name: t.clone() for name, t in one.memory.items()}


def test_an_iteration_is_one_proposal_and_five_updates_by_hand() -> None:
    """The weight updates through autograd of log p(x, z) itself."""
    one, x = learner([0]), images()
    streams, model = noise([0]), stack([0])
    ascent = Ascent(decoder_of(model), Optimisation(warmup=0), [0.02], 1.0)
    joint = Joint(model.decoder, x)
    chains = streams.latents(N)
    assert torch.equal(one.memory["chains"], chains)
    step = torch.full((1, 1, 1), 0.01)
    for _ in range(3):
        point, acceptance = transition(joint, joint.at(chains), step, 10, streams)
        chains, step = point.z, adapted(step, acceptance)
        for _ in range(5):
            log_joint = standard_normal_log_prob(chains) + model.decoder(chains).log_prob(x)
            ascent.climb(log_joint.sum())
        torch.testing.assert_close(one.step(x), point.log_prob.mean(1))
        torch.testing.assert_close(one.memory["chains"], chains)
        torch.testing.assert_close(one.memory["step"], step)
    assert one.ascents["decoder"].updates == 15
    for name, p in decoder_of(model).items():
        torch.testing.assert_close(decoder_of(one.model)[name], p)


def test_the_encoder_does_not_move() -> None:
    one = learner([0])
    before = values(one)
    one.step(images())
    after = values(one)
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert moved == {*decoder_of(one.model), "chains", "step"}


def test_many_chunks_of_rows_are_one_training_set(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, parts = learner([0]), learner([0])
    whole.step(images())
    monkeypatch.setattr(Joint, "chunks", lambda self: iter(slice(i, i + 7) for i in range(0, N, 7)))
    parts.step(images())
    for a, b in zip(values(whole).values(), values(parts).values(), strict=True):
        torch.testing.assert_close(a, b)


def test_iterations_continue_from_what_is_remembered() -> None:
    """Parameters, accumulators, noise and `memory`, copied in place: bit for bit."""
    one, other, x = learner([0]), learner([5]), images()
    for _ in range(4):
        one.step(x)
    other.model.load_state_dict(one.model.state_dict())
    for name, tensor in one.memory.items():
        other.memory[name].copy_(tensor)
    for name, tensor in one.ascents["decoder"].accumulators["squares"].items():
        other.ascents["decoder"].accumulators["squares"][name].copy_(tensor)
    other.ascents["decoder"].updates = one.ascents["decoder"].updates
    other.noise.generators[0].set_state(one.noise.generators[0].get_state())
    for _ in range(3):
        assert torch.equal(one.step(x), other.step(x))
    for a, b in zip(values(one).values(), values(other).values(), strict=True):
        assert torch.equal(a, b)


def test_two_runs_train_together_as_they_do_alone() -> None:
    together = learner([0, 1])
    for _ in range(10):
        returned = together.step(images(2))
    both = values(together)
    for r in range(2):
        alone = learner([r])
        for _ in range(10):
            returned_alone = alone.step(images())
        torch.testing.assert_close(returned[r], returned_alone[0], rtol=1e-6, atol=1e-6)
        for name, value in values(alone).items():
            torch.testing.assert_close(both[name][r], value[0], rtol=1e-6, atol=1e-6)


def test_runs_of_several_nz_are_refused() -> None:
    """Chains in padding dimensions would enter log p(x, z)."""
    with pytest.raises(ValueError, match=r"one nz, not \[2, 3\]"):
        learner([0, 1], [2, 3])


def test_another_number_of_images_is_refused() -> None:
    with pytest.raises(ValueError, match=f"all {N} training points"):
        learner([0]).step(images()[:, :-1])


def test_mcem_reaches_the_exact_maximum_likelihood() -> None:
    """Of probabilistic PCA, to 0.01 nats: the fixed point of EM, with Monte Carlo noise on it."""
    x = example(2).sample(1000, torch.Generator().manual_seed(0))
    best = maximum_likelihood(x, 2).marginal_loglik(x).mean()
    model = LinearModel(2, 5, 2, torch.Generator().manual_seed(1))
    ascent = Ascent(decoder_of(model), Optimisation(warmup=0, prior=0.0), [0.1, 0.1], 1.0)
    one = MCEM(model.as_model(), ascent, noise([0, 1], [2, 2]), 1000)

    def gaps() -> Tensor:
        with torch.no_grad():
            return torch.stack([best - model.exact(r).marginal_loglik(x).mean() for r in range(2)])

    assert (gaps() > 1).all()
    for _ in range(250):
        one.step(x.expand(2, 1000, 5))
    assert (gaps() > -1e-9).all()
    assert (gaps() < 0.01).all()
