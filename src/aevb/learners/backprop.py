"""AEVB and wake-sleep with hand-written gradients, which are faster than autograd.

tests/learners/test_backprop.py compares both. results/benchmarks/<processor>/runs.csv has the gain.
This serves the paper's networks on the CPU; other runs use the readable form of the learner.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from aevb.learners.aevb import AEVB
from aevb.learners.learner import Learner
from aevb.learners.wake_sleep import WakeSleep
from aevb.model.distributions import LOG_2PI
from aevb.model.networks import Affine, BernoulliDecoder, Encoder, GaussianDecoder, Model
from aevb.model.products import Activation, factor, product
from aevb.model.randomness import normal, uniform

# exp overflows in float32 for a logit a little larger.
LARGEST_LOGIT = 80.0

PAPERS_AEVB = {"n_samples": 1, "estimator": "B", "beta": 1.0}


def fast_learner(kind: type[Learner], model: Model, options: Mapping[str, Any]) -> type[Learner]:
    """The class with hand-written gradients for a learner, or the learner itself."""
    encoder, decoder = model.encoder, model.decoder
    is_known = (
        type(encoder) is Encoder
        and type(decoder) in (BernoulliDecoder, GaussianDecoder)
        and not encoder.deeper
        and not decoder.deeper
        and next(encoder.parameters()).device.type == "cpu"
    )
    if is_known and kind is AEVB and options == PAPERS_AEVB:
        return BackpropAEVB
    return BackpropWakeSleep if is_known and kind is WakeSleep else kind


class BackpropAEVB(AEVB):
    """`AEVB` with one sample of z and estimator B, with hand-written gradients."""

    def __init__(self, model: Model, *arguments: Any, **options: Any) -> None:
        super().__init__(model, *arguments, **options)
        self._encoder, self._decoder = _Encoder(model.encoder), _decoder(model)

    @torch.no_grad()
    def step(self, x: Tensor) -> Tensor:
        """As `AEVB.step`."""
        images = factor(x)
        h, mean, log_variance = self._encoder.forward(images)
        noise = normal(self.noise, *mean.shape)
        scaled_noise = torch.exp(0.5 * log_variance).mul_(noise)
        z = mean + scaled_noise
        variance = torch.exp(log_variance)
        kl = 0.5 * (mean.square() + variance - log_variance - 1).sum()

        log_px_given_z, gradients, grad_z = self._decoder.forward_and_backward(z, x)
        gradients |= self._encoder.backward(
            images,
            h,
            grad_z - mean,
            (grad_z * scaled_noise).add_(1).sub_(variance).mul_(0.5),
        )
        self.ascents["model"].update(gradients)
        bound: Tensor = (log_px_given_z - kl) / len(x)
        return bound


class BackpropWakeSleep(WakeSleep):
    """`WakeSleep` with hand-written gradients."""

    def __init__(self, model: Model, *arguments: Any, **options: Any) -> None:
        super().__init__(model, *arguments, **options)
        self._encoder, self._decoder = _Encoder(model.encoder), _decoder(model)

    @torch.no_grad()
    def wake(self, x: Tensor) -> Tensor:
        """As `WakeSleep.wake`."""
        _, mean, log_variance = self._encoder.forward(factor(x))
        noise = normal(self.noise, *mean.shape)
        z = mean + torch.exp(0.5 * log_variance).mul_(noise)
        # log p(z) − log q(z|x), where the noise is (z − mean) / σ.
        log_ratio = 0.5 * (noise.square() - z.square() + log_variance).sum()
        log_px_given_z, gradients, _ = self._decoder.forward_and_backward(z, x, to_z=False)
        self.ascents["decoder"].update(gradients)
        bound: Tensor = (log_px_given_z + log_ratio) / len(x)
        return bound

    @torch.no_grad()
    def sleep(self, rows: int) -> None:
        """As `WakeSleep.sleep`."""
        z = normal(self.noise, rows, self.model.nz)
        dream = self._decoder.draw(z, self.noise)
        if self.clip_dreams:
            dream.clamp_(0, 1)
        images = factor(dream)
        h, mean, log_variance = self._encoder.forward(images)
        error = z - mean
        grad_mean = error * torch.exp(-log_variance)
        grad_log_variance = (grad_mean * error).sub_(1).mul_(0.5)
        gradients = self._encoder.backward(images, h, grad_mean, grad_log_variance)
        self.ascents["encoder"].update(gradients)


# Forward and backward side by side. Buffers are freed after each update: the next one gets memory
# that is still in the cache. The input of a large layer is in the precision of `products`.


class _Layer:
    """y = activation(x W + b), and its gradients."""

    def __init__(self, layer: Affine, activation: Activation = "none") -> None:
        self.weight, self.bias = layer.weight.detach(), layer.bias.detach()
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """From `(rows, n_in)` to `(rows, n_out)`."""
        return product(x, self.weight.to(x.dtype), self.bias, self.activation)

    def backward(self, x: Tensor, grad_y: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of weight and bias; `grad_y` is the gradient before the activation."""
        return product(x.mT, grad_y.to(x.dtype)), grad_y.sum(0)

    def grad_x(self, grad_y: Tensor) -> Tensor:
        """Gradient of the input; `grad_y` as in `backward`."""
        return product(grad_y, self.weight.to(grad_y.dtype).mT)


def _before_tanh(grad_h: Tensor, h: Tensor) -> Tensor:
    """From the gradient of h = tanh(a) to that of a, in place."""
    return torch.ops.aten.tanh_backward.grad_input(grad_h, h, grad_input=grad_h)  # type: ignore[no-any-return]


