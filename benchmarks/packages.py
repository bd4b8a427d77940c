"""What users of other packages get: their VAEs on MNIST, for `aevb judge`.

Each is trained with the settings of its own example, with those of Figure 2, and between the two
with one setting changed at a time. results/packages/<package>-<settings>.csv has what its code
prints, the loss per datapoint; the file of the same name ending in .json what made it. Needs
`pip install -e '.[bench]'`. Run as `python benchmarks/packages.py [NAME ...]`.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from typing import Any, Protocol

import pandas as pd
import torch
from torch import Tensor, nn

from aevb import data, paths
from aevb.files import atomic
from aevb.results import provenance
from aevb.training.experiments import figure2_run

PIXELS, SAMPLES, SEED = 784, 10**6, 0
ACTIVATIONS = {"tanh": nn.Tanh, "relu": nn.ReLU, "softplus": nn.Softplus}


@dataclass(frozen=True)
class Settings:
    """What the examples differ in.

    Attributes:
        n_train: MNIST's 60,000 training images, or the 50,000 that the paper trains on.
        pixels: grey, or drawn anew as black or white in every minibatch.
        log_p: a Bernoulli's, or a Gaussian's of unit variance without its constant.
        initial: parameters as the package draws them, or from N(0, 0.01²).
    """

    n_hidden: int = 500
    nz: int = 20
    activation: str = "tanh"
    optimiser: str = "Adagrad"
    step_size: float = figure2_run("mnist", 20, "aevb").step_size
    minibatch: int = 100
    n_train: int = 50_000
    pixels: str = "grey"
    log_p: str = "bernoulli"
    initial: str = "N(0, 0.01²)"


PAPER = Settings()
ADAM = replace(PAPER, optimiser="Adam", step_size=1e-3, n_train=60_000, initial="the package's")
EXAMPLES = {
    "pytorch": replace(ADAM, n_hidden=400, activation="relu", minibatch=128),
    "pyro": replace(ADAM, n_hidden=400, nz=50, activation="softplus", minibatch=256),
    "numpyro": replace(
        ADAM,
        n_hidden=400,
        nz=50,
        activation="softplus",
        minibatch=128,
        pixels="redrawn",
        initial=PAPER.initial,
    ),
    "pythae": replace(
        ADAM, n_hidden=512, nz=10, activation="relu", minibatch=64, step_size=1e-4, log_p="gaussian"
    ),
}


class Trainer(Protocol):
    """A package's VAE and optimiser. Losses are sums over the images `x`, as the package says."""

    def step(self, x: Tensor) -> float: ...
    def evaluate(self, x: Tensor) -> float: ...


class Networks(nn.Module):
    """Encoder and decoder of one hidden layer, as PyTorch initialises them."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        n_hidden, nz = settings.n_hidden, settings.nz
        activation = ACTIVATIONS[settings.activation]
        self.encoder = nn.Sequential(
            nn.Linear(PIXELS, n_hidden), activation(), nn.Linear(n_hidden, 2 * nz)
        )
        self.decoder = nn.Sequential(
            nn.Linear(nz, n_hidden), activation(), nn.Linear(n_hidden, PIXELS)
        )
        if settings.initial == PAPER.initial:
            for parameter in self.parameters():
                nn.init.normal_(parameter, std=0.01)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log variance of q(z|x)."""
        mean, log_variance = self.encoder(x).chunk(2, dim=-1)
        return mean, log_variance


class PyTorch:
    """As vae/main.py of pytorch/examples: a loss of two sums, autograd, an optimiser of torch."""

    def __init__(self, settings: Settings) -> None:
        self.networks = Networks(settings)
        make = getattr(torch.optim, settings.optimiser)
        self.optimiser = make(self.networks.parameters(), lr=settings.step_size)

    def loss(self, x: Tensor) -> Tensor:
        mean, log_variance = self.networks.encode(x)
        z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        y = torch.sigmoid(self.networks.decoder(z))
        nll = nn.functional.binary_cross_entropy(y, x, reduction="sum")
        return nll - 0.5 * (1 + log_variance - mean**2 - log_variance.exp()).sum()

    def step(self, x: Tensor) -> float:
        loss = self.loss(x)
        self.optimiser.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        self.optimiser.step()
        return loss.item()

    @torch.no_grad()
    def evaluate(self, x: Tensor) -> float:
        return self.loss(x).item()


