"""The GPU path: the same updates, recorded once and replayed."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from aevb import experiments, runner
from aevb.data import Dataset
from aevb.experiments import Run
from aevb.train import Training

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

RUN = Run(n_hidden=32, nz=3, minibatch=20, warmup=5, step_sizes=(0.02,))
RUNS = [RUN, replace(RUN, seed=1, nz=5)]


@pytest.fixture
def dataset() -> Dataset:
    pixels = torch.rand(400, 50, generator=torch.Generator().manual_seed(0))
    return Dataset("mnist", pixels[:300], pixels[300:320], pixels[320:], (5, 10))


def begin(dataset: Dataset, algorithm: experiments.Algorithm, device: str) -> Training:
    runs = [replace(run, algorithm=algorithm) for run in RUNS]
    return runner.start(runs, [0.02, 0.01], dataset, torch.device(device))


@pytest.mark.parametrize("algorithm", ["aevb", "wake-sleep"])
def test_replayed_updates_are_the_eager_ones(
    dataset: Dataset, algorithm: experiments.Algorithm, monkeypatch: pytest.MonkeyPatch
) -> None:
    replayed = begin(dataset, algorithm, "cuda")
    replayed.advance(60)
    assert replayed._recorded is not None
    eager = begin(dataset, algorithm, "cuda")
    monkeypatch.setattr(eager, "_may_replay", lambda: False)
    eager.advance(60)
    torch.testing.assert_close(replayed.running_bound, eager.running_bound)
    for r in range(len(RUNS)):
        for name, value in replayed.state(r)["parameters"].items():
            torch.testing.assert_close(value, eager.state(r)["parameters"][name])


@pytest.mark.parametrize("algorithm", ["aevb", "wake-sleep"])
def test_a_run_on_the_gpu_continues_bit_for_bit(
    dataset: Dataset, algorithm: experiments.Algorithm
) -> None:
    whole = begin(dataset, algorithm, "cuda")
    whole.advance(80)
    first = begin(dataset, algorithm, "cuda")
    first.advance(30)
    second = begin(dataset, algorithm, "cuda")
    second.load([first.state(r) for r in range(len(RUNS))])
    second.advance(50)
    for r in range(len(RUNS)):
        for name, value in whole.state(r)["parameters"].items():
            assert torch.equal(value, second.state(r)["parameters"][name]), name


def test_a_new_process_continues_bit_for_bit(dataset: Dataset, tmp_path: Path) -> None:
    """After the warm-up: its first update must not be the one that is recorded."""
    whole = begin(dataset, "aevb", "cuda")
    whole.advance(30)
    torch.save([whole.state(r) for r in range(len(RUNS))], tmp_path / "states.pt")
    whole.advance(50)
    torch.save(dataset.train, tmp_path / "train.pt")
    program = """
import torch, test_cuda
from aevb.data import Dataset
train = torch.load("train.pt")
training = test_cuda.begin(Dataset("mnist", train, train, train, (5, 10)), "aevb", "cuda")
training.load(torch.load("states.pt"))
training.advance(50)
torch.save([training.state(r)["parameters"] for r in range(len(test_cuda.RUNS))], "parameters.pt")
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True)
    for r, there in enumerate(torch.load(tmp_path / "parameters.pt")):
        for name, value in whole.state(r)["parameters"].items():
            assert torch.equal(value, there[name]), name


def test_cpu_and_gpu_start_alike(dataset: Dataset) -> None:
    cpu, gpu = (begin(dataset, "aevb", device) for device in ("cpu", "cuda"))
    for r in range(len(RUNS)):
        for name, value in cpu.state(r)["parameters"].items():
            assert torch.equal(value, gpu.state(r)["parameters"][name]), name
