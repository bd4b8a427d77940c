"""A run on a GPU: the code of the CPU, with other random numbers."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import IMAGES, TINY, manifest, table

from aevb.learners.aevb import lower_bound
from aevb.model.randomness import generator, normal
from aevb.training import job
from aevb.training.job import Job
from aevb.training.run import Run

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

GPU = torch.device("cuda")
KINDS = {
    "aevb": TINY,
    "aevb-gaussian": replace(TINY, likelihood="gaussian"),
    "aevb-adam": replace(TINY, optimiser="adam", products="bfloat16"),
    "wake-sleep": replace(TINY, algorithm="wake-sleep"),
    "wake-sleep-gaussian": replace(TINY, algorithm="wake-sleep", likelihood="gaussian"),
    "mcem": replace(TINY, algorithm="mcem", minibatch=80, warmup=0, measure="marginal_loglik"),
}
each_kind = pytest.mark.parametrize("run", KINDS.values(), ids=KINDS)


@each_kind
def test_a_run_starts_on_the_gpu_as_on_the_cpu(run: Run) -> None:
    cpu, gpu = job.start(run, IMAGES), job.start(run, IMAGES, GPU)
    torch.testing.assert_close(gpu.state()["parameters"], cpu.state()["parameters"], rtol=0, atol=0)
    epsilon = normal(generator(0, "noise"), 1, len(cpu.points), run.nz)
    here = lower_bound(cpu.learner.model, cpu.points, epsilon)
    there = lower_bound(gpu.learner.model, gpu.points, epsilon.to(GPU))
    torch.testing.assert_close(there.cpu(), here)


@each_kind
def test_a_run_on_the_gpu_continues_bit_for_bit(run: Run) -> None:
    whole, resumed = (job.start(run, IMAGES, GPU) for _ in range(2))
    whole.advance(30)
    resumed.load(whole.state())
    for training in (whole, resumed):
        training.advance(50)
    torch.testing.assert_close(resumed.state(), whole.state(), rtol=0, atol=0)


@each_kind
def test_a_run_on_the_gpu_leaves_a_curve(project: Path, run: Run) -> None:
    for budget in (2_000, 120_000 if run.algorithm == "mcem" else 4_000):
        Job(run, IMAGES, GPU).train(budget)
    assert manifest(run)["hardware"]["device"] == "cuda"
    assert np.isfinite(table(run).to_numpy()).all()
