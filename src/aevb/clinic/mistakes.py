"""The mistakes, each as its difference from the right code."""

# ruff: noqa: D102 (`Code` documents each piece)

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.nn import functional as F

from aevb.clinic.code import MINIBATCH, PIXELS, Code
from aevb.learners.optimiser import Optimisation
from aevb.model.randomness import uniform

# ------------------------------------------------------------------------------ sums and means


class PixelMean(Code):
    """The reconstruction is a mean over pixels, the KL a sum."""

    met = "pytorch/examples#817"
    check = "the reconstruction of an untrained model: −543 for a sum over pixels, −0.69 for a mean"

    def reconstruction(self, logits: Tensor, x: Tensor) -> Tensor:
        return super().reconstruction(logits, x) / x.shape[1]


class KlSummedOverBatch(Code):
    """The KL is summed over the minibatch, the reconstruction averaged."""

    met = "wiseodd/generative-models#40"
    check = "whether the KL doubles when the minibatch does"

    def bound(self, reconstruction: Tensor, kl: Tensor) -> Tensor:
        return reconstruction.mean() - kl.sum()


class KlAveragedTwice(Code):
    """The KL is divided by the size of the minibatch once too often."""

    met = "unnir/cVAE#1"
    check = "the weight of the KL in the loss, which is 1"

    def bound(self, reconstruction: Tensor, kl: Tensor) -> Tensor:
        return reconstruction.mean() - kl.mean() / len(kl)


