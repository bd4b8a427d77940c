"""The learners' steps with their gradients by hand, into buffers that are allocated once.

Autograd computes the same gradients (tests/test_backprop.py holds the two against each other); this
saves its allocations, its bookkeeping and passes over memory: results/benchmarks/<processor> has
what that gains, in runs.csv for each data set and algorithm. It covers what the paper ran, with one
hidden layer: wake-sleep, and L = 1 with estimator B. `learners` covers the rest and is what to
read.
"""

import math

import torch
from torch import Tensor

from aevb.bound import estimator_a, estimator_b, kl_to_standard_normal
from aevb.distributions import LOG_2PI, DiagonalGaussian, standard_normal_log_prob
from aevb.learners.aevb import AEVB
from aevb.learners.wake_sleep import WakeSleep
from aevb.networks import BernoulliDecoder, Encoder, GaussianDecoder, Model, StackedLinear
from aevb.optim import Ascent
from aevb.randomness import Streams


class BackpropAEVB(AEVB):
    """`AEVB` with one sample of z and estimator B."""

    def __init__(self, model: Model, ascent: Ascent, noise: Streams) -> None:
        super().__init__(model, ascent, noise)
        self._encoder = _Encoder(model.encoder)
        self._decoder = _decoder(model)
        self._gradients = self._encoder.gradients | self._decoder.gradients

    @torch.no_grad()
    def step(self, x: Tensor) -> Tensor:
        """One update from a minibatch `(replicates, minibatch, pixels)`; returns its bound."""
        q = self._encoder.forward(x)
        noise = self.noise.latents(x.shape[1])
        scaled_noise = torch.exp(0.5 * q.log_variance) * noise
        z = q.mean + scaled_noise
        bound = estimator_b(self._decoder.log_prob(z, x)[None], kl_to_standard_normal(q))
        self._decoder.backward()
        by_z = self._decoder.to_z()
        self._encoder.backward(
            by_z - q.mean, 0.5 * (by_z * scaled_noise + 1 - torch.exp(q.log_variance))
        )
        self.ascents["both"].ascend(self._gradients)
        return bound.mean(1)


class BackpropWakeSleep(WakeSleep):
    """`WakeSleep`."""

    def __init__(
        self,
        model: Model,
        encoder_ascent: Ascent,
        decoder_ascent: Ascent,
        noise: Streams,
        **options: bool,
    ) -> None:
        super().__init__(model, encoder_ascent, decoder_ascent, noise, **options)
        self._encoder = _Encoder(model.encoder)
        self._decoder = _decoder(model)

    @torch.no_grad()
    def wake(self, x: Tensor) -> Tensor:
        """As `WakeSleep.wake`."""
        q = self._encoder.forward(x)
        z = q.sample(self.noise.latents(x.shape[1]))
        log_px_given_z = self._decoder.log_prob(z, x)
        bound = estimator_a(log_px_given_z[None], standard_normal_log_prob(z)[None],
                            q.log_prob(z)[None])  # fmt: skip
        self._decoder.backward()
        self.ascents["decoder"].ascend(self._decoder.gradients)
        return bound.mean(1)

    @torch.no_grad()
    def sleep(self, rows: int) -> None:
        """As `WakeSleep.sleep`."""
        z = self.noise.latents(rows)
        dream = self._decoder.draw(z, self.noise)
        if self.clip_dreams:
            dream.clamp_(0, 1)
        q = self._encoder.forward(dream)
        error = z - q.mean
        by_mean = error * torch.exp(-q.log_variance)
        self._encoder.backward(by_mean, 0.5 * (by_mean * error - 1))
        self.ascents["encoder"].ascend(self._encoder.gradients)


