"""The same work by this project, by its floor, and by the packages a user would pick instead.

The work: MNIST, 784-500-20-500-784, tanh, Bernoulli pixels, minibatches of 100, one sample of z,
Adagrad, float32 unless the name says bfloat16. Every function prepares one contender
and returns `train(updates)`, which does that many updates.
"""

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from aevb.learners.backprop import BackpropAEVB
from aevb.model.products import Products, factor
from aevb.model.randomness import indices, normal
from aevb.training.loop import Training

PIXELS, HIDDEN, NZ, MINIBATCH = 784, 500, 20, 100
Train = Callable[[int], None]


def images() -> Tensor:
    """The 50,000 training images of MNIST, `(50000, 784)`."""
    from aevb import data

    return data.load("mnist").train


def onednn(a: Tensor, b: Tensor) -> Tensor:
    """The product a b by oneDNN."""
    y: Tensor = torch.ops.mkldnn._linear_pointwise(a, b.mT, None, "none", [], "")
    return y


def fastest_product(precision: Products) -> Callable[[Tensor, Tensor], Tensor]:
    """The fastest of all products that PyTorch has here, by trying them at an update's shapes."""
    dtype = getattr(torch, precision)
    a, b = torch.rand(MINIBATCH, PIXELS).to(dtype), torch.rand(PIXELS, HIDDEN).to(dtype)

    def seconds(way: Callable[[Tensor, Tensor], Tensor]) -> float:
        began = time.perf_counter()
        for _ in range(10):
            way(a, b)
            way(a.mT, a)
        return time.perf_counter() - began

    best = {way: min(seconds(way) for _ in range(10)) for way in (torch.mm, onednn)}
    return min(best, key=best.__getitem__)


def floor(precision: Products = "float32") -> Train:
    """What no implementation can do without: the five large products and one optimiser pass.

    By the best product there is. In bfloat16 without the conversions, which a program could avoid
    that kept a rounded copy of everything.
    """
    from torch.optim.adagrad import adagrad

    dtype = getattr(torch, precision)
    x, h = torch.rand(MINIBATCH, PIXELS, dtype=dtype), torch.rand(MINIBATCH, HIDDEN, dtype=dtype)
    encoder, decoder = (
        torch.rand(PIXELS, HIDDEN, dtype=dtype),
        torch.rand(HIDDEN, PIXELS, dtype=dtype),
    )
    times = fastest_product(precision)
    n_parameters = 2 * PIXELS * HIDDEN + 3 * HIDDEN * NZ + PIXELS + 2 * HIDDEN + 2 * NZ
    parameters, gradient, squares = (torch.rand(n_parameters) for _ in range(3))

    def train(updates: int) -> None:
        for _ in range(updates):
            times(x, encoder)
            times(h, decoder)
            times(h.T, x)
            times(x, decoder.T)
            times(x.T, h)
            adagrad(
                [parameters], [gradient], [squares], [torch.zeros(())],
                fused=True, maximize=False, lr=1e-9, weight_decay=0.002, lr_decay=0.0, eps=1e-8,
            )  # fmt: skip

    return train


def begin(
    n_hidden: int = HIDDEN,
    nz: int = NZ,
    minibatch: int = MINIBATCH,
    products: Products = "float32",
    fast: bool = True,
) -> Training:
    """The library's own training loop, as `aevb run` uses it, or with gradients by autograd."""
    from aevb.data import Dataset
    from aevb.training import job
    from aevb.training.run import Run

    pixels = images()
    dataset = Dataset("mnist", pixels, pixels[:0], pixels[:0], (28, 28))
    run = Run(nz=nz, n_hidden=n_hidden, minibatch=minibatch, warmup=0, products=products)
    return job.start(run, dataset, fast=fast)


def compiled(training: Training) -> Train:
    """The readable form of AEVB: bound, gradient and Adagrad in one graph of `torch.compile`.

    Compiling takes part of a minute and needs a C++ compiler. Generators stay outside of the graph.
    """
    from aevb.learners.aevb import lower_bound

    learner, order = training.learner, training.order
    model, ascent = learner.model, learner.ascents["model"]

    class Bound(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, x: Tensor, epsilon: Tensor) -> Tensor:
            return lower_bound(self.model, x, epsilon).sum()

    bound = Bound()

    def value(parameters: dict[str, Tensor], x: Tensor, epsilon: Tensor) -> Tensor:
        # Views: the compiler takes a parameter itself for one that needs no gradient in `affine`.
        views = {name: p.view_as(p) for name, p in parameters.items()}
        y: Tensor = torch.func.functional_call(bound, views, (x, epsilon))
        return y

    parameters = {name: p.detach() for name, p in bound.named_parameters()}
    ascent.parameters = dict(zip(ascent.parameters, parameters.values(), strict=True))
    ascent.updates = 1  # so that `plain` moves
    torch.set_flush_denormal(True)  # as `Training.advance`

    def update(rows: Tensor, epsilon: Tensor) -> None:
        x = training.points.index_select(0, rows)
        gradients, _ = torch.func.grad_and_value(value)(parameters, x, epsilon)
        ascent.plain(dict(zip(ascent.parameters, gradients.values(), strict=True)))

    in_one = torch.compile(update, dynamic=False, fullgraph=True)

    @torch.no_grad()
    def train(updates: int) -> None:
        for _ in range(updates):
            rows = indices(order, MINIBATCH, len(training.points))
            in_one(rows, normal(learner.noise, 1, MINIBATCH, NZ))

    return train


