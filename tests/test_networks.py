"""Encoder and decoders of Appendix C: formulas, stacking with padding, initialisation."""

import math
from dataclasses import replace
from typing import Literal

import pytest
import torch
from torch import Tensor

from aevb.learners.aevb import lower_bound
from aevb.model.distributions import Bernoulli, DiagonalGaussian
from aevb.model.networks import (
    Architecture,
    Initialisation,
    Model,
    initial_parameters,
    initialised,
    load_replicate,
    parameter_shapes,
)
from aevb.model.randomness import Streams, generator

Likelihood = Literal["bernoulli", "gaussian"]
LIKELIHOODS: tuple[Likelihood, ...] = ("bernoulli", "gaussian")
# Large enough that a mistake shows in the sixth digit of the outputs.
ROUGH = Initialisation(std=0.5, encoder_log_variance_std=0.5, decoder_output_bias_std=0.5)


def small(nz: int, likelihood: Likelihood) -> Architecture:
    return Architecture(n_pixels=12, n_hidden=7, nz=nz, likelihood=likelihood)


def stack(
    *nz: int, likelihood: Likelihood, first_seed: int = 0, log_variance_factor: float = 1.0
) -> Model:
    architectures = [
        replace(small(n, likelihood), log_variance_factor=log_variance_factor) for n in nz
    ]
    generators = [generator(first_seed + r, "initialisation") for r in range(len(nz))]
    return initialised(architectures, ROUGH, generators)


def images(rows: int, pixels: int = 12, seed: int = 0) -> Tensor:
    return torch.rand(rows, pixels, generator=torch.Generator().manual_seed(seed))


def parameters_by_formula(model: Model, replicate: int) -> dict[str, Tensor]:
    return {name: p[replicate].double() for name, p in model.named_parameters()}


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
@pytest.mark.parametrize("factor", [1.0, 0.1])
def test_encoder_is_the_formula_of_appendix_c2(likelihood: Likelihood, factor: float) -> None:
    model, x = stack(3, 3, likelihood=likelihood, log_variance_factor=factor), images(5)
    q = model.encoder(x.expand(2, 5, 12))
    assert q.mean.shape == q.log_variance.shape == (2, 5, 3)
    for r in range(2):
        p = parameters_by_formula(model, r)
        h = torch.tanh(x.double() @ p["encoder.hidden.weight"] + p["encoder.hidden.bias"])
        mean = h @ p["encoder.mean.weight"] + p["encoder.mean.bias"]
        weight = factor * p["encoder.log_variance.weight"]
        log_variance = h @ weight + p["encoder.log_variance.bias"]
        torch.testing.assert_close(q.mean[r], mean.float())
        torch.testing.assert_close(q.log_variance[r], log_variance.float())


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_deeper_layers_are_tanh_layers_of_the_same_width(likelihood: Likelihood) -> None:
    architecture = replace(small(3, likelihood), hidden_layers=3)
    model = initialised([architecture], ROUGH, [generator(0, "i")])
    p, x = parameters_by_formula(model, 0), images(5)
    h, z = x.double(), torch.randn(5, 3, generator=generator(0, "z"))
    for layer in ("hidden", "deeper.0", "deeper.1"):
        h = torch.tanh(h @ p[f"encoder.{layer}.weight"] + p[f"encoder.{layer}.bias"])
    mean = h @ p["encoder.mean.weight"] + p["encoder.mean.bias"]
    torch.testing.assert_close(model.encoder(x[None]).mean[0], mean.float())
    h, output = z.double(), "logits" if likelihood == "bernoulli" else "mean"
    for layer in ("hidden", "deeper.0", "deeper.1"):
        h = torch.tanh(h @ p[f"decoder.{layer}.weight"] + p[f"decoder.{layer}.bias"])
    mean = torch.sigmoid(h @ p[f"decoder.{output}.weight"] + p[f"decoder.{output}.bias"])
    torch.testing.assert_close(model.decoder(z[None]).mean[0], mean.float())


def test_bernoulli_decoder_is_the_formula_of_appendix_c1() -> None:
    model, z = (
        stack(3, 3, likelihood="bernoulli"),
        torch.randn(2, 5, 3, generator=generator(0, "z")),
    )
    p_x = model.decoder(z)
    assert isinstance(p_x, Bernoulli)
    assert p_x.logits.shape == (2, 5, 12)
    for r in range(2):
        p = parameters_by_formula(model, r)
        h = torch.tanh(z[r].double() @ p["decoder.hidden.weight"] + p["decoder.hidden.bias"])
        y = torch.sigmoid(h @ p["decoder.logits.weight"] + p["decoder.logits.bias"])
        torch.testing.assert_close(p_x.mean[r], y.float())


