"""The benchmark times what it says, and writes where it says."""

import importlib
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from aevb import paths
from aevb.model.products import KERNEL


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent.parent / "benchmarks"))


@pytest.fixture
def contenders(monkeypatch: pytest.MonkeyPatch) -> Any:
    module = importlib.import_module("contenders")
    pixels = torch.rand(300, 784, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr(module, "images", lambda: pixels)
    return module


def test_an_update_in_parts_is_an_update(contenders: Any) -> None:
    whole, in_parts = (contenders.begin(n_hidden=8) for _ in range(2))
    whole.advance(2)
    update = contenders.update_in_parts(in_parts)
    seconds = [update(), update()]
    parts = pd.read_csv(paths.published() / "benchmarks" / "intel-xeon" / "parts.csv").part
    assert all(list(one) == list(parts.unique()) for one in seconds)
    expected, found = (t.state()["parameters"] for t in (whole, in_parts))
    for name, value in expected.items():
        assert torch.equal(value, found[name]), name


@pytest.mark.xfail(
    KERNEL == "oneDNN", reason="torch.compile takes oneDNN's products of fixed weights alone"
)
@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler")
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # of the compiler's own import
@pytest.mark.filterwarnings("ignore:.*autograd.function.Function:DeprecationWarning")  # its tracing
def test_what_is_compiled_does_the_same_work(contenders: Any) -> None:
    by_hand, compiled = contenders.begin(n_hidden=8), contenders.begin(n_hidden=8)
    by_hand.advance(3)
    contenders.compiled(compiled)(3)
    expected, found = (t.state()["parameters"] for t in (by_hand, compiled))
    start = contenders.begin(n_hidden=8).state()["parameters"]
    for name, value in expected.items():
        assert not torch.allclose(value, start[name], atol=1e-3), name
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("processor", "folder"),
    [
        ("Intel(R) Xeon(R) Processor", "intel-xeon"),
        ("AMD EPYC", "amd-epyc"),
        ("AMD EPYC 7763 64-Core Processor", "amd-epyc-7763-64-core"),
        ("Intel(R) Core(TM) i7-8700 CPU @ 3.20GHz", "intel-core-i7-8700-3-20ghz"),
    ],
)
def test_every_processor_has_a_folder(processor: str, folder: str) -> None:
    assert importlib.import_module("run").folder_name(processor) == folder


def test_what_has_to_be_compiled_is_measured_where_a_compiler_is(
    monkeypatch: pytest.MonkeyPatch, contenders: Any
) -> None:
    run = importlib.import_module("run")
    monkeypatch.setattr(run, "repetition", lambda *_: {"speed": 10.0, "mebibytes": 1.0})
    for found in ("/usr/bin/g++", None):
        monkeypatch.setattr(run.shutil, "which", lambda _, f=found: f)
        table = run.compare()
        left_out = set() if found else {"aevb, compiled"}
        assert set(contenders.CONTENDERS) - set(table.contender) == left_out
        of_floor = table.set_index("contender").share_of_floor
        assert (of_floor == 1).all()


@pytest.mark.data("mnist")
def test_a_run_on_mnist_stays_under_a_gibibyte(tmp_path: Path) -> None:
    """With its data, its evaluations and its checkpoints."""
    (tmp_path / "results" / "paper").mkdir(parents=True)
    if paths.data().is_dir():
        (tmp_path / "data").symlink_to(paths.data())
    script = (
        "import resource; from aevb import cli; cli.app("
        "'run mnist-nz200-wake-sleep-seed0 --study s --set step_size=0.02 --set warmup=0 "
        "--budget 300'.split(), standalone_mode=False); "
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    # A process takes over the peak of the one that it was forked from: here the shell, not pytest.
    shell = ["sh", "-ec", '"$0" -c "$1"; true', sys.executable, script]
    done = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (tmp_path / "results/local/curves/s/mnist-nz200-wake-sleep-seed0.csv").exists()
    assert 300 < float(done.stdout.splitlines()[-1]) < 1024