class _Linear:
    """A `StackedLinear` that keeps its input and output, and its gradients."""

    def __init__(self, layer: StackedLinear) -> None:
        self.weight, self.bias = layer.weight.detach(), layer.bias.detach()
        self.factor = layer.factor
        self.by_weight, self.by_bias = torch.zeros_like(self.weight), torch.zeros_like(self.bias)
        self.x = self.y = self.by_x = self.weight.new_empty(0)

    def forward(self, x: Tensor) -> Tensor:
        self.x, self.y = x, _buffer(self.y, *x.shape[:2], self.weight.shape[2])
        return torch.baddbmm(self.bias, x, self.weight, alpha=self.factor, out=self.y)

    def backward(self, by_y: Tensor) -> None:
        """Gradients of the parameters."""
        if by_y.device.type == "cpu":
            # With factors rounded to bfloat16, bmm takes 0.29 ms for what mm does in 0.20 ms.
            for r in range(len(by_y)):
                torch.mm(self.x[r].T, by_y[r], out=self.by_weight[r])
        else:
            torch.bmm(self.x.mT, by_y, out=self.by_weight)
        if self.factor != 1:
            self.by_weight.mul_(self.factor)
        torch.sum(by_y, 1, keepdim=True, out=self.by_bias)

    def to_input(self, by_y: Tensor) -> Tensor:
        """Gradient of the input."""
        self.by_x = _buffer(self.by_x, *self.x.shape)
        torch.bmm(by_y, self.weight.mT, out=self.by_x)
        return self.by_x if self.factor == 1 else self.by_x.mul_(self.factor)


def _buffer(last: Tensor, *shape: int) -> Tensor:
    """The buffer of the last update, or a new one where the shape is another."""
    return last if last.shape == shape else last.new_empty(shape)


def _tanh_backward(by_h: Tensor, h: Tensor) -> Tensor:
    """In place of `by_h`, the gradient before the tanh layer."""
    return torch.ops.aten.tanh_backward.grad_input(by_h, h, grad_input=by_h)  # type: ignore[no-any-return]


def _gradients(network: str, **layers: _Linear) -> dict[str, Tensor]:
    """Gradients by the names of the parameters, as `Ascent` wants them."""
    weights = {f"{network}.{name}.weight": layer.by_weight for name, layer in layers.items()}
    biases = {f"{network}.{name}.bias": layer.by_bias for name, layer in layers.items()}
    return weights | biases


class _Encoder:
    def __init__(self, encoder: Encoder) -> None:
        self.hidden, self.mean = _Linear(encoder.hidden), _Linear(encoder.mean)
        self.log_variance, self.active = _Linear(encoder.log_variance), encoder.active
        self.gradients = _gradients(
            "encoder", hidden=self.hidden, mean=self.mean, log_variance=self.log_variance
        )

    def forward(self, x: Tensor) -> DiagonalGaussian:
        h = self.hidden.forward(x).tanh_()
        mean, log_variance = self.mean.forward(h), self.log_variance.forward(h)
        if self.active is not None:
            mean, log_variance = mean.mul_(self.active), log_variance.mul_(self.active)
        return DiagonalGaussian(mean, log_variance)

    def backward(self, by_mean: Tensor, by_log_variance: Tensor) -> None:
        if self.active is not None:
            by_mean, by_log_variance = by_mean * self.active, by_log_variance * self.active
        self.mean.backward(by_mean)
        self.log_variance.backward(by_log_variance)
        by_h = self.mean.to_input(by_mean).add_(self.log_variance.to_input(by_log_variance))
        self.hidden.backward(_tanh_backward(by_h, self.hidden.y))


