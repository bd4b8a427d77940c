"""What a run of Figure 2 costs: an update, by hand and by autograd, its evaluations, its memory.

Part of `make bench`. One thread, each kind of run in a process of its own, on the real data.
Written to results/benchmarks/<processor>/runs.csv, with what made it beside it.
"""

import json
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from itertools import takewhile

import pandas as pd
import torch
from run import folder_name

from aevb import data, paths
from aevb.results import curves, provenance
from aevb.training import experiments, job
from aevb.training.evaluation import evaluate
from aevb.training.log_points import log_points

NZ: dict[data.Name, int] = {"mnist": 20, "freyface": 10}
REPETITIONS, UPDATES = 7, 100
CPU = torch.device("cpu")


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measure(dataset: data.Name, algorithm: str) -> dict[str, object]:
    """One kind of run: a row of the table."""
    torch.set_num_threads(1)
    run = experiments.figure2_run(dataset, NZ[dataset], algorithm)
    images = data.load(dataset)
    ways = {
        name: job.start(run, images, fast=name == "by_hand") for name in ("by_hand", "by_autograd")
    }
    for training in ways.values():
        training.advance(run.warmup + 20)
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(REPETITIONS):  # interleaved: a slow moment of the machine falls on both
        for name, training in ways.items():
            times[name].append(seconds(partial(training.advance, UPDATES)))
    update = {name: statistics.median(found) / UPDATES for name, found in times.items()}
    evaluation = statistics.median(
        seconds(lambda: evaluate(ways["by_hand"], run, images)) for _ in range(3)
    )
    end = experiments.stopping_point(run, "paper")
    evaluations = len(list(takewhile(lambda point: point <= end, log_points(run.minibatch))))
    training_time = end / run.minibatch * update["by_hand"]
    return {
        "data": dataset,
        "nz": run.nz,
        "algorithm": algorithm,
        "update_by_hand_ms": round(1e3 * update["by_hand"], 2),
        "update_by_autograd_ms": round(1e3 * update["by_autograd"], 2),
        "evaluation_seconds": round(evaluation, 2),
        "evaluations": evaluations,
        "evaluation_share": round(evaluations * evaluation / training_time, 4),
        "peak_mebibytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def main() -> None:
    """Measure, write and print."""
    rows = []
    for dataset in NZ:
        for algorithm in experiments.ALGORITHMS["figure2"]:
            command = [sys.executable, __file__, dataset, algorithm]
            printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
            rows.append(json.loads(printed.splitlines()[-1]))
    torch.set_num_threads(1)
    about = {"command": "make bench", **provenance.maker(CPU)}
    folder = paths.published() / "benchmarks" / folder_name(about["hardware"]["name"])
    curves.write(folder / "runs.csv", rows, about)
    print(pd.DataFrame(rows).to_string(index=False))


if __name__ == "__main__":
    if len(sys.argv) == 3:
        print(json.dumps(measure(*sys.argv[1:])))  # type: ignore[arg-type]
    else:
        main()