class KlOverPixels(Code):
    """The KL is divided by the number of pixels, the reconstruction is not."""

    met = "pytorch/examples#234"
    check = "the weight of the KL in the loss, which is 1"

    def kl(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        return super().kl(mean, log_variance) / PIXELS


# ------------------------------------------------------------------------------ the KL


class KlSign(Code):
    """The KL is added to the bound, not subtracted."""

    met = "keras-team/keras#6500"
    check = "the sign of the KL: it is never negative, and lowers the bound"

    def bound(self, reconstruction: Tensor, kl: Tensor) -> Tensor:
        return reconstruction.mean() + kl.mean()


class KlWithoutHalf(Code):
    """The KL lacks its factor ½."""

    met = "SupaeroDataScience/deep-learning#6"
    check = "the KL of N(1, 1) in one dimension, which is ½"

    def kl(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        return 2 * super().kl(mean, log_variance)


class KlOfLogSigma(Code):
    """The KL takes log σ² for log σ."""

    met = "AntixK/PyTorch-VAE#69"
    check = "the KL at log σ² = 1 and μ = 0 in one dimension, which is (e − 2)/2 = 0.36"

    def kl(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        return super().kl(mean, 2 * log_variance)


# ------------------------------------------------------------------------------ the sample


class SampleOfVariance(Code):
    """The sample is μ + σ² ε."""

    met = "rachtsingh/ibp_vae#3"
    check = "the standard deviation of many samples at log σ² = 2, which is e"

    def sample(self, mean: Tensor, log_variance: Tensor, epsilon: Tensor) -> Tensor:
        return mean + log_variance.exp() * epsilon


class SampleOfLogVariance(Code):
    """The sample is μ + log σ² ε."""

    met = "twairball/keras_lstm_vae#1"
    check = "the standard deviation of many samples at log σ² = 2, which is e"

    def sample(self, mean: Tensor, log_variance: Tensor, epsilon: Tensor) -> Tensor:
        return mean + log_variance * epsilon


class NoGradientThroughZ(Code):
    """The sample carries no gradient to the encoder."""

    met = "nicola-decao/s-vae-pytorch#9"
    check = "the gradient of the reconstruction for the encoder's weights, which is not zero"

    def sample(self, mean: Tensor, log_variance: Tensor, epsilon: Tensor) -> Tensor:
        return super().sample(mean, log_variance, epsilon).detach()


class EpsilonShared(Code):
    """One ε serves the whole minibatch."""

    check = "the shape of ε: a draw for each datapoint and dimension"

    def epsilon(self, rows: int) -> Tensor:
        return super().epsilon(1)


class EpsilonFixed(Code):
    """ε is 1, not random."""

    met = "twairball/keras_lstm_vae#1"
    check = "whether two evaluations of the same images differ a little, as they should"

    def epsilon(self, rows: int) -> Tensor:
        return torch.ones_like(super().epsilon(rows))


# ------------------------------------------------------------------------------ the likelihood


class SecondSigmoid(Code):
    """Probabilities are given to a loss that wants logits."""

    met = "itakurah/focal-loss-pytorch#5"
    check = "that just one sigmoid stands between the last layer and the loss"

    def decode(self, z: Tensor) -> Tensor:
        return torch.sigmoid(super().decode(z))


class LogitsAsProbabilities(Code):
    """Logits are given to a loss that wants probabilities, and clips them."""

    met = "pkmital/tensorflow_tutorials#23"
    check = "that just one sigmoid stands between the last layer and the loss"

    def reconstruction(self, logits: Tensor, x: Tensor) -> Tensor:
        p = logits.clamp(1e-6, 1 - 1e-6)
        return (x * p.log() + (1 - x) * (1 - p).log()).sum(1)


class SquaredError(Code):
    """The squared error takes the place of the log likelihood."""

    met = "yunjey/pytorch-tutorial#104"
    check = "the reconstruction of an untrained model: −543 for the cross entropy of 784 pixels"

    def reconstruction(self, logits: Tensor, x: Tensor) -> Tensor:
        return -F.mse_loss(torch.sigmoid(logits), x, reduction="none").sum(1)


class Dropout(Code):
    """Dropout in the decoder is left on when the bound is evaluated."""

    met = "sinhasam/vaal#35"
    check = "that evaluation switches the model to evaluation mode"

    def decode(self, z: Tensor) -> Tensor:
        h = torch.tanh(self.decoder.hidden(z))
        kept = uniform(self.noise, *h.shape) < 0.5
        logits: Tensor = self.decoder.logits(2 * h * kept)
        return logits


# ------------------------------------------------------------------------------ the pixels


class Pixels255(Code):
    """Pixels are 0 to 255."""

    met = "emited/VariationalRecurrentNeuralNetwork#2"
    check = "the largest pixel, which is 1"

    def load(self, x: Tensor) -> Tensor:
        return 255 * x


class PixelsStandardised(Code):
    """Pixels have mean 0 and variance 1."""

    met = "Lightning-Universe/lightning-bolts#177"
    check = "the smallest pixel, which is 0"

    def load(self, x: Tensor) -> Tensor:
        return (x - 0.1307) / 0.3081


class PixelsThresholded(Code):
    """Pixels are rounded to 0 and 1."""

    met = "chainer/chainer#5356"
    check = "how many values pixels take; the paper's have 256"

    def load(self, x: Tensor) -> Tensor:
        return x.round()


# ------------------------------------------------------------------------------ the optimiser


class WeightDecay(Code):
    """A weight decay of 1e-4 on a loss that is a mean: five times the prior."""

    check = "the weight decay: on a mean loss the paper's prior is one of 1 / N"

    def optimisation(self, step_size: float, n_train: int) -> Optimisation:
        return Optimisation(step_size=step_size, weight_decay=1e-4 * MINIBATCH)


class WeightDecayOnBiases(WeightDecay):
    """A weight decay of 1e-4 on a loss that is a mean falls on the biases too."""

    check = "which parameters the optimiser decays; the biases have no prior here"

    def parameters(self) -> Iterable[tuple[str, Tensor]]:
        return ((f"{name}, decayed", p) for name, p in super().parameters())


class StepSize(Code):
    """The step size is ten times too large."""

    met = "hustvl/LightningDiT#1"
    check = "the same with a tenth of the step size"

    def optimisation(self, step_size: float, n_train: int) -> Optimisation:
        return super().optimisation(10 * step_size, n_train)


class Overflow(Code):
    """The exponential of a log variance overflows: unscaled pixels meet an unbounded layer."""

    met = "vanderschaarlab/synthcity#331"
    check = "the largest log variance that the encoder gives"

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        encoder = self.model.encoder
        h = F.relu(encoder.hidden(255 * x))
        return encoder.mean(h), encoder.log_variance(h)


# ------------------------------------------------------------------------------ other settings


class Adam(Code):
    """Adam with a step size of 0.001 takes the place of Adagrad."""

    mistaken = False
    check = "the optimiser; the paper's is Adagrad"

    def optimisation(self, step_size: float, n_train: int) -> Optimisation:
        return Optimisation("adam", 1e-3, weight_decay=MINIBATCH / n_train, warmup=0)


# In the order of this file; a mistake may be a subclass of another.
MISTAKES: list[type[Code]] = [
    kind
    for kind in list(globals().values())
    if isinstance(kind, type) and issubclass(kind, Code) and kind is not Code
]
