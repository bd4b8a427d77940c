"""The long form of the tests of trust: `make torture`; results/reliability keeps its counts.

Kills runs at random moments and between file operations, and tries inputs that are wrong.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parent.parent))  # as pytest does, for `tiny`

import badinput
import torch
import victims

from aevb.files import atomic
from aevb.results import provenance

MADE_BY = "make torture"
LONGEST = 0.4  # seconds after which a process is killed at the latest, if it has not ended
STAGES = 60  # file operations of a run that are tried as its last one


def report(results: Path, name: str, counts: dict[str, object]) -> None:
    """Write counts, with what made them."""
    about = {"made_by": MADE_BY, **provenance.maker(torch.device("cpu")), **counts}
    with atomic(results / f"{name}.json") as temporary:
        temporary.write_text(json.dumps(about, indent=2) + "\n")
    print(name, json.dumps(counts))


def kill(folder: Path, kills: int, seed: int) -> dict[str, object]:
    """Kill runs so many times, at random moments and at random file operations in turn.

    Returns:
        Counts by run; and in words what was wrong, which should be nothing.
    """
    chance = random.Random(seed)
    wholes = {}
    for name in victims.RUNS:
        os.chdir(victims.project(folder / "whole"))
        wholes[name] = victims.train(name)
    counts = {name: {"random": 0, "staged": 0, "finished": 0} for name in victims.RUNS}
    wrong: list[str] = []
    while sum(c["random"] + c["staged"] for c in counts.values()) < kills:
        for name, count in counts.items():
            os.chdir(here := victims.project(folder / "project"))
            for _ in range(chance.randint(1, 6)):
                staged = chance.random() < 0.3
                victim = victims.start(here, name, chance.randint(1, STAGES) if staged else None)
                if not staged:
                    time.sleep(chance.uniform(0, LONGEST))
                    victim.kill()
                victim.join()
                count["staged" if staged else "random"] += victim.exitcode == -9
                wrong += victims.problems(name, wholes[name], finished=victim.exitcode == 0)
            victims.train(name)
            count["finished"] += 1
            wrong += victims.problems(name, wholes[name], finished=True)
    total = sum(c["random"] + c["staged"] for c in counts.values())
    return {"kills": total, "seed": seed, "by_run": counts, "wrong": wrong}


def main() -> None:
    """Torture, and end with 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--cases", type=int, default=1000, help="of wrong input")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    results, here = Path("results/reliability").resolve(), Path.cwd()
    wrong: list[object] = []
    for name, count, torture in (
        ("kills", options.kills, kill),
        ("inputs", options.cases, badinput.attack),
    ):
        if count:
            with tempfile.TemporaryDirectory() as folder:
                counts = torture(Path(folder), count, options.seed)
                os.chdir(here)
            report(results, name, counts)
            wrong.append(counts["wrong"])
    raise SystemExit(any(wrong))


if __name__ == "__main__":
    main()