def update_in_parts(training: Training) -> Callable[[], dict[str, float]]:
    """One update, as `BackpropAEVB.step` makes it: the seconds of each part."""
    learner, order = training.learner, training.order
    assert isinstance(learner, BackpropAEVB)

    @torch.no_grad()
    def update() -> dict[str, float]:
        seconds: dict[str, float] = {}
        began = time.perf_counter()

        def done(part: str) -> None:
            nonlocal began
            now = time.perf_counter()
            seconds[part], began = now - began, now

        rows = indices(order, MINIBATCH, len(training.points))
        x = training.points.index_select(0, rows)
        done("gather the minibatch")
        images = factor(x)
        h, mean, log_variance = learner._encoder.forward(images)
        done("encoder")
        noise = torch.exp(0.5 * log_variance).mul_(normal(learner.noise, *mean.shape))
        z, variance = mean + noise, torch.exp(log_variance)
        0.5 * (mean.square() + variance - log_variance - 1).sum()
        done("sample z, KL")
        _, gradients, grad_z = learner._decoder.forward_and_backward(z, x)
        done("decoder, log p(x|z) and their gradients")
        grad_log_variance = (grad_z * noise).add_(1).sub_(variance).mul_(0.5)
        gradients |= learner._encoder.backward(images, h, grad_z - mean, grad_log_variance)
        done("gradient, encoder")
        learner.ascents["model"].update(gradients)
        done("Adagrad and prior")
        return seconds

    return update