class _BernoulliDecoder:
    def __init__(self, decoder: BernoulliDecoder) -> None:
        self.hidden, self.logits = _Linear(decoder.hidden), _Linear(decoder.logits)
        self.gradients = _gradients("decoder", hidden=self.hidden, logits=self.logits)
        self.x = self.off = self.scratch = self.by_h = decoder.logits.weight.new_empty(0)

    def log_prob(self, z: Tensor, x: Tensor) -> Tensor:
        """As `Bernoulli.log_prob`, with log(off) in place of -softplus(logits).

        `off` = sigmoid(-logits) serves the gradient too: together 0.06 ms instead of 0.14 ms.
        """
        logits = self.logits.forward(self.hidden.forward(z).tanh_())
        self.x, self.scratch = x, _buffer(self.scratch, *logits.shape)
        self.off = torch.neg(logits, out=_buffer(self.off, *logits.shape)).sigmoid_()
        # Where off underflows, -softplus(l) is -l = -80 - (l - 80).
        log_off = torch.clamp_min(self.off, math.exp(-80), out=self.scratch).log_().sum(-1)
        excess = torch.sub(logits, 80, out=self.scratch).clamp_min_(0).sum(-1)
        return torch.mul(x, logits, out=self.scratch).sum(-1) + log_off - excess

    def backward(self) -> None:
        """Gradients of the parameters, of the latest `log_prob`."""
        by_logits = torch.add(self.x, self.off, out=self.scratch).sub_(1)  # x - mean
        self.logits.backward(by_logits)
        self.by_h = _tanh_backward(self.logits.to_input(by_logits), self.hidden.y)
        self.hidden.backward(self.by_h)

    def to_z(self) -> Tensor:
        """Gradient of z, after `backward`."""
        return self.hidden.to_input(self.by_h)

    def draw(self, z: Tensor, noise: Streams) -> Tensor:
        """Images drawn from p(x|z), as `Bernoulli.draw` draws them."""
        mean = self.logits.forward(self.hidden.forward(z).tanh_()).sigmoid_()
        uniform = noise.uniform(*mean.shape[1:])
        return torch.lt(uniform, mean, out=uniform)


class _GaussianDecoder:
    def __init__(self, decoder: GaussianDecoder) -> None:
        self.hidden, self.mean = _Linear(decoder.hidden), _Linear(decoder.mean)
        self.log_variance = _Linear(decoder.log_variance)
        self.gradients = _gradients(
            "decoder", hidden=self.hidden, mean=self.mean, log_variance=self.log_variance
        )
        self.by_mean = self.squared = self.by_h = decoder.mean.weight.new_empty(0)

    def _forward(self, z: Tensor) -> DiagonalGaussian:
        h = self.hidden.forward(z).tanh_()
        return DiagonalGaussian(self.mean.forward(h).sigmoid_(), self.log_variance.forward(h))

    def log_prob(self, z: Tensor, x: Tensor) -> Tensor:
        """As `DiagonalGaussian.log_prob`."""
        mean, log_variance = self._forward(z)
        self.by_mean = torch.neg(log_variance, out=_buffer(self.by_mean, *x.shape)).exp_()
        self.squared = torch.sub(x, mean, out=_buffer(self.squared, *x.shape))
        self.by_mean.mul_(self.squared)  # error / variance
        self.squared.mul_(self.by_mean)  # error² / variance
        return -0.5 * (self.squared.sum(-1) + log_variance.sum(-1) + x.shape[-1] * LOG_2PI)

    def backward(self) -> None:
        """Gradients of the parameters, of the latest `log_prob`."""
        by_logits = torch.ops.aten.sigmoid_backward.grad_input(
            self.by_mean, self.mean.y, grad_input=self.by_mean
        )
        by_log_variance = self.squared.sub_(1).mul_(0.5)
        self.mean.backward(by_logits)
        self.log_variance.backward(by_log_variance)
        by_h = self.mean.to_input(by_logits).add_(self.log_variance.to_input(by_log_variance))
        self.by_h = _tanh_backward(by_h, self.hidden.y)
        self.hidden.backward(self.by_h)

    def to_z(self) -> Tensor:
        """Gradient of z, after `backward`."""
        return self.hidden.to_input(self.by_h)

    def draw(self, z: Tensor, noise: Streams) -> Tensor:
        """Images drawn from p(x|z), as `DiagonalGaussian.draw` draws them."""
        return self._forward(z).draw(noise)


def _decoder(model: Model) -> _BernoulliDecoder | _GaussianDecoder:
    if isinstance(model.decoder, BernoulliDecoder):
        return _BernoulliDecoder(model.decoder)
    return _GaussianDecoder(model.decoder)
