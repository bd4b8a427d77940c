"""The GPU path: the same updates, recorded once and replayed."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from aevb.data import Dataset
from aevb.training import job
from aevb.training.experiments import Run
from aevb.training.loop import Training

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

GPU = "cuda"
N_TRAIN = 300
RUN = Run(n_hidden=32, nz=3, minibatch=20, warmup=5, step_size=0.02)
KINDS = {
    "aevb": RUN,
    "aevb-gaussian": replace(RUN, likelihood="gaussian"),
    "aevb-deep": replace(RUN, hidden_layers=2),
    "wake-sleep": replace(RUN, algorithm="wake-sleep"),
    "wake-sleep-gaussian": replace(RUN, algorithm="wake-sleep", likelihood="gaussian"),
    "mcem": replace(RUN, algorithm="mcem", minibatch=N_TRAIN, warmup=0, measure="marginal_loglik"),
}
REPLICATES = range(2)
each_kind = pytest.mark.parametrize("kind", KINDS)


@pytest.fixture
def dataset() -> Dataset:
    pixels = torch.rand(N_TRAIN + 100, 50, generator=torch.Generator().manual_seed(0))
    return Dataset("mnist", pixels[:N_TRAIN], pixels[-100:-80], pixels[-80:], (5, 10))


def begin(dataset: Dataset, kind: str, device: str) -> Training:
    nz = KINDS[kind].nz if kind == "mcem" else 5  # chains know no padding dimensions
    runs = [KINDS[kind], replace(KINDS[kind], seed=1, nz=nz, step_size=0.01)]
    return job.start(runs, dataset, torch.device(device))


def exactly(a: Any, b: Any, name: str = "") -> None:
    """That two states are equal to the last bit."""
    same = torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    assert same, name


def nearly(a: Any, b: Any, name: str = "") -> None:
    """That they are equal but for rounding."""
    torch.testing.assert_close(a, b, msg=lambda said: f"{name}: {said}")


def of_one_form(a: Any, b: Any, name: str = "") -> None:
    """That the same has been counted, and what is remembered has the same shapes."""
    same = a.shape == b.shape if isinstance(a, torch.Tensor) else type(a) is float or a == b
    assert same, name


def compare(a: Any, b: Any, leaves: Callable[[Any, Any, str], None], name: str = "state") -> None:
    """All that two states hold, but for the streams: a GPU draws other random numbers."""
    if not isinstance(a, dict):
        leaves(a, b, name)
        return
    assert a.keys() == b.keys(), name
    for key in a.keys() - {"streams"}:
        compare(a[key], b[key], leaves, f"{name}.{key}")


@each_kind
def test_replayed_updates_are_the_eager_ones(
    dataset: Dataset, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    replayed = begin(dataset, kind, GPU)
    replayed.advance(20)
    assert replayed._recorded is not None
    eager = begin(dataset, kind, GPU)
    monkeypatch.setattr(eager, "_may_replay", lambda: False)
    eager.advance(20)
    for r in REPLICATES:
        compare(replayed.state(r), eager.state(r), nearly)


@each_kind
def test_a_run_on_the_gpu_continues_bit_for_bit(dataset: Dataset, kind: str) -> None:
    whole = begin(dataset, kind, GPU)
    whole.advance(80)
    first = begin(dataset, kind, GPU)
    first.advance(30)
    second = begin(dataset, kind, GPU)
    second.load([first.state(r) for r in REPLICATES])
    second.advance(50)
    for r in REPLICATES:
        compare(whole.state(r), second.state(r), exactly)


@pytest.mark.parametrize("kind", ["aevb", "mcem"])
def test_a_new_process_continues_bit_for_bit(dataset: Dataset, tmp_path: Path, kind: str) -> None:
    """After the warm-up: its first update must not be the one that is recorded."""
    whole = begin(dataset, kind, GPU)
    whole.advance(30)
    torch.save([whole.state(r) for r in REPLICATES], tmp_path / "before.pt")
    whole.advance(50)
    torch.save(dataset.train, tmp_path / "train.pt")
    program = f"""
import torch, test_cuda
from aevb.data import Dataset
train = torch.load("train.pt")
training = test_cuda.begin(Dataset("mnist", train, train, train, (5, 10)), "{kind}", "{GPU}")
training.load(torch.load("before.pt"))
training.advance(50)
torch.save([training.state(r) for r in test_cuda.REPLICATES], "after.pt")
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True)
    for r, there in enumerate(torch.load(tmp_path / "after.pt")):
        compare(whole.state(r), there, exactly)


@each_kind
def test_cpu_and_gpu_start_alike(dataset: Dataset, kind: str) -> None:
    """Except for chains, which start from random numbers."""
    cpu, gpu = (begin(dataset, kind, device) for device in ("cpu", GPU))
    for r in REPLICATES:
        mine, its = cpu.state(r), gpu.state(r)
        of_one_form(mine["memory"].pop("chains", None), its["memory"].pop("chains", None), "chains")
        compare(mine, its, exactly)


@each_kind
def test_cpu_and_gpu_count_alike_and_remember_the_same(dataset: Dataset, kind: str) -> None:
    cpu, gpu = (begin(dataset, kind, device) for device in ("cpu", GPU))
    for training in (cpu, gpu):
        training.advance(20)
    for r in REPLICATES:
        compare(cpu.state(r), gpu.state(r), of_one_form)