class _PlainVAE(nn.Module):
    """As the well-known examples write it."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(PIXELS, HIDDEN)
        self.mean, self.log_variance = nn.Linear(HIDDEN, NZ), nn.Linear(HIDDEN, NZ)
        self.decoder = nn.Sequential(
            nn.Linear(NZ, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, PIXELS), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h = torch.tanh(self.hidden(x))
        mean, log_variance = self.mean(h), self.log_variance(h)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        return self.decoder(z), mean, log_variance


def plain_pytorch() -> Train:
    """A plain PyTorch loop with a DataLoader, autograd and the default Adagrad."""
    from torch.utils.data import DataLoader, TensorDataset

    loader = DataLoader(TensorDataset(images()), MINIBATCH, shuffle=True)
    model = _PlainVAE()
    optimiser = torch.optim.Adagrad(model.parameters(), lr=0.01)

    def batches() -> Any:
        while True:
            yield from loader

    stream = batches()

    def train(updates: int) -> None:
        for _ in range(updates):
            (x,) = next(stream)
            y, mean, log_variance = model(x)
            loss = nn.functional.binary_cross_entropy(y, x, reduction="sum")
            loss = loss - 0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()

    return train


def pythae() -> Train:
    """pythae 0.1.2: its VAE and its trainer's own step, with networks of the paper's sizes."""
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    class Encoder(BaseEncoder):  # type: ignore[misc]
        def __init__(self) -> None:
            BaseEncoder.__init__(self)
            self.hidden = nn.Sequential(nn.Linear(PIXELS, HIDDEN), nn.Tanh())
            self.mean, self.log_variance = nn.Linear(HIDDEN, NZ), nn.Linear(HIDDEN, NZ)

        def forward(self, x: Tensor) -> Any:
            h = self.hidden(x)
            return ModelOutput(embedding=self.mean(h), log_covariance=self.log_variance(h))

    class Decoder(BaseDecoder):  # type: ignore[misc]
        def __init__(self) -> None:
            BaseDecoder.__init__(self)
            self.layers = nn.Sequential(
                nn.Linear(NZ, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, PIXELS), nn.Sigmoid()
            )

        def forward(self, z: Tensor) -> Any:
            return ModelOutput(reconstruction=self.layers(z))

    from pythae.data.datasets import BaseDataset

    pixels = images()
    config = VAEConfig(input_dim=(PIXELS,), latent_dim=NZ, reconstruction_loss="bce")
    model = VAE(config, encoder=Encoder(), decoder=Decoder())
    trainer = BaseTrainer(
        model=model,
        train_dataset=BaseDataset(pixels, torch.zeros(len(pixels))),
        training_config=BaseTrainerConfig(
            output_dir=str(Path("results/local/benchmarks")),
            per_device_train_batch_size=MINIBATCH,
            optimizer_cls="Adagrad",
            learning_rate=0.01,
            no_cuda=True,
        ),
    )
    trainer.prepare_training()
    model.train()

    def batches() -> Any:
        while True:
            yield from trainer.train_loader

    stream = batches()

    def train(updates: int) -> None:
        for _ in range(updates):
            inputs = trainer._set_inputs_to_device(next(stream))
            output = model(inputs, epoch=1, dataset_size=len(pixels), uses_ddp=False)
            trainer._optimizers_step(output)
            output.loss.item()

    return train


def pyro() -> Train:
    """pyro-ppl 1.9.2: SVI with Trace_ELBO and Adagrad, minibatches gathered by index."""
    import pyro as ppl
    import pyro.distributions as dist
    from pyro.infer import SVI, Trace_ELBO
    from pyro.optim import Adagrad

    pixels = images()
    net = _PlainVAE()
    decoder = net.decoder[:-1]

    def model(x: Tensor) -> None:
        ppl.module("decoder", decoder)
        with ppl.plate("data", len(x)):
            z = ppl.sample("z", dist.Normal(x.new_zeros(len(x), NZ), 1.0).to_event(1))
            likelihood = dist.Bernoulli(logits=decoder(z), validate_args=False)
            ppl.sample("x", likelihood.to_event(1), obs=x)

    def guide(x: Tensor) -> None:
        ppl.module("encoder", nn.ModuleList([net.hidden, net.mean, net.log_variance]))
        with ppl.plate("data", len(x)):
            h = torch.tanh(net.hidden(x))
            scale = torch.exp(0.5 * net.log_variance(h))
            ppl.sample("z", dist.Normal(net.mean(h), scale).to_event(1))

    ppl.enable_validation(False)
    svi = SVI(model, guide, Adagrad({"lr": 0.01}), Trace_ELBO())

    def train(updates: int) -> None:
        for _ in range(updates):
            svi.step(pixels[torch.randint(len(pixels), (MINIBATCH,))])

    return train


def numpyro() -> Train:
    """numpyro 0.22: SVI with Adagrad, a hundred updates in one jitted loop."""
    import jax
    import numpyro as ppl
    import numpyro.distributions as dist
    from jax import lax, random
    from jax import nn as jnn
    from jax import numpy as jnp
    from numpyro.infer import SVI, Trace_ELBO
    from numpyro.optim import Adagrad

    pixels = jnp.asarray(images().numpy())

    def dense(name: str, x: Any, n_out: int) -> Any:
        shape = (x.shape[-1], n_out)
        w = ppl.param(f"{name}.w", lambda key: 0.01 * random.normal(key, shape))
        return x @ w + ppl.param(f"{name}.b", jnp.zeros(n_out))

    def model(x: Any) -> None:
        with ppl.plate("data", MINIBATCH):
            z = ppl.sample("z", dist.Normal(jnp.zeros(NZ), 1.0).to_event(1))
            logits = dense("out", jnp.tanh(dense("decoder", z, HIDDEN)), PIXELS)
            bce = x * logits - jnn.softplus(logits)
            ppl.factor("x", bce.sum(-1))

    def guide(x: Any) -> None:
        h = jnp.tanh(dense("encoder", x, HIDDEN))
        scale = jnp.exp(0.5 * dense("log_variance", h, NZ))
        with ppl.plate("data", MINIBATCH):
            ppl.sample("z", dist.Normal(dense("mean", h, NZ), scale).to_event(1))

    svi = SVI(model, guide, Adagrad(0.01), Trace_ELBO())
    state = svi.init(random.PRNGKey(0), pixels[:MINIBATCH])

    def hundred(state: Any, key: Any) -> Any:
        def update(i: Any, state: Any) -> Any:
            rows = random.randint(random.fold_in(key, i), (MINIBATCH,), 0, len(pixels))
            return svi.update(state, pixels[rows])[0]

        return lax.fori_loop(0, 100, update, state)

    compiled = jax.jit(hundred)

    def train(updates: int) -> None:
        nonlocal state
        for i in range(updates // 100):
            state = compiled(state, random.PRNGKey(i))
        jax.block_until_ready(state)

    return train


CONTENDERS: dict[str, Callable[[], Train]] = {
    "floor": floor,
    "floor, bfloat16": partial(floor, "bfloat16"),
    "aevb": lambda: begin().advance,
    "aevb, bfloat16": lambda: begin(products="bfloat16").advance,
    "aevb, autograd": lambda: begin(fast=False).advance,
    "aevb, compiled": lambda: compiled(begin()),
    "plain PyTorch": plain_pytorch,
    "pythae": pythae,
    "pyro": pyro,
    "numpyro": numpyro,
}