class Pyro:
    """As Pyro's examples/vae: stochastic variational inference with Trace_ELBO."""

    def __init__(self, settings: Settings) -> None:
        import pyro
        from pyro import distributions as dist
        from pyro import infer, optim

        networks = Networks(settings)
        pyro.clear_param_store()

        def model(x: Tensor) -> None:
            pyro.module("decoder", networks.decoder)
            with pyro.plate("data", len(x)):
                prior = dist.Normal(x.new_zeros(len(x), settings.nz), 1.0)
                z = pyro.sample("z", prior.to_event(1))
                likelihood = dist.Bernoulli(logits=networks.decoder(z), validate_args=False)
                pyro.sample("x", likelihood.to_event(1), obs=x)

        def guide(x: Tensor) -> None:
            pyro.module("encoder", networks.encoder)
            with pyro.plate("data", len(x)):
                mean, log_variance = networks.encode(x)
                q = dist.Normal(mean, torch.exp(0.5 * log_variance))
                pyro.sample("z", q.to_event(1))

        optimiser = getattr(optim, settings.optimiser)({"lr": settings.step_size})
        self.svi = infer.SVI(model, guide, optimiser, infer.Trace_ELBO())

    def step(self, x: Tensor) -> float:
        return float(self.svi.step(x))

    def evaluate(self, x: Tensor) -> float:
        return float(self.svi.evaluate_loss(x))


class NumPyro:
    """As NumPyro's examples/vae.py: weights start at 0.01 times a normal, biases too."""

    def __init__(self, settings: Settings) -> None:
        import jax
        import numpyro
        from jax import nn as jnn
        from jax import numpy as jnp
        from jax import random
        from numpyro import distributions as dist
        from numpyro import infer, optim

        activation = {"tanh": jnp.tanh, "softplus": jnn.softplus}[settings.activation]
        n_hidden, nz = settings.n_hidden, settings.nz

        def dense(name: str, x: Any, n_out: int) -> Any:
            def start(*shape: int) -> Callable[[Any], Any]:
                return lambda key: 0.01 * random.normal(key, shape)

            w = numpyro.param(f"{name}.w", start(x.shape[-1], n_out))
            return x @ w + numpyro.param(f"{name}.b", start(n_out))

        def model(x: Any) -> None:
            with numpyro.plate("data", len(x)):
                z = numpyro.sample("z", dist.Normal(jnp.zeros(nz), 1.0).to_event(1))
                logits = dense("out", activation(dense("decoder", z, n_hidden)), PIXELS)
                likelihood = dist.Bernoulli(logits=logits, validate_args=False)
                numpyro.sample("x", likelihood.to_event(1), obs=x)

        def guide(x: Any) -> None:
            h = activation(dense("encoder", x, n_hidden))
            mean, log_variance = dense("mean", h, nz), dense("log_variance", h, nz)
            with numpyro.plate("data", len(x)):
                q = dist.Normal(mean, jnp.exp(0.5 * log_variance))
                numpyro.sample("z", q.to_event(1))

        make = getattr(optim, settings.optimiser)
        svi = infer.SVI(model, guide, make(settings.step_size), infer.Trace_ELBO())
        self.key = random.PRNGKey(SEED)
        self.state = svi.init(self.key, jnp.zeros((settings.minibatch, PIXELS)))
        self._update, self._evaluate = jax.jit(svi.update), jax.jit(svi.evaluate)

    def step(self, x: Tensor) -> float:
        self.state, loss = self._update(self.state, x.numpy())
        return float(loss)

    def evaluate(self, x: Tensor) -> float:
        return float(self._evaluate(self.state, x.numpy()))


