"""Whatever interrupts a run, resuming gives the uninterrupted curve, byte for byte.

`make torture` does the same hundreds of times.
"""

import os
import random
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import faults
import pytest
import victims
from tiny import TINY, checkpoint, curve

from aevb import paths

NOBODY = 65534
PATIENCE = 40.0  # seconds for a process that takes one or two


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = victims.project(tmp_path / "project")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def wholes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The curve of every run that nothing interrupts."""
    found, here = {}, Path.cwd()
    for name in victims.RUNS:
        os.chdir(victims.project(tmp_path_factory.mktemp("whole") / "project"))
        found[name] = victims.train(name)
    os.chdir(here)
    return found


def wait_for(file: Path) -> None:
    end = time.monotonic() + PATIENCE
    while not file.exists():
        assert time.monotonic() < end, f"{file} does not appear"
        time.sleep(0.002)


@pytest.mark.parametrize("name", victims.RUNS)
def test_a_run_that_is_killed_at_random_moments_is_resumed(
    folder: Path, wholes: dict[str, bytes], name: str
) -> None:
    chance = random.Random(0)
    for _ in range(3):
        victim = victims.start(folder, name)
        wait_for(checkpoint(victims.RUNS[name][0]))
        time.sleep(chance.uniform(0, 0.3))
        victim.kill()
        victim.join(PATIENCE)
        assert victims.problems(name, wholes[name], finished=False) == []
    victims.train(name)
    assert victims.problems(name, wholes[name], finished=True) == []


def test_a_run_that_is_killed_between_any_two_operations_on_files_is_resumed(
    folder: Path, wholes: dict[str, bytes]
) -> None:
    """Of the second writing; a process is killed once more where it was resumed."""
    for k in range(5, 17):
        victims.project(folder)
        os.chdir(folder)
        for fault in (k, 5):
            victim = victims.start(folder, "aevb", fault)
            victim.join(PATIENCE)
            assert victim.exitcode == -signal.SIGKILL
            assert victims.problems("aevb", wholes["aevb"], finished=False) == [], k
        victims.train("aevb")
        assert victims.problems("aevb", wholes["aevb"], finished=True) == [], k


def test_a_disk_that_is_full_at_any_write_costs_nothing(
    folder: Path, wholes: dict[str, bytes]
) -> None:
    """The error names a file; what was there is still whole; the next run goes on from it."""
    for k in range(5, 17):
        victims.project(folder)
        os.chdir(folder)
        with faults.at(k, faults.disk_full) as told:
            if (k - 1) % 4 == 3:  # the unlink after a rename needs no room
                victims.train("aevb", 0)
            else:
                with pytest.raises(OSError, match=str(folder)):
                    victims.train("aevb", 0)
                assert told[k - 1] != "unlink"
        assert not list(folder.rglob("*.part"))
        assert victims.problems("aevb", wholes["aevb"], finished=False) == [], k
        victims.train("aevb")
        assert victims.problems("aevb", wholes["aevb"], finished=True) == [], k


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_command_at_a_checkpoint(
    folder: Path, wholes: dict[str, bytes], number: signal.Signals
) -> None:
    samples = 1_000_000  # which it does not reach
    victim = victims.command(folder, samples)
    wait_for(checkpoint().with_suffix(".lock"))
    time.sleep(0.3)
    assert victim.pid is not None
    os.kill(victim.pid, number)
    victim.join(PATIENCE)
    assert victim.exitcode == 130, victims.output(folder)
    assert "stopping; once more stops at once" in victims.output(folder)
    assert checkpoint().exists()
    assert not list(folder.rglob("*.part"))
    written = curve().read_bytes()
    shorter = min(len(written), len(wholes["aevb"]))
    assert written[:shorter] == wholes["aevb"][:shorter]


def test_of_two_processes_on_one_run_the_second_is_refused(
    folder: Path, wholes: dict[str, bytes]
) -> None:
    """The first is held, with the lock in its hands; killed processes hold none."""
    first = victims.start(folder, "aevb")
    wait_for(checkpoint())
    assert first.pid is not None
    os.kill(first.pid, signal.SIGSTOP)
    try:
        second = victims.command(folder, 1000)
        second.join(PATIENCE)
        assert second.exitcode == 2
        (told,) = victims.output(folder).splitlines()
        assert f"{TINY.name} in study test is being trained by another process" in told
    finally:
        os.kill(first.pid, signal.SIGCONT)
    first.join(PATIENCE)
    assert first.exitcode == 0
    assert victims.problems("aevb", wholes["aevb"], finished=True) == []


@pytest.fixture
def read_only() -> Iterator[Path]:
    """A project that its user may read and not write."""
    with tempfile.TemporaryDirectory() as parent:
        Path(parent).chmod(0o777)
        folder = victims.project(Path(parent) / "project")
        folder.chmod(0o555)
        for below in folder.rglob("*"):
            below.chmod(0o555)
        yield folder
        for below in (folder, *folder.rglob("*")):
            below.chmod(0o755)


def test_a_folder_that_is_read_only_is_named_in_one_line(read_only: Path) -> None:
    victim = victims.command(read_only, 1000, user=NOBODY)
    victim.join(PATIENCE)
    (told,) = victims.output(read_only).splitlines()
    assert victim.exitcode == 2
    assert told.startswith("aevb: ")
    assert "Permission denied" in told
    assert str(read_only) in told
    assert not (read_only / paths.local().name).exists()