def test_gaussian_decoder_is_the_formula_of_appendix_c2_with_means_in_zero_to_one() -> None:
    model, z = stack(3, 3, likelihood="gaussian"), torch.randn(2, 5, 3, generator=generator(0, "z"))
    p_x = model.decoder(z)
    assert isinstance(p_x, DiagonalGaussian)
    assert p_x.mean.shape == p_x.log_variance.shape == (2, 5, 12)
    assert 0 < p_x.mean.min() < p_x.mean.max() < 1
    for r in range(2):
        p = parameters_by_formula(model, r)
        h = torch.tanh(z[r].double() @ p["decoder.hidden.weight"] + p["decoder.hidden.bias"])
        mean = torch.sigmoid(h @ p["decoder.mean.weight"] + p["decoder.mean.bias"])
        log_variance = h @ p["decoder.log_variance.weight"] + p["decoder.log_variance.bias"]
        torch.testing.assert_close(p_x.mean[r], mean.float())
        torch.testing.assert_close(p_x.log_variance[r], log_variance.float())


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_a_padded_stack_gives_what_its_models_give_alone(likelihood: Likelihood) -> None:
    together, x = stack(2, 5, likelihood=likelihood), images(6)
    streams = Streams([generator(r, "noise") for r in (0, 1)], [2, 5])
    bounds = lower_bound(together, x.expand(2, 6, 12), streams)
    q = together.encoder(x.expand(2, 6, 12))
    for r, nz in enumerate((2, 5)):
        alone = stack(nz, likelihood=likelihood, first_seed=r)
        q_alone = alone.encoder(x[None])
        torch.testing.assert_close(q.mean[r, :, :nz], q_alone.mean[0], rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(
            q.log_variance[r, :, :nz], q_alone.log_variance[0], rtol=1e-6, atol=1e-6
        )
        bound = lower_bound(alone, x[None], Streams([generator(r, "noise")], [nz]))
        torch.testing.assert_close(bounds[r], bound[0], rtol=1e-6, atol=1e-5)


def test_a_padding_dimension_is_the_prior_whatever_its_weights() -> None:
    model = stack(2, 5, likelihood="bernoulli")
    with torch.no_grad():
        for layer in (model.encoder.mean, model.encoder.log_variance):
            layer.weight.fill_(1.0)
            layer.bias.fill_(1.0)
    q = model.encoder(images(6).expand(2, 6, 12))
    for value in q:
        assert not value[0, :, 2:].any()
        assert value[1].all()


def test_a_stack_of_equal_nz_has_no_mask() -> None:
    assert stack(3, 3, likelihood="bernoulli").encoder.active is None
    assert stack(2, 3, likelihood="bernoulli").encoder.active is not None


def test_the_mask_is_not_a_parameter_and_not_stored() -> None:
    model = stack(2, 3, likelihood="bernoulli")
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}


def test_parameter_shapes_are_those_of_one_run() -> None:
    assert {k: tuple(v) for k, v in parameter_shapes(small(2, "gaussian")).items()} == {
        "encoder.hidden.weight": (12, 7),
        "encoder.hidden.bias": (1, 7),
        "encoder.mean.weight": (7, 2),
        "encoder.mean.bias": (1, 2),
        "encoder.log_variance.weight": (7, 2),
        "encoder.log_variance.bias": (1, 2),
        "decoder.hidden.weight": (2, 7),
        "decoder.hidden.bias": (1, 7),
        "decoder.mean.weight": (7, 12),
        "decoder.mean.bias": (1, 12),
        "decoder.log_variance.weight": (7, 12),
        "decoder.log_variance.bias": (1, 12),
    }


def test_loading_a_replicate_leaves_padding_and_the_others_as_they_are() -> None:
    model = Model([small(2, "bernoulli"), small(5, "bernoulli")])
    values = {k: torch.ones(v) for k, v in parameter_shapes(small(2, "bernoulli")).items()}
    load_replicate(dict(model.named_parameters()), 0, values)
    for name, p in model.named_parameters():
        assert p[0].sum() == values[name].numel()
        assert not p[1].any()
    assert model.encoder.mean.weight[0, :, :2].all()
    assert model.decoder.hidden.weight[0, :2].all()