class Pythae:
    """pythae's VAE, with its default networks where the activation is theirs."""

    def __init__(self, settings: Settings) -> None:
        from pythae.models import VAE, VAEConfig
        from pythae.models.base.base_utils import ModelOutput
        from pythae.models.nn import BaseDecoder, BaseEncoder

        networks = Networks(settings)

        class Encoder(BaseEncoder):  # type: ignore[misc]
            def __init__(self) -> None:
                BaseEncoder.__init__(self)
                self.networks = networks.encoder

            def forward(self, x: Tensor) -> Any:
                mean, log_variance = networks.encode(x)
                return ModelOutput(embedding=mean, log_covariance=log_variance)

        class Decoder(BaseDecoder):  # type: ignore[misc]
            def __init__(self) -> None:
                BaseDecoder.__init__(self)
                self.networks = networks.decoder

            def forward(self, z: Tensor) -> Any:
                return ModelOutput(reconstruction=torch.sigmoid(self.networks(z)))

        loss = {"bernoulli": "bce", "gaussian": "mse"}[settings.log_p]
        config = VAEConfig((PIXELS,), latent_dim=settings.nz, reconstruction_loss=loss)
        theirs = settings.activation == "relu" and settings.n_hidden == 512
        self.model = VAE(config) if theirs else VAE(config, Encoder(), Decoder())
        make = getattr(torch.optim, settings.optimiser)
        self.optimiser = make(self.model.parameters(), lr=settings.step_size)

    def step(self, x: Tensor) -> float:
        loss = self.model({"data": x}).loss  # a mean over the minibatch
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return float(loss.item() * len(x))

    @torch.no_grad()
    def evaluate(self, x: Tensor) -> float:
        return float(self.model({"data": x}).loss) * len(x)


PACKAGES: dict[str, tuple[Callable[[Settings], Trainer], tuple[str, ...]]] = {
    "pytorch": (PyTorch, ("torch",)),
    "pyro": (Pyro, ("pyro-ppl", "torch")),
    "numpyro": (NumPyro, ("numpyro", "jax")),
    "pythae": (Pythae, ("pythae", "torch")),
}


def between(package: str) -> Iterator[tuple[str, Settings]]:
    """Names and settings: the example's, the paper's, and the example's with one of the paper's."""
    example = EXAMPLES[package]
    yield "example", example
    yield "paper", PAPER
    ours = asdict(PAPER)
    del ours["step_size"]  # it goes with the optimiser
    for name, value in ours.items():
        if getattr(example, name) != value:
            changed = {name: value}
            if name == "optimiser":
                changed["step_size"] = PAPER.step_size
            yield f"example-{name.replace('_', '-')}", replace(example, **changed)


def train(package: str, settings: Settings) -> pd.DataFrame:
    """Train to a million samples; a row for each epoch of 50,000 samples, as the package prints it.

    Returns:
        `samples`; `train_loss`, the mean of the minibatches since the row before; `test_loss`.
        Per datapoint.
    """
    torch.manual_seed(SEED)
    mnist = data.load("mnist")
    points = torch.cat([mnist.train, mnist.validation])[: settings.n_train]
    redrawn = torch.bernoulli if settings.pixels == "redrawn" else lambda x: x
    trainer = PACKAGES[package][0](settings)
    rows, samples, loss, since = [], 0, 0.0, 0
    while True:
        # Whole minibatches, as jitted code wants them.
        for x in points[torch.randperm(len(points))].split(settings.minibatch):  # type: ignore[no-untyped-call]
            if len(x) < settings.minibatch:
                continue
            loss += trainer.step(redrawn(x))
            samples, since = samples + len(x), since + len(x)
            if since >= 50_000 or samples >= SAMPLES:
                images = mnist.test.split(100)  # type: ignore[no-untyped-call]
                test = sum(float(trainer.evaluate(redrawn(x))) for x in images)
                rows.append((samples, loss / since, test / len(mnist.test)))
                loss, since = 0.0, 0
            if samples >= SAMPLES:
                return pd.DataFrame(rows, columns=["samples", "train_loss", "test_loss"])


def main() -> None:
    """Train what is asked for, or everything that has no file yet."""
    every = {
        f"{package}-{name}": (package, settings)
        for package in PACKAGES
        for name, settings in between(package)
    }
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(every))
    folder = paths.published() / "packages"
    folder.mkdir(exist_ok=True)
    torch.set_num_threads(1)
    for name in parser.parse_args().names or every:
        file = folder / f"{name}.csv"
        if file.exists():
            continue
        package, settings = every[name]
        began = time.monotonic()
        table = train(package, settings)
        about = {
            "made_by": f"python benchmarks/packages.py {name}",
            "packages": {each: version(each) for each in PACKAGES[package][1]},
            "settings": asdict(settings),
            "seed": SEED,
            "wall_seconds": round(time.monotonic() - began, 1),
            **provenance.maker(torch.device("cpu")),
        }
        with atomic(file.with_suffix(".json")) as part:
            part.write_text(json.dumps(about, indent=2) + "\n")
        with atomic(file) as part:
            part.write_text(table.to_csv(index=False, float_format="%.7g"))
        print(f"{name}: test loss {table.test_loss.iloc[-1]:.2f}")


if __name__ == "__main__":
    main()
