"""Encoder and decoders of Appendix C: formulas and initialisation."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Generator, Tensor

from aevb.errors import ConfigurationError
from aevb.learners.aevb import lower_bound
from aevb.model import networks
from aevb.model.distributions import Bernoulli, DiagonalGaussian
from aevb.model.networks import Architecture, Initialisation, Model, initialised
from aevb.model.randomness import generator, normal

SMALL = Architecture(n_pixels=12, n_hidden=7, nz=3, likelihood="bernoulli")
# Large enough that a mistake shows in the sixth digit of the outputs.
ROUGH = Initialisation(std=0.5, encoder_log_variance_std=0.5, decoder_output_bias_std=0.5)


def model_of(sizes: Architecture) -> Model:
    return initialised(sizes, ROUGH, generator(0, "initialisation")).requires_grad_(False)


def images(rows: int, pixels: int = 12) -> Tensor:
    return torch.rand(rows, pixels, generator=Generator().manual_seed(0))


def latents(*shape: int) -> Tensor:
    return normal(generator(0, "z"), *shape)


class ByFormula:
    """x W + b and tanh(x W + b) with the parameters of a model, in double precision."""

    def __init__(self, model: Model) -> None:
        self.p = {name: p.double() for name, p in model.named_parameters()}

    def affine(self, name: str, x: Tensor, factor: float = 1.0) -> Tensor:
        return x.double() @ (factor * self.p[f"{name}.weight"]) + self.p[f"{name}.bias"]

    def tanh(self, name: str, x: Tensor) -> Tensor:
        return torch.tanh(self.affine(name, x))


@pytest.mark.parametrize("factor", [1.0, 0.1])
def test_encoder_is_the_formula_of_appendix_c2(factor: float) -> None:
    model, x = model_of(replace(SMALL, log_variance_factor=factor)), images(5)
    q, formula = model.encoder(x), ByFormula(model)
    h = formula.tanh("encoder.hidden", x)
    mean, log_variance = (
        formula.affine("encoder.mean", h),
        formula.affine("encoder.log_variance", h, factor),
    )
    torch.testing.assert_close(q.mean, mean.float())
    torch.testing.assert_close(q.log_variance, log_variance.float())


def test_bernoulli_decoder_is_the_formula_of_appendix_c1() -> None:
    model, z = model_of(SMALL), latents(5, 3)
    p_x, formula = model.decoder(z), ByFormula(model)
    assert isinstance(p_x, Bernoulli)
    y = torch.sigmoid(formula.affine("decoder.logits", formula.tanh("decoder.hidden", z)))
    torch.testing.assert_close(p_x.mean, y.float())


def test_gaussian_decoder_is_the_formula_of_appendix_c2_with_means_in_zero_to_one() -> None:
    model, z = model_of(replace(SMALL, likelihood="gaussian")), latents(5, 3)
    p_x, formula = model.decoder(z), ByFormula(model)
    assert isinstance(p_x, DiagonalGaussian)
    h = formula.tanh("decoder.hidden", z)
    mean = torch.sigmoid(formula.affine("decoder.mean", h))
    log_variance = formula.affine("decoder.log_variance", h)
    torch.testing.assert_close(p_x.mean, mean.float())
    torch.testing.assert_close(p_x.log_variance, log_variance.float())


@pytest.mark.parametrize(("likelihood", "output"), [("bernoulli", "logits"), ("gaussian", "mean")])
def test_deeper_layers_are_tanh_layers_of_the_same_width(likelihood: str, output: str) -> None:
    model = model_of(replace(SMALL, likelihood=likelihood, hidden_layers=3))
    formula, h_x, h_z = ByFormula(model), images(5), latents(5, 3)
    q, p_x = model.encoder(h_x), model.decoder(h_z)
    for layer in ("hidden", "deeper.0", "deeper.1"):
        h_x, h_z = formula.tanh(f"encoder.{layer}", h_x), formula.tanh(f"decoder.{layer}", h_z)
    torch.testing.assert_close(q.mean, formula.affine("encoder.mean", h_x).float())
    mean = torch.sigmoid(formula.affine(f"decoder.{output}", h_z))
    torch.testing.assert_close(p_x.mean, mean.float())


@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_leading_axes_are_independent_rows(likelihood: str) -> None:
    """As L samples of z for every image have them."""
    model = model_of(replace(SMALL, likelihood=likelihood))
    x, z = images(6), latents(6, 3)
    for flat, nested in (
        (model.encoder(x), model.encoder(x.view(2, 3, 12))),
        (model.decoder(z), model.decoder(z.view(2, 3, 3))),
    ):
        for a, b in zip(flat, nested, strict=True):
            torch.testing.assert_close(b, a.view(2, 3, -1))


def test_parameters_have_these_names_and_shapes() -> None:
    model = Model(Architecture(n_pixels=12, n_hidden=7, nz=2, likelihood="gaussian"))
    assert {name: tuple(p.shape) for name, p in model.named_parameters()} == {
        "encoder.hidden.weight": (12, 7),
        "encoder.hidden.bias": (7,),
        "encoder.mean.weight": (7, 2),
        "encoder.mean.bias": (2,),
        "encoder.log_variance.weight": (7, 2),
        "encoder.log_variance.bias": (2,),
        "decoder.hidden.weight": (2, 7),
        "decoder.hidden.bias": (7,),
        "decoder.mean.weight": (7, 12),
        "decoder.mean.bias": (12,),
        "decoder.log_variance.weight": (7, 12),
        "decoder.log_variance.bias": (12,),
    }
    assert not any(p.any() for p in model.parameters())


# -- Initialisation ------------------------------------------------------------------------------

MNIST = Architecture(n_pixels=784, n_hidden=500, nz=200, likelihood="bernoulli")
FREY_FACE = Architecture(n_pixels=560, n_hidden=200, nz=20, likelihood="gaussian")
SPECIAL = Initialisation(encoder_log_variance_std=0.001, decoder_output_bias_std=0.01)


def first(sizes: Architecture, initialisation: Initialisation) -> dict[str, Tensor]:
    """Parameters before the first update."""
    model = initialised(sizes, initialisation, generator(0, "initialisation"))
    return {name: p.detach() for name, p in model.named_parameters()}


def assert_is_drawn(value: Tensor, std: float) -> None:
    n = value.numel()
    assert value.std().item() == pytest.approx(std, rel=4 / (2 * n) ** 0.5)
    assert abs(value.mean().item()) < 4 * std / n**0.5


@pytest.mark.parametrize("sizes", [MNIST, FREY_FACE])
def test_initial_parameters_have_standard_deviation_one_hundredth(sizes: Architecture) -> None:
    """Not a variance of one hundredth; the log-variance head and output biases start at zero."""
    parameters = first(sizes, Initialisation())
    outputs = ("logits",) if sizes is MNIST else ("mean", "log_variance")
    at_zero = {
        "encoder.log_variance.weight",
        "encoder.log_variance.bias",
        *(f"decoder.{name}.bias" for name in outputs),
    }
    for name, value in parameters.items():
        if name in at_zero:
            assert not value.any()
        else:
            assert_is_drawn(value, 0.01)


def test_wake_sleep_initialisation_draws_the_special_parameters_and_leaves_the_others() -> None:
    plain, special = first(MNIST, Initialisation()), first(MNIST, SPECIAL)
    drawn = {
        "encoder.log_variance.weight": 0.001,
        "encoder.log_variance.bias": 0.001,
        "decoder.logits.bias": 0.01,
    }
    for name, value in special.items():
        if name in drawn:
            assert_is_drawn(value, drawn[name])
        else:
            assert torch.equal(value, plain[name])


class OwnDecoder(networks.Decoder):
    def __init__(self, sizes: Architecture) -> None:
        super().__init__(sizes)
        self.rate = networks.Affine(sizes.nz, sizes.n_pixels)


def test_the_biases_of_a_decoders_own_outputs_are_drawn_as_asked_or_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(networks.DECODERS, "own", OwnDecoder)
    own = replace(MNIST, likelihood="own")
    assert_is_drawn(first(own, Initialisation())["decoder.rate.bias"], 0.01)
    asked = Initialisation(decoder_output_bias_std=0.3)
    with pytest.raises(ConfigurationError, match=r"OwnDecoder .*expected `outputs"):
        first(own, asked)
    monkeypatch.setattr(OwnDecoder, "outputs", ("rate",))
    assert_is_drawn(first(own, asked)["decoder.rate.bias"], 0.3)


@torch.no_grad()
def initial_bound(sizes: Architecture, initialisation: Initialisation) -> float:
    model = initialised(sizes, initialisation, generator(0, "initialisation"))
    # As much ink as on MNIST, a fifth of the pixels, grey at random.
    x = torch.clamp(images(200, 784) - 0.62, min=0) / 0.38
    return lower_bound(model, x, latents(1, 200, sizes.nz)).mean().item()


@pytest.mark.parametrize("nz", [3, 200])
@pytest.mark.parametrize("initialisation", [Initialisation(), SPECIAL])
def test_initial_bound_on_mnist_is_minus_784_log_2(nz: int, initialisation: Initialisation) -> None:
    """The paper's curves start there for every Nz, on any image: every pixel is a fair coin."""
    bound = initial_bound(replace(MNIST, nz=nz), initialisation)
    assert bound == pytest.approx(-784 * math.log(2), abs=0.5)


def test_a_variance_of_one_hundredth_would_start_the_bound_far_lower() -> None:
    assert initial_bound(replace(MNIST, nz=3), Initialisation(std=0.1)) < -560
    assert initial_bound(MNIST, Initialisation(std=0.1)) < -900
