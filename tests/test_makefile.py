"""What make calls, in what order, and what it does not do again: with stand-ins for the tools."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

STAND_IN = """#!/bin/sh
echo "$(basename $0) $*" >> calls
case "$1" in
    runs) for run in a-run another-run; do
              [ "$(cat "reached-$run" 2> /dev/null)" = "$6" ] || echo $run
          done ;;
    run) case "$BROKEN" in "$2") exit 1 ;; esac
         echo "$4" > "reached-$2" ;;
    book/build.py) case "$2" in
        execute) mkdir -p "$(dirname "$4")"; echo "$AEVB_LOCAL" > "$4" ;;
        esac ;;
    compare) test -z "$UNLIKE" ;;
esac
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A project whose environment is there, made of stand-ins that note how they are called."""
    for name in ("Makefile", "requirements.txt", "requirements.lock", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    (tmp_path / "book" / "chapters").mkdir(parents=True)
    (tmp_path / "book" / "chapters" / "a-chapter.md").touch()
    tools = tmp_path / ".venv" / "bin"
    tools.mkdir(parents=True)
    for name in ("aevb", "python", "ruff", "mypy"):
        (tools / name).write_text(STAND_IN)
        (tools / name).chmod(0o755)
    (tools / ".ready").touch()
    return tmp_path


def make(checkout: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    outer = ("MAKEFLAGS", "MAKELEVEL", "MFLAGS", "CONDA_PREFIX")
    clean = {k: v for k, v in os.environ.items() if k not in outer}
    return subprocess.run(
        ["make", *arguments],
        cwd=checkout,
        env={**clean, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def calls(checkout: Path) -> list[str]:
    log = checkout / "calls"
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    return lines


@pytest.mark.parametrize("has_aevb", [True, False])
def test_an_active_conda_environment_is_used_if_it_has_aevb(checkout: Path, has_aevb: bool) -> None:
    theirs = checkout / "conda" / "bin"
    theirs.mkdir(parents=True)
    if has_aevb:
        (theirs / "aevb").write_text('#!/bin/sh\necho "conda $*" >> calls\n')
        (theirs / "aevb").chmod(0o755)
        (checkout / ".venv" / "bin" / ".ready").unlink()  # none of our own is made beside it
    result = make(checkout, "data", CONDA_PREFIX=str(checkout / "conda"))
    assert result.returncode == 0, result.stderr
    assert calls(checkout) == ["conda data" if has_aevb else "aevb data"]


def test_help_lists_every_documented_target(checkout: Path) -> None:
    told = make(checkout, "help").stdout
    targets = re.findall(r"^([a-z]+):.*##", (ROOT / "Makefile").read_text(), re.M)
    assert {"reproduce", "publish", "bench", "links"} < {*targets}
    for target in targets:
        assert f"\n  {target} " in told
    assert calls(checkout) == []


@pytest.mark.parametrize("seed", ["0", "3"])
def test_reproduce_goes_from_data_to_the_table(checkout: Path, seed: str) -> None:
    result = make(checkout, "reproduce", "BUDGET=1e7", "JOBS=1", f"SEED={seed}")
    assert result.returncode == 0, result.stderr
    made = calls(checkout)
    assert made == [
        "aevb data",
        f"aevb runs --seed {seed} --available --short-of 1e7",
        "aevb run a-run --budget 1e7",
        "aevb run another-run --budget 1e7",
        "aevb figures",
        "python book/build.py execute book/chapters/a-chapter.md "
        "results/local/notebooks/a-chapter.ipynb",
        "python book/build.py html --notebooks results/local/notebooks",
        f"aevb compare --budget 1e7 --seed {seed} --receipt",
    ]
    executed = checkout / "results" / "local" / "notebooks" / "a-chapter.ipynb"
    assert executed.read_text() == f"{seed}\n"


def test_reproduce_fails_where_a_run_is_not_the_published_one(checkout: Path) -> None:
    assert make(checkout, "reproduce", UNLIKE="a-run").returncode != 0
    assert calls(checkout)[-1] == "aevb compare --budget quick --seed 0 --receipt"


def test_the_published_pages_are_executed_and_built_without_local_runs(checkout: Path) -> None:
    assert make(checkout, "chapters", "book").returncode == 0
    assert calls(checkout) == [
        "python book/build.py execute book/chapters/a-chapter.md book/notebooks/a-chapter.ipynb",
        "python book/build.py html --notebooks book/notebooks",
    ]


def test_a_chapter_is_executed_again_where_results_are_newer(checkout: Path) -> None:
    def again(changed: str, **environment: str) -> list[str]:
        file = checkout / changed
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
        os.utime(file, (later := file.stat().st_mtime + 10, later))
        make(checkout, "chapters", **environment)
        os.utime(file, (0, 0))
        return [call.split()[4].split("/", 1)[1] for call in calls(checkout)]

    (checkout / "book" / "chapters" / "figure2.md").touch()
    for environment in ({}, {"AEVB_LOCAL": "0"}):
        make(checkout, "chapters", **environment)
    assert len(calls(checkout)) == 4
    both = ["notebooks/a-chapter.ipynb", "notebooks/figure2.ipynb"]
    assert again("results/curves/a-study/a-run.csv") == both
    assert again("results/local/curves/figure2/a-run.csv") == []
    assert again("results/local/curves/figure2/a-run.csv", AEVB_LOCAL="1") == [
        "local/notebooks/figure2.ipynb"
    ]


def test_pdf_is_one_call(checkout: Path) -> None:
    assert make(checkout, "pdf").returncode == 0
    assert calls(checkout) == ["python book/build.py pdf"]


def test_publishing_draws_the_published_figures(checkout: Path) -> None:
    assert make(checkout, "publish").returncode == 0
    assert calls(checkout) == [
        "aevb publish figure2 figure3",
        "aevb reference",
        "aevb figures --published",
    ]


def test_a_finished_run_is_not_run_again_and_a_larger_budget_is(checkout: Path) -> None:
    make(checkout, "train", "BUDGET=1e6")
    calls(checkout)
    make(checkout, "train", "BUDGET=1e6")
    assert not [call for call in calls(checkout) if call.startswith("aevb run ")]
    make(checkout, "train", "BUDGET=1e7")
    assert "aevb run a-run --budget 1e7" in calls(checkout)
    (checkout / "reached-a-run").unlink()
    make(checkout, "train", "BUDGET=1e7")
    assert [call for call in calls(checkout) if call.startswith("aevb run ")] == [
        "aevb run a-run --budget 1e7"
    ]


def test_a_failed_run_fails_the_whole_and_is_tried_again(checkout: Path) -> None:
    failed = make(checkout, "train", "-j1", BROKEN="a-run")
    assert failed.returncode != 0
    assert "aevb run another-run --budget quick" in calls(checkout)  # the others go on
    assert make(checkout, "train").returncode == 0
    made = calls(checkout)
    assert "aevb run a-run --budget quick" in made
    assert "aevb run another-run --budget quick" not in made


def test_a_launcher_stands_before_every_run(checkout: Path) -> None:
    told = make(checkout, "train", "BUDGET=2e6", "LAUNCH=env LAUNCHED=1").stdout
    run = "env LAUNCHED=1 .venv/bin/aevb run"
    runs = sorted(line for line in told.splitlines() if "aevb run " in line)
    assert runs == [f"{run} a-run --budget 2e6", f"{run} another-run --budget 2e6"]


def test_a_launcher_names_its_jobs_after_the_runs(checkout: Path) -> None:
    told = make(checkout, "train", "LAUNCH=env JOB=%%").stdout
    runs = sorted(line for line in told.splitlines() if "aevb run " in line)
    assert [run.split()[:2] for run in runs] == [["env", "JOB=a-run"], ["env", "JOB=another-run"]]


def test_a_launcher_is_not_believed_where_a_run_is_not_there(checkout: Path) -> None:
    """As srun of a lost node: it ends with 0."""
    told = make(checkout, "train", "BUDGET=2e6", "LAUNCH=test -z %% ||")
    assert told.returncode == 0, told.stderr
    told = make(checkout, "train", "BUDGET=3e6", "LAUNCH=true")
    assert told.returncode != 0
    assert "not at 3e6 samples yet: a-run another-run" in told.stderr


@pytest.mark.parametrize("arguments", [("-j2",), ("JOBS=2",)])
def test_runs_train_side_by_side(checkout: Path, arguments: tuple[str, ...]) -> None:
    aevb = checkout / ".venv" / "bin" / "aevb"
    # Each of the two runs waits for the other to have begun.
    aevb.write_text(
        STAND_IN + 'case "$1" in run) touch "began-$2"; n=0; '
        "until [ -e began-a-run ] && [ -e began-another-run ]; do "
        "n=$((n+1)); [ $n -lt 100 ] || exit 1; sleep 0.05; done ;; esac\n"
    )
    result = make(checkout, "train", *arguments)
    assert result.returncode == 0, result.stderr


SLOW = 'case "$*" in "$1 "*) sleep 0.2; echo "end of $(basename $0) $*" >> calls ;; esac\n'


@pytest.mark.parametrize("arguments", [("-j1",), ("JOBS=1",)])
def test_runs_train_one_after_another_where_that_is_asked_for(
    checkout: Path, arguments: tuple[str, ...]
) -> None:
    (checkout / ".venv" / "bin" / "aevb").write_text(STAND_IN + SLOW)
    assert make(checkout, "train", *arguments).returncode == 0
    runs = [call for call in calls(checkout) if " run " in call]
    assert runs[1::2] == [f"end of {call}" for call in runs[::2]]
    assert len(runs) == 4


@pytest.mark.parametrize("targets", [("chapters", "book"), ("pdf", "book"), ("train", "figures")])
def test_what_is_asked_for_together_is_done_in_order(
    checkout: Path, targets: tuple[str, str]
) -> None:
    for tool in ("aevb", "python"):
        (checkout / ".venv" / "bin" / tool).write_text(STAND_IN + SLOW)
    assert make(checkout, "-j2", *targets).returncode == 0
    first, last = {
        "chapters": ("build.py execute", "build.py html"),
        "pdf": ("build.py pdf", "build.py html"),
        "train": ("aevb run ", "aevb figures"),
    }[targets[0]]
    made = calls(checkout)
    begun = next(k for k, call in enumerate(made) if last in call)
    ended = [k for k, call in enumerate(made) if first in call and call.startswith("end of")]
    assert ended
    assert max(ended) < begun


def test_an_old_python_is_told_so(checkout: Path) -> None:
    (checkout / ".venv" / "bin" / ".ready").unlink()
    old = checkout / "python3.9"
    old.write_text('#!/bin/sh\necho "$*" >> calls\n[ "$1" != -c ] || exit 1\n')
    old.chmod(0o755)
    result = make(checkout, "env", f"PYTHON={old}")
    assert result.returncode != 0
    assert not (checkout / ".venv" / "bin" / ".ready").exists()
    assert [call.split()[0] for call in calls(checkout)] == ["-c"]  # and no environment of it


def test_packages_are_installed_by_digest_before_pytorch(checkout: Path) -> None:
    (checkout / ".venv" / "bin" / ".ready").unlink()
    assert make(checkout, "env", "PYTHON=true").returncode == 0
    assert [call.removeprefix("python -m pip install --quiet ") for call in calls(checkout)] == [
        "-r requirements.lock",
        "-r requirements.txt",
        "--no-deps --no-build-isolation -e .",
    ]
    assert make(checkout, "env").returncode == 0
    assert calls(checkout) == []
