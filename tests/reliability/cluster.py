"""Training on a Slurm of our own, one job cancelled and one node lost: `make cluster`.

One slurmctld and two slurmd on the loopback interface, with all that they write in a temporary
folder; then every curve is held against that of an undisturbed run. Needs Debian's packages
slurm-wlm and munge; results/reliability/cluster.json keeps the counts.
"""

import argparse
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch

from aevb.files import atomic
from aevb.results import provenance

ROOT = Path(__file__).parents[2]
RECORD = ROOT / "results" / "reliability" / "cluster.json"
AEVB = Path(sys.executable).parent / "aevb"
PROGRAMS = ("munged", "slurmctld", "slurmd", "srun")
STUDY = "figure2"
LAUNCH = "srun --ntasks=1 --cpus-per-task=1 --job-name=%%"
PATIENCE = 1200.0  # seconds that a step may take

CONFIGURATION = """\
ClusterName=aevb
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
SlurmdTimeout=5
MinJobAge=3600
NodeName=node1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1
NodeName=node2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1
PartitionName=all Nodes=node1,node2 Default=YES State=UP MaxTime=INFINITE
"""

# In the place of aevb, for make: it knows of four short runs alone, and saves at every log point.
FEWER_RUNS = """\
#!/bin/sh
case "$1" in
    data) ;;
    runs) {aevb} "$@" | grep freyface-nz[25]- || true ;;
    run) exec {aevb} "$@" --checkpoint-seconds 0 ;;
    *) exec {aevb} "$@" ;;
esac
"""

T = TypeVar("T")


class Slurm(NamedTuple):
    """A cluster of two nodes: the environment in which it is spoken to, and its daemons."""

    environment: dict[str, str]
    nodes: dict[str, subprocess.Popen[bytes]]

    def __call__(self, *command: str) -> str:
        """What a command of Slurm prints."""
        done = subprocess.run(
            command, env=self.environment, check=True, capture_output=True, text=True
        )
        return done.stdout

    def jobs(self) -> list[dict[str, str]]:
        """Every job so far: its number, state, node and run."""
        lines = self("squeue", "--all", "--states=all", "-h", "-o", "%i %T %N %j").splitlines()
        fields = ("id", "state", "node", "run")
        return [dict(zip(fields, line.replace("  ", " - ").split(), strict=True)) for line in lines]

    def lose(self, node: str) -> None:
        """Kill a node's daemon, and all that runs there, as a loss of power does."""
        self.nodes[node].kill()
        processes = [int(p.name) for p in Path("/proc").iterdir() if p.name.isdigit()]
        tasks = {pid for pid in processes if self._is_on(node, pid)}
        above = {int(Path(f"/proc/{pid}/stat").read_text().split()[3]) for pid in tasks}
        for pid in (*above - tasks - {1}, *tasks):  # Slurm's step first, or it would report
            os.kill(pid, signal.SIGKILL)

    def _is_on(self, node: str, pid: int) -> bool:
        try:
            given = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
        except OSError:  # it has ended, or is another user's
            return False
        ours = f"SLURM_CONF={self.environment['SLURM_CONF']}", f"SLURMD_NODENAME={node}"
        return all(line.encode() in given for line in ours)


def wait(what: str, found: Callable[[], T | None]) -> T:
    """Ask until there is an answer.

    Raises:
        TimeoutError: if there is none for too long.
    """
    end = time.monotonic() + PATIENCE
    while not (answer := found()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {PATIENCE:.0f} s")
        time.sleep(0.1)
    return answer


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(number)
        ]
        return [s.getsockname()[1] for s in sockets]


