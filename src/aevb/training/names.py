"""From a run's name to the run, and from a run to the command that makes it."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, fields, replace
from typing import Any

from pydantic import TypeAdapter, ValidationError

from aevb.errors import ConfigurationError
from aevb.learners import LEARNERS
from aevb.training.experiments import DATASETS, RUNS, candidates, figure2_run, figure3_run
from aevb.training.run import NZ_OF_FIGURE3, Run


def parse(name: str, study: str | None = None, settings: Sequence[str] = ()) -> Run:
    """The run of a name, with `settings` such as `optimiser=adam` in place of the paper's.

    Raises:
        ConfigurationError: if the name or a setting is not valid; if the study is one of the
            paper's figures, and the settings are not the paper's.
    """
    if wrong := [setting for setting in settings if "=" not in setting]:
        raise ConfigurationError(
            f"--set {' '.join(wrong)}: expected NAME=VALUE, such as optimiser=adam"
        )
    values: dict[str, Any] = dict(setting.split("=", 1) for setting in settings)
    if len(values) < len(settings):
        raise ConfigurationError(f"--set {' '.join(settings)}: expected each setting once")
    identity = {"study", "dataset", "nz", "algorithm", "seed", "n_train"}
    known = {field.name for field in fields(Run)} - identity
    if unknown := set(values) - known:
        raise ConfigurationError(
            f"cannot set {', '.join(sorted(unknown))}: the settings are "
            f"{', '.join(sorted(known))}; the name of a run sets its data set, nz, n_train, "
            "algorithm and seed"
        )
    changed = values if study is None else {"study": study, **values}
    papers = asdict(paper_run(name))
    with _readable_errors(name):
        run = TypeAdapter(Run).validate_python(papers | changed)
    if run.study in RUNS and run not in RUNS[run.study](run.seed):
        raise ConfigurationError(
            f"{name}: the study {run.study} holds the runs of the paper's figure alone; those with "
            "other settings, algorithms, data, nz or n_train need a --study of their own"
        )
    return run


@contextmanager
def _readable_errors(name: str) -> Iterator[None]:
    try:
        yield
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, e['loc']))}: {e['msg']}, got {e['input']!r}"
            if e["loc"]
            else e["msg"].removeprefix("Value error, ")
            for e in error.errors()
            if e["type"] != "too_short"  # follows from what is wrong with the elements
        )
        raise ConfigurationError(f"{name}: {problems}") from None


def paper_run(name: str) -> Run:
    """The run of this name with the paper's settings.

    Raises:
        ConfigurationError: if the name is not valid.
    """
    datasets, algorithms = "|".join(DATASETS), "|".join(LEARNERS)
    if match := re.fullmatch(r"(.+)-step([0-9.e+-]+)", name):
        base = paper_run(match[1])
        with _readable_errors(name), suppress(OverflowError):
            step_size = float(match[2])
            run = replace(candidates(base)[0], seed=base.seed, step_size=step_size)
            if run.name == name:
                return run
    with _readable_errors(name):
        if match := re.fullmatch(rf"({datasets})-nz(\d+)-({algorithms})-seed(\d+)", name):
            dataset, nz, algorithm, seed = match.groups()
            return figure2_run(dataset, int(nz), algorithm, int(seed))  # type: ignore[arg-type]
        if match := re.fullmatch(rf"n([1-9]\d*)(?:-nz(\d+))?-({algorithms})-seed(\d+)", name):
            n_train, nz, algorithm, seed = match.groups()
            run = figure3_run(int(n_train), algorithm, int(seed), int(nz or NZ_OF_FIGURE3))
            if run.name == name:  # else it has the nz that a name leaves out
                return run
    raise ConfigurationError(
        f"no run is called {name!r}: expected <{datasets}>-nz<number>-<{algorithms}>"
        f"-seed<number>, for example mnist-nz20-aevb-seed0, or n<number>-<{algorithms}>"
        f"-seed<number>, for example n1000-mcem-seed0; with another nz than {NZ_OF_FIGURE3}, "
        "n1000-nz2-aevb-seed0"
    )


def command(run: Run, samples: int) -> str:
    """The command that makes the run's curve up to `samples`.

    Raises:
        ConfigurationError: if there is none, for the reasons that `parse` has.
    """
    study = None if run.study == paper_run(run.name).study else run.study
    papers, ours = asdict(parse(run.name, run.study)), asdict(run)
    settings = [f"{name}={value}" for name, value in ours.items() if value != papers[name]]
    parse(run.name, study, settings)
    words = ["aevb run", run.name, f"--budget {samples}"]
    words += [f"--study {study}"] * (study is not None)
    return " ".join(words + [f"--set {setting}" for setting in settings])
