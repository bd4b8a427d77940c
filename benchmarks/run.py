"""`make bench`: the same work by every contender, in one run on this machine.

Each contender runs in processes of its own, in two ways: on one core, and as two one-thread runs
side by side. Repetitions are interleaved, so that a slow minute of the machine falls on all alike.
Written to results/benchmarks/<processor>: cpu.csv; products.csv, the products of a layer by each
kernel; parts.csv, where the time of an update goes; and cost.csv, how this project's speed depends
on the size of the problem. What has to be compiled is left out where there is no C++ compiler.
"""

import json
import os
import re
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import get_args

import pandas as pd
import torch
from contenders import CONTENDERS, MINIBATCH, begin, onednn, update_in_parts
from torch import Tensor

from aevb import paths
from aevb.files import atomic
from aevb.model.products import Products, products_in
from aevb.results import provenance

WAYS = {"one core": (1, 1), "two runs side by side": (2, 1)}
REPETITIONS, UPDATES = 3, 300
CPU = torch.device("cpu")
# Rows, inputs and outputs of the largest layer of each kind of run.
LAYERS = {
    "MNIST, 784 to 500": (100, 784, 500),
    "Frey Face, 560 to 200": (500, 560, 200),
    "Figure 3, 784 to 100": (100, 784, 100),
    "a chunk of Monte Carlo EM, 100 to 784": (1000, 100, 784),
}
KERNELS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "torch.mm": torch.mm,
    "oneDNN": onednn,
    "bfloat16": torch.mm,
}
COST = {
    "n_hidden": (100, 200, 500, 1000),
    "nz": (2, 20, 200),
    "minibatch": (50, 100, 500, 1000),
}


def measure(name: str, threads: int) -> None:
    """In a process of its own: one contender, one repetition; prints a line of JSON."""
    torch.set_num_threads(threads)
    train = CONTENDERS[name]()
    train(100)
    began = time.perf_counter()
    train(UPDATES)
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"speed": UPDATES * MINIBATCH / seconds, "mebibytes": peak}))


def repetition(name: str, processes: int, threads: int) -> dict[str, float]:
    """One repetition: total samples per second of the processes, and the memory of one."""
    threading = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(threads))
    # XLA takes as many threads as it may use cores.
    cores = "0" if processes == threads == 1 else "0,1"
    started = [
        subprocess.Popen(
            [
                "taskset",
                "-c",
                cores if processes == 1 else str(k),
                sys.executable,
                __file__,
                name,
                str(threads),
            ],
            env={**os.environ, **threading},
            stdout=subprocess.PIPE,
            text=True,
        )
        for k in range(processes)
    ]
    printed = [p.communicate()[0] for p in started]
    if any(p.returncode for p in started):
        raise RuntimeError(f"{name} failed: what it said is above")
    results = [json.loads(text.splitlines()[-1]) for text in printed]
    return {
        "speed": sum(r["speed"] for r in results),
        "mebibytes": max(r["mebibytes"] for r in results),
    }


def compare() -> pd.DataFrame:
    """Every contender in every way: median, spread, ratio to this project, share of the floor."""
    can_compile = shutil.which(os.environ.get("CXX", "g++")) is not None
    contenders = [name for name in CONTENDERS if can_compile or not name.endswith("compiled")]
    rows = []
    for way, (processes, threads) in WAYS.items():
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in contenders}
        for k in range(REPETITIONS):
            for name, done in runs.items():
                done.append(repetition(name, processes, threads))
                print(
                    f"{way}, {k + 1}/{REPETITIONS}: {name} {done[-1]['speed']:,.0f} samples/s",
                    flush=True,
                )
        median = {n: statistics.median(r["speed"] for r in done) for n, done in runs.items()}
        rows += [
            {
                "way": way,
                "contender": name,
                "samples_per_second": round(median[name]),
                "slowest": round(min(r["speed"] for r in done)),
                "fastest": round(max(r["speed"] for r in done)),
                "aevb_is_times_as_fast": round(median["aevb"] / median[name], 2),
                "bfloat16_is_times_as_fast": round(median["aevb, bfloat16"] / median[name], 2),
                "share_of_floor": round(
                    median[name] / median[f"floor{', bfloat16' * name.endswith('bfloat16')}"], 2
                ),
                "peak_mebibytes": round(max(r["mebibytes"] for r in done)),
            }
            for name, done in runs.items()
        ]
    return pd.DataFrame(rows)