@contextmanager
def started(folder: Path) -> Iterator[Slurm]:
    """A Slurm whose files are in `folder`, until the end of the block."""
    configuration = folder / "slurm.conf"
    host, user = socket.gethostname().partition(".")[0], os.popen("id -un").read().strip()
    configuration.write_text(
        CONFIGURATION.format(folder=folder, host=host, user=user, ports=_free_ports(3))
    )
    key = folder / "munge.key"
    key.touch(0o600)
    key.write_bytes(secrets.token_bytes(128))
    environment = {**os.environ, "SLURM_CONF": str(configuration)}
    daemons: list[subprocess.Popen[bytes]] = []

    def daemon(*command: str) -> subprocess.Popen[bytes]:
        log = (folder / "daemons.log").open("ab")
        daemons.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        return daemons[-1]

    try:
        files = [f"--{name}-file={folder}/munge.{name}" for name in ("key", "pid", "log", "seed")]
        daemon("munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *files)
        wait("munge's socket", (folder / "munge.socket").exists)
        daemon("slurmctld", "-D")
        slurm = Slurm(environment, {n: daemon("slurmd", "-D", "-N", n) for n in ("node1", "node2")})

        def ready() -> bool:
            told = subprocess.run(
                ["sinfo", "-h", "-N", "-o", "%T"], env=environment, capture_output=True, text=True
            )
            return told.stdout.split() == ["idle", "idle"]

        wait("two idle nodes", ready)
        yield slurm
    finally:
        for command in (["scancel", "--user", user], ["scontrol", "shutdown"]):
            subprocess.run(command, env=environment, check=False, capture_output=True)
        for one in reversed(daemons):
            one.terminate()
            one.wait()


def project(folder: Path) -> Path:
    """A project without runs, with our Makefile."""
    shutil.copytree(ROOT / "results" / "paper", folder / "results" / "paper")
    shutil.copy(ROOT / "Makefile", folder)
    (folder / "src" / "aevb").mkdir(parents=True)
    aevb = folder / "aevb"
    aevb.write_text(FEWER_RUNS.format(aevb=AEVB))
    aevb.chmod(0o755)
    return folder


def curve(folder: Path, run: str) -> bytes:
    """The curve of a run so far."""
    file = folder / "results" / "local" / "curves" / STUDY / f"{run}.csv"
    return file.read_bytes() if file.exists() else b""


def disturbed(folder: Path, wholes: dict[str, bytes], budget: str) -> dict[str, object]:
    """Train over Slurm, cancel a job, lose a node, train again; counts of what happened."""
    here = project(folder / "project")
    (files := folder / "slurm").mkdir(mode=0o700)
    (files / "state").mkdir()
    train = ["make", "train", f"-j{len(wholes)}", "READY=", f"AEVB={here}/aevb"]
    train += [f"BUDGET={budget}", f"LAUNCH={LAUNCH}"]
    with started(files) as slurm:

        def halfway(node: str) -> dict[str, str] | None:
            for job in slurm.jobs():
                rows, whole = curve(here, job["run"]), wholes[job["run"]]
                if (job["state"], job["node"]) == ("RUNNING", node) and rows and rows != whole:
                    return job
            return None

        make = subprocess.Popen(train, cwd=here, env=slurm.environment)
        try:
            slurm("scancel", wait("a job halfway on node1", lambda: halfway("node1"))["id"])
            wait("a job halfway on node2", lambda: halfway("node2"))
            slurm.lose("node2")
            failed = make.wait(PATIENCE) != 0
        finally:
            make.terminate()
        reached = {run: curve(here, run) for run in wholes}
        subprocess.run(train, cwd=here, env=slurm.environment, check=True, timeout=PATIENCE)
        jobs, version = slurm.jobs(), slurm("srun", "--version").split()[1]
    ended = Counter(job["state"] for job in jobs)
    wrong = [
        f"{run} is not the undisturbed run" for run in wholes if curve(here, run) != wholes[run]
    ]
    wrong += [f"{run} had no row to go on from" for run, rows in reached.items() if not rows]
    wrong += [f"{part.name} is left" for part in here.rglob("*.part")]
    if not failed:
        wrong.append("make ended well, though a job was cancelled and a node lost")
    wrong += [f"no job ended as {how}" for how in ("CANCELLED", "NODE_FAIL") if not ended[how]]
    return {
        "slurm": version,
        "nodes": 2,
        "samples": float(budget),
        "runs": len(wholes),
        "jobs": len(jobs),
        "cancelled": ended["CANCELLED"],
        "lost": ended["NODE_FAIL"],
        "resumed": sum(rows not in (b"", wholes[run]) for run, rows in reached.items()),
        "rows_compared": sum(whole.count(b"\n") - 1 for whole in wholes.values()),
        "wrong": wrong,
    }


def main() -> None:
    """Train undisturbed and disturbed; end with 1 if anything was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", default="2e5", help="samples of every run")
    budget = parser.parse_args().budget
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if missing := [name for name in PROGRAMS if not shutil.which(name)]:
        raise SystemExit(
            f"no {', '.join(missing)} here; on Debian: apt-get install slurm-wlm munge"
        )
    for name in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
        os.environ.pop(name, None)
    os.environ["AEVB_DATA"] = os.environ.get("AEVB_DATA") or str(ROOT / "data")
    with tempfile.TemporaryDirectory() as folder:
        whole = project(Path(folder) / "whole")
        runs = subprocess.check_output([whole / "aevb", "runs"], cwd=whole, text=True).split()
        subprocess.run([AEVB, "run", *runs, "--budget", budget], cwd=whole, check=True)
        counts = disturbed(Path(folder), {run: curve(whole, run) for run in runs}, budget)
    about = {"made_by": "make cluster", **provenance.maker(torch.device("cpu")), **counts}
    with atomic(RECORD) as part:
        part.write_text(json.dumps(about, indent=2) + "\n")
    print(counts)
    raise SystemExit(bool(counts["wrong"]))


if __name__ == "__main__":
    main()
