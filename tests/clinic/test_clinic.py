"""The clinic: its right code is Algorithm 1, and each mistake is what it says."""

import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import Tensor

from aevb.clinic import catalogue, mistakes, runs
from aevb.clinic.catalogue import CATALOGUE, RIGHT, TERMS
from aevb.clinic.code import MINIBATCH, Code
from aevb.learners.aevb import AEVB
from aevb.learners.optimiser import Optimisation
from aevb.model.networks import Architecture, Initialisation, initialised
from aevb.model.randomness import generator, indices

NZ, SEED, STEP = 3, 7, 0.02
TRAINED = mistakes.MISTAKES


@pytest.fixture(scope="module")
def images() -> Tensor:
    """300 images whose grey pixels are between 0 and 1, some of them 0."""
    return torch.rand((300, 784), generator=generator(0, "images")).sub(0.5).clamp(min=0)


def code(kind: type[Code], images: Tensor) -> Code:
    return kind(NZ, SEED, STEP, len(images))


@pytest.mark.usefixtures("double_precision")
def test_the_right_code_is_algorithm_1(images: Tensor) -> None:
    images = images.double()
    model = initialised(
        Architecture(784, 500, NZ, "bernoulli"), Initialisation(), generator(SEED, "initialisation")
    )
    optimisation = Optimisation(step_size=STEP, warmup=1, weight_decay=MINIBATCH / len(images))
    learner = AEVB(model, optimisation, generator(SEED, "noise"))
    right = code(Code, images)
    right.ascent.optimisation = optimisation
    order = generator(SEED, "minibatches")
    for _ in range(3):
        x = images[indices(order, MINIBATCH, len(images))]
        assert right.step(images) == pytest.approx(learner.step(x).item(), rel=1e-9)
    for ours, theirs in zip(right.model.parameters(), model.parameters(), strict=True):
        assert torch.allclose(ours, theirs, atol=1e-7)


def test_evaluating_does_not_change_the_training_path(images: Tensor) -> None:
    once, twice = code(Code, images), code(Code, images)
    once.evaluate(images)
    assert [once.step(images) for _ in range(3)] == [twice.step(images) for _ in range(3)]


@pytest.mark.parametrize("kind", TRAINED)
def test_every_mistake_makes_a_difference(kind: type[Code], images: Tensor) -> None:
    right, wrong = code(Code, images), code(kind, images)
    for patient in (right, wrong):  # at 0, σ, σ² and their logarithms are alike
        patient.model.encoder.log_variance.bias.data.fill_(0.5)
    same_bound = right.step(images) == pytest.approx(wrong.step(images), rel=1e-6)
    ours, theirs = (
        torch.cat([s.flatten() for s in patient.ascent.accumulators["squares"].values()])
        for patient in (right, wrong)
    )
    same_gradient = torch.allclose(ours, theirs, rtol=1e-3)
    same_optimiser = right.ascent.optimisation == wrong.ascent.optimisation
    assert not (same_bound and same_gradient and same_optimiser)


def test_what_the_checks_say_is_so() -> None:
    zero, one, two = torch.zeros(1, 1), torch.ones(1, 1), torch.full((1, 1), 2.0)
    images = torch.zeros(MINIBATCH, 784)
    right = code(Code, images)
    assert right.kl(one, zero).item() == pytest.approx(0.5)
    assert code(mistakes.KlWithoutHalf, images).kl(one, zero).item() == pytest.approx(1)
    assert right.kl(zero, one).item() == pytest.approx((math.e - 2) / 2)
    assert code(mistakes.KlOfLogSigma, images).kl(zero, one).item() > 2
    assert right.sample(zero, two, one).item() == pytest.approx(math.e)
    assert code(mistakes.SampleOfVariance, images).sample(zero, two, one).item() > 7
    assert code(mistakes.SampleOfLogVariance, images).sample(zero, two, one).item() == 2
    bound, reconstruction, kl = right.evaluate(images)
    assert reconstruction == pytest.approx(-784 * math.log(2), rel=1e-3)
    assert bound == pytest.approx(reconstruction - kl)
    _, reconstruction, _ = code(mistakes.PixelMean, images).evaluate(images)
    assert reconstruction == pytest.approx(-math.log(2), rel=1e-3)


def test_misreported_curves_are_the_right_one_read_wrongly() -> None:
    right = pd.DataFrame(
        {"samples": [600.0], "train": [-7.0], "test": [-8.0], "reconstruction": [-6.0], "kl": [2.0]}
    )
    assert catalogue.in_bits(right).test[0] == pytest.approx(-8 / math.log(2))
    assert catalogue.without_kl(right).test[0] == -6
    assert catalogue.without_kl(right).train[0] == -5
    assert catalogue.ragged_batch(right).test[0] == pytest.approx(-8 * 10_000 / 10_112)
    assert catalogue.ragged_batch(right).train[0] == -7
    assert catalogue.train_as_test(right).test[0] == -7
    assert catalogue.epochs_of_60000(right).samples[0] == 500


def test_every_mistake_says_what_it_is_and_what_to_check() -> None:
    for entry in (entry for entry in CATALOGUE if entry is not RIGHT):
        assert entry.mistake
        assert not entry.mistake.endswith(".")
        assert entry.check, entry.name
        assert entry.met == "" or len(entry.met.split("#")) == 2
    assert next(e.label for e in CATALOGUE if e.name == "KlSign") == "KL sign"
    assert next(e.label for e in CATALOGUE if e.name == "without_kl") == "Without KL"


def test_a_file_is_completed_not_made_anew(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []

    def train(kind: type[Code], nz: int, seed: int, budget: float) -> pd.DataFrame:
        trained.append(kind.__name__)
        return pd.DataFrame([(kind.__name__, 100, *[0.0] * len(TERMS))], columns=runs.COLUMNS)

    monkeypatch.setattr(runs, "train", train)
    with pytest.raises(FileNotFoundError, match="aevb clinic mnist-nz3-seed7"):
        runs.read(NZ, SEED)
    runs.write(NZ, SEED)
    assert trained == ["Code", *(kind.__name__ for kind in TRAINED)]
    runs.write(NZ, SEED)
    assert len(trained) == 1 + len(TRAINED)
    assert set(runs.read(NZ, SEED).mistake) == {entry.name for entry in CATALOGUE}


def test_points_are_the_first_minibatch_and_five_a_decade() -> None:
    assert runs.points(250_000)[:3] == [100, 10_000, 15_800]
    assert runs.points(250_000)[-1] == 251_200