def kernels() -> pd.DataFrame:
    """Milliseconds of the three products of a layer, by each kernel, on one thread."""
    torch.set_num_threads(1)
    rows = []
    for layer, (m, n_in, n_out) in LAYERS.items():
        x, weight, grad_y = torch.rand(m, n_in), torch.rand(n_in, n_out), torch.rand(m, n_out)
        for name, (b, c) in {
            "forward": (x, weight),
            "weights": (x.mT, grad_y),
            "input": (grad_y, weight.mT),
        }.items():
            for kernel, times in KERNELS.items():
                a, d = (b.bfloat16(), c.bfloat16()) if "bfloat16" in kernel else (b, c)
                took = []
                for _ in range(UPDATES):
                    began = time.perf_counter()
                    times(a, d)
                    took.append(time.perf_counter() - began)
                ms = round(1e3 * statistics.median(took), 3)
                rows.append({"layer": layer, "product": name, "kernel": kernel, "milliseconds": ms})
    return pd.DataFrame(rows)


def cost() -> pd.DataFrame:
    """Samples per second of this project on one thread, against the size of the problem."""
    torch.set_num_threads(1)
    rows = []
    for setting, values in COST.items():
        for value in values:
            train = begin(**{setting: value}).advance  # type: ignore[arg-type]
            rows_per_update = value if setting == "minibatch" else MINIBATCH
            train(20)
            speeds = []
            for _ in range(REPETITIONS):
                began = time.perf_counter()
                train(40)
                speeds.append(40 * rows_per_update / (time.perf_counter() - began))
            rows.append(
                {
                    "setting": setting,
                    "value": value,
                    "samples_per_second": round(statistics.median(speeds)),
                }
            )
            print(rows[-1], flush=True)
    return pd.DataFrame(rows)


def parts() -> pd.DataFrame:
    """Milliseconds of every part of one AEVB update on one thread, in the order of the update."""
    torch.set_num_threads(1)
    rows = []
    for products in get_args(Products):
        training = begin(products=products)
        training.advance(100)
        update = update_in_parts(training)
        with products_in(products):
            seconds = pd.DataFrame([update() for _ in range(UPDATES)]).median()
        rows += [
            {"products": products, "part": part, "milliseconds": round(1e3 * median, 3)}
            for part, median in seconds.items()
        ]
    return pd.DataFrame(rows)


def folder_name(processor: str) -> str:
    """A short form of a processor's name: `Intel(R) Xeon(R) Processor` is `intel-xeon`."""
    said = re.sub(r"\(r\)|\(tm\)|processor|cpu", "", processor.lower())
    return "-".join(re.findall(r"[a-z0-9]+", said))


def main() -> None:
    """Measure, write and print."""
    tables = {"cpu": compare(), "products": kernels(), "parts": parts(), "cost": cost()}
    about = {"command": "make bench", **provenance.maker(CPU)}
    folder = paths.published() / "benchmarks" / folder_name(about["hardware"]["name"])
    for name, table in tables.items():  # once all is measured: they belong together
        with atomic(folder / f"{name}.csv") as temporary:
            table.to_csv(temporary, index=False)
        print(table.to_string(index=False))
    with atomic(folder / "about.json") as temporary:
        temporary.write_text(json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    if len(sys.argv) == 3:
        measure(sys.argv[1], int(sys.argv[2]))
    else:
        main()