def _named(layer: str, weight: Tensor, bias: Tensor) -> dict[str, Tensor]:
    """Gradients of a layer by parameter name, as `Ascent` takes them."""
    return {f"{layer}.weight": weight, f"{layer}.bias": bias}


class _Encoder:
    def __init__(self, encoder: Encoder) -> None:
        self.hidden = _Layer(encoder.hidden, "tanh")
        self.mean, self.log_variance = _Layer(encoder.mean), _Layer(encoder.log_variance)
        self.factor = encoder.log_variance.factor

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Hidden units, and means and log variances of q(z|x), `(rows, nz)` each."""
        h = self.hidden.forward(x)
        log_variance = product(h, self.log_variance.weight * self.factor, self.log_variance.bias)
        return h, self.mean.forward(h), log_variance

    def backward(
        self, x: Tensor, h: Tensor, grad_mean: Tensor, grad_log_variance: Tensor
    ) -> dict[str, Tensor]:
        """Gradients of the parameters."""
        scaled = grad_log_variance * self.factor
        grad_h = self.mean.grad_x(grad_mean).add_(self.log_variance.grad_x(scaled))
        grad_h = _before_tanh(grad_h, h)
        return {
            **_named("encoder.hidden", *self.hidden.backward(x, grad_h)),
            **_named("encoder.mean", *self.mean.backward(h, grad_mean)),
            **_named("encoder.log_variance", product(h.mT, scaled), grad_log_variance.sum(0)),
        }


class _BernoulliDecoder:
    def __init__(self, decoder: BernoulliDecoder) -> None:
        self.hidden, self.logits = _Layer(decoder.hidden, "tanh"), _Layer(decoder.logits)

    def forward_and_backward(
        self, z: Tensor, x: Tensor, *, to_z: bool = True
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """The sum of log p(x|z) over the rows, and the gradients of the parameters and of z.

        exp(logits) serves both softplus and sigmoid: 0.07 ms instead of 0.2 ms.
        """
        h = self.hidden.forward(z)
        h_factor = factor(h)
        logits = self.logits.forward(h_factor)
        log_prob = torch.dot(x.view(-1), logits.view(-1))
        if logits.max() > LARGEST_LOGIT:
            log_prob -= F.softplus(logits).sum()
            grad_logits = x - logits.sigmoid_()
        else:
            odds = logits.exp_()
            one_more = odds + 1
            grad_logits = torch.addcdiv(x, odds, one_more, value=-1, out=odds)  # x − sigmoid
            log_prob -= one_more.log_().sum()
        grad_h = _before_tanh(self.logits.grad_x(factor(grad_logits)), h)
        gradients = {
            **_named("decoder.logits", *self.logits.backward(h_factor, grad_logits)),
            **_named("decoder.hidden", *self.hidden.backward(z, grad_h)),
        }
        return log_prob, gradients, self.hidden.grad_x(grad_h) if to_z else z

    def draw(self, z: Tensor, noise: Generator) -> Tensor:
        """Images drawn from p(x|z), as `Bernoulli.draw` draws them."""
        mean = self.logits.forward(factor(self.hidden.forward(z))).sigmoid_()
        drawn = uniform(noise, *mean.shape)
        return torch.lt(drawn, mean, out=drawn)


class _GaussianDecoder:
    def __init__(self, decoder: GaussianDecoder) -> None:
        self.hidden, self.mean = _Layer(decoder.hidden, "tanh"), _Layer(decoder.mean)
        self.log_variance = _Layer(decoder.log_variance)

    def forward_and_backward(
        self, z: Tensor, x: Tensor, *, to_z: bool = True
    ) -> tuple[Tensor, dict[str, Tensor], Tensor]:
        """As `_BernoulliDecoder.forward_and_backward`."""
        h = self.hidden.forward(z)
        h_factor = factor(h)
        mean, log_variance = (
            self.mean.forward(h_factor).sigmoid_(),
            self.log_variance.forward(h_factor),
        )
        error = x - mean
        total = log_variance.sum()
        scaled = log_variance.neg_().exp_().mul_(error)  # error / variance
        squared = error.mul_(scaled)  # error² / variance
        log_prob = -0.5 * (squared.sum() + total + x.numel() * LOG_2PI)
        grad_mean = torch.ops.aten.sigmoid_backward.grad_input(scaled, mean, grad_input=scaled)
        grad_log_variance = squared.sub_(1).mul_(0.5)
        grad_h = self.mean.grad_x(factor(grad_mean))
        grad_h = _before_tanh(grad_h.add_(self.log_variance.grad_x(factor(grad_log_variance))), h)
        gradients = {
            **_named("decoder.mean", *self.mean.backward(h_factor, grad_mean)),
            **_named(
                "decoder.log_variance", *self.log_variance.backward(h_factor, grad_log_variance)
            ),
            **_named("decoder.hidden", *self.hidden.backward(z, grad_h)),
        }
        return log_prob, gradients, self.hidden.grad_x(grad_h) if to_z else z

    def draw(self, z: Tensor, noise: Generator) -> Tensor:
        """Images drawn from p(x|z), as `DiagonalGaussian.draw` draws them."""
        h = factor(self.hidden.forward(z))
        mean, log_variance = self.mean.forward(h).sigmoid_(), self.log_variance.forward(h)
        drawn = normal(noise, *mean.shape)
        return mean.add_(log_variance.mul_(0.5).exp_().mul_(drawn))


def _decoder(model: Model) -> "_BernoulliDecoder | _GaussianDecoder":
    if isinstance(model.decoder, GaussianDecoder):
        return _GaussianDecoder(model.decoder)
    assert isinstance(model.decoder, BernoulliDecoder)
    return _BernoulliDecoder(model.decoder)