@pytest.mark.parametrize(
    "other",
    [
        replace(small(2, "bernoulli"), n_hidden=8),
        replace(small(2, "bernoulli"), n_pixels=13),
        replace(small(2, "bernoulli"), log_variance_factor=0.1),
        small(2, "gaussian"),
    ],
)
def test_models_that_differ_in_more_than_nz_are_not_stacked(other: Architecture) -> None:
    with pytest.raises(ValueError, match="differ in nz alone"):
        Model([small(2, "bernoulli"), other])


MNIST = Architecture(n_pixels=784, n_hidden=500, nz=200, likelihood="bernoulli")
FREY_FACE = Architecture(n_pixels=560, n_hidden=200, nz=20, likelihood="gaussian")


@pytest.mark.parametrize("architecture", [MNIST, FREY_FACE])
def test_initial_parameters_have_standard_deviation_one_hundredth(
    architecture: Architecture,
) -> None:
    """Not a variance of one hundredth; the log-variance head and output biases start at zero."""
    parameters = initial_parameters(architecture, Initialisation(), generator(0, "initialisation"))
    at_zero = {name for name, value in parameters.items() if not value.any()}
    outputs = ("logits",) if architecture is MNIST else ("mean", "log_variance")
    assert at_zero == {
        "encoder.log_variance.weight",
        "encoder.log_variance.bias",
        *(f"decoder.{name}.bias" for name in outputs),
    }
    for value in (value for name, value in parameters.items() if name not in at_zero):
        n = value.numel()
        assert value.std().item() == pytest.approx(0.01, rel=4 / (2 * n) ** 0.5)
        assert abs(value.mean().item()) < 4 * 0.01 / n**0.5


def test_wake_sleep_initialisation_draws_the_special_parameters_too() -> None:
    initialisation = Initialisation(encoder_log_variance_std=0.001, decoder_output_bias_std=0.01)
    parameters = initial_parameters(MNIST, initialisation, generator(0, "initialisation"))
    for name, std in {
        "encoder.log_variance.weight": 0.001,
        "encoder.log_variance.bias": 0.001,
        "decoder.logits.bias": 0.01,
    }.items():
        value = parameters[name]
        assert value.std().item() == pytest.approx(std, rel=4 / (2 * value.numel()) ** 0.5)


def test_special_initialisation_leaves_all_other_draws_as_they_were() -> None:
    special = Initialisation(encoder_log_variance_std=0.001, decoder_output_bias_std=0.01)
    plain, changed = (
        initial_parameters(MNIST, i, generator(0, "initialisation"))
        for i in (Initialisation(), special)
    )
    differing = {name for name in plain if not torch.equal(plain[name], changed[name])}
    assert differing == {
        "encoder.log_variance.weight",
        "encoder.log_variance.bias",
        "decoder.logits.bias",
    }


@pytest.mark.parametrize("nz", [3, 200])
@pytest.mark.parametrize("special", [0.0, 0.01])
def test_initial_bound_on_mnist_is_minus_784_log_2(nz: int, special: float) -> None:
    """The paper's curves start there for every Nz, on any image: every pixel is a fair coin."""
    architecture = replace(MNIST, nz=nz)
    initialisation = Initialisation(
        encoder_log_variance_std=special / 10, decoder_output_bias_std=special
    )
    bound = initial_bound(architecture, initialisation)
    assert bound == pytest.approx(-784 * math.log(2), abs=0.5)


def test_a_variance_of_one_hundredth_would_start_the_bound_far_lower() -> None:
    assert initial_bound(replace(MNIST, nz=3), Initialisation(std=0.1)) < -560
    assert initial_bound(MNIST, Initialisation(std=0.1)) < -900


@torch.no_grad()
def initial_bound(architecture: Architecture, initialisation: Initialisation) -> float:
    model = initialised([architecture], initialisation, [generator(0, "initialisation")])
    # As much ink as on MNIST, a fifth of the pixels, grey at random.
    x = torch.clamp(images(200, 784) - 0.62, min=0) / 0.38
    noise = Streams([generator(0, "noise")], [architecture.nz])
    return lower_bound(model, x[None], noise).mean().item()
