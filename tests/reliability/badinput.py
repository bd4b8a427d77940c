"""Input that is wrong, and what becomes of it: one clear error, or an answer that is right.

Each kind of file has a door: the function by which everything reads it.
"""

import json
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import hypothesis
import tiny
import torch
from hypothesis import strategies as st

from aevb import paths
from aevb.comparison import reestimates
from aevb.data import DataError
from aevb.errors import ConfigurationError, DamagedFileError
from aevb.results import curves, models
from aevb.training import checkpoints, names
from aevb.training.export import export
from aevb.training.job import Job

CLEAR = (DamagedFileError, ConfigurationError, FileNotFoundError, DataError)
REMEDY = re.compile(r"delete|makes it|checkout|expected|--study|repeat", re.IGNORECASE)

OUTCOMES: Counter[tuple[str, str]] = Counter()
"""How often each kind was refused, and how often answered rightly."""


# ------------------------------------------------------------------------ how files are damaged


def _bits(draw: Callable[..., Any], content: bytes) -> bytes:
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        changed[draw(st.integers(0, len(content) - 1))] ^= 1 << draw(st.integers(0, 7))
    return bytes(changed)


def _cut(draw: Callable[..., Any], content: bytes) -> bytes:
    end: int = draw(st.integers(0, len(content) - 1))
    return content[:end]


def _hole(draw: Callable[..., Any], content: bytes) -> bytes:
    start: int = draw(st.integers(0, len(content) - 1))
    length: int = draw(st.integers(1, 500))
    return content[:start] + bytes(len(content[start : start + length])) + content[start + length :]


def _longer(draw: Callable[..., Any], content: bytes) -> bytes:
    more: bytes = draw(st.sampled_from([b"\n", b"0", b"\x00", b"}", b"1,2,3\n", content]))
    return content + more


def _windows(draw: Callable[..., Any], content: bytes) -> bytes:
    bom: bytes = draw(st.sampled_from([b"", b"\xef\xbb\xbf"]))
    return bom + content.replace(b"\n", draw(st.sampled_from([b"\r\n", b"\r", b"\n\n"])))


def _rows(draw: Callable[..., Any], content: bytes) -> bytes:
    lines = content.splitlines(keepends=True)
    row, other = (draw(st.integers(1, len(lines) - 1)) for _ in range(2))
    change = draw(st.sampled_from(["swap", "double", "remove"]))
    if change == "swap":
        lines[row], lines[other] = lines[other], lines[row]
    elif change == "double":
        lines.insert(row, lines[row])
    else:
        del lines[row]
    return b"".join(lines)


def _cells(draw: Callable[..., Any], content: bytes) -> bytes:
    lines = content.decode().splitlines()
    row = draw(st.integers(0, len(lines) - 1))
    cells = lines[row].split(",")
    column = draw(st.integers(0, len(cells) - 1))
    wrong = ["nan", "inf", "", "1e400", "-5", "x", '"', "samples", cells[column].lstrip("-")]
    cells[column] = draw(st.sampled_from(wrong))
    lines[row] = ",".join(cells)
    return ("\n".join(lines) + "\n").encode()


def _columns(draw: Callable[..., Any], content: bytes) -> bytes:
    rows = [line.split(",") for line in content.decode().splitlines()]
    column = draw(st.integers(0, len(rows[0]) - 1))
    return ("\n".join(",".join(r[:column] + r[column + 1 :]) for r in rows) + "\n").encode()


# Training has told the processor to take denormal numbers for zeros.
_FLOATS = st.floats(allow_subnormal=False)
_SCALARS = st.none() | st.booleans() | st.integers() | _FLOATS | st.text(max_size=5)
_JSON = st.one_of(
    _SCALARS,
    st.lists(_SCALARS, max_size=2),
    st.dictionaries(st.text(max_size=5), _SCALARS, max_size=2),
)


def _fields(draw: Callable[..., Any], content: bytes) -> bytes:
    """A value of a manifest, or of its configuration, is another or is gone."""
    manifest = json.loads(content)
    within = draw(st.sampled_from([manifest, manifest["configuration"]]))
    field = draw(st.sampled_from(sorted(within)))
    if draw(st.booleans()):
        del within[field]
    else:
        within[field] = draw(_JSON)
    return json.dumps(manifest).encode()


def _whole(draw: Callable[..., Any], content: bytes) -> bytes:
    """Other JSON altogether."""
    return json.dumps(draw(_JSON)).encode()


BYTES = [_bits, _cut, _hole, _longer]
TABLE = [*BYTES, _windows, _rows, _cells, _columns]
MANIFEST = [*BYTES, _windows, _fields, _whole]


# ------------------------------------------------------------------------------ doors of files


Damage = Callable[[Callable[..., Any], bytes], bytes]


class Door(NamedTuple):
    """How a file is read, and how it is damaged."""

    file: Callable[[], Path]
    read: Callable[[Path], Any]
    damages: Sequence[Damage]


OTHER = tiny.TINY.__class__(**{**tiny.TINY.configuration, "seed": 4})


def _model(file: Path) -> Any:
    model, manifest = models.read(file)
    return {k: v.tolist() for k, v in model.state_dict().items()}, manifest


def _checkpoint(file: Path) -> Any:
    """What a run that goes on from it is."""
    with checkpoints.locked(tiny.TINY):
        going_on = Job(tiny.TINY, tiny.IMAGES)
        going_on._resume(500)
    return repr(going_on.training.state())


def _paper(file: Path) -> Any:
    curves._read_constant.cache_clear()
    return curves.paper_figure(file.stem).to_csv()


DOORS = {
    "curve": Door(tiny.curve, lambda file: curves.read(file).table.to_csv(), TABLE),
    "manifest": Door(
        lambda: tiny.curve().with_suffix(".json"),
        lambda file: curves.read(file.with_suffix(".csv")).manifest,
        MANIFEST,
    ),
    "checkpoint": Door(tiny.checkpoint, _checkpoint, BYTES),
    "model": Door(
        lambda: paths.model(paths.local(), tiny.TINY.study, tiny.TINY.name), _model, BYTES
    ),
    "paper's curves": Door(lambda: paths.paper() / "figure3.csv", _paper, TABLE),
    "reestimates": Door(paths.reestimates, lambda _: reestimates.read().to_csv(), TABLE),
}


def prepare(folder: Path) -> None:
    """A project here with two trained runs, their models and the paper's curves."""
    root = paths.root() / "results"
    for name in ("paper", "reestimates"):
        shutil.copytree(root / name, folder / "results" / name)
    os.chdir(folder)
    for run in (tiny.TINY, OTHER):
        Job(run, tiny.IMAGES).train(200)
        export(run)


def refusal(read: Callable[[], object]) -> str | None:
    """The clear error with which something is refused; None if it is taken."""
    try:
        read()
    except CLEAR as error:
        return str(error)
    return None


def try_file(kind: str, data: st.DataObject) -> None:
    """Damage a file, or put another in its place; AssertionError if that is not met rightly."""
    door = DOORS[kind]
    file = door.file()
    good = file.read_bytes()
    right = door.read(file)
    kinds: list[Any] = [*door.damages, "gone"]
    others = [f for f in file.parent.glob(f"*{file.suffix}") if f != file]
    how = data.draw(st.sampled_from(kinds + ["another"] * bool(others)))
    if how == "gone":
        file.unlink()
    elif how == "another":
        shutil.copyfile(others[0], file)
    else:
        file.write_bytes(how(data.draw, good))
    same = file.exists() and file.read_bytes() == good
    answers: list[Any] = []
    try:
        told = refusal(lambda: answers.append(door.read(file)))
        if told is None:
            # Without its checkpoint a run begins again.
            begins = how == "gone" and kind == "checkpoint"
            assert answers == [right] or begins, "accepted, and another answer"
        else:
            assert not same, f"refused, and nothing was wrong: {told}"
            assert file.stem in told, f"names no file: {told}"
            assert len(told.splitlines()) == 1, f"more than a line: {told}"
            assert REMEDY.search(told), f"names no remedy: {told}"
        OUTCOMES[kind, "refused" if told else "right"] += 1
    finally:
        file.write_bytes(good)


# ------------------------------------------------------------------------------ configurations

_VALUES = st.one_of(
    st.integers(-3, 10**6).map(str),
    _FLOATS.map(str),
    st.sampled_from(["adam", "A", "binary", "bfloat16", "true", "no", "", "gaussian", "=", "é"]),
    st.text(max_size=4),
)
_SETTINGS = [*tiny.TINY.configuration, "nonsense", ""]
_NAMES = st.one_of(
    st.sampled_from(["mnist-nz3-aevb-seed0", "freyface-nz2-wake-sleep-seed1", "n1000-mcem-seed0"]),
    st.from_regex(r"(mnist|freyface|mnis)-nz[0-9-]{1,3}-(aevb|mcem|foo)-seed-?\d{1,2}"),
    st.text(max_size=20),
)


def try_configuration(data: st.DataObject) -> None:
    """A run by any name, with any settings: refused, or a run whose command makes it again."""
    name = data.draw(_NAMES)
    study = data.draw(st.sampled_from([None, "mine", "figure2", "../x", "", "a b"]))
    settings = data.draw(
        st.lists(st.builds("{}={}".format, st.sampled_from(_SETTINGS), _VALUES), max_size=3)
    )
    try:
        run = names.parse(name, study, settings)
        command = names.command(run, 100)
    except ConfigurationError:
        OUTCOMES["configuration", "refused"] += 1
        return
    words = command.split()
    options = [words[k + 1] for k, word in enumerate(words) if word == "--set"]
    again_in = words[words.index("--study") + 1] if "--study" in words else None
    assert names.parse(words[2], again_in, options) == run
    assert (
        paths.curve(paths.local(), run.study, run.name)
        .resolve()
        .is_relative_to(paths.local().resolve())
    )
    OUTCOMES["configuration", "right"] += 1


# --------------------------------------------------- checkpoints that are whole, of other content


def try_content(data: st.DataObject) -> None:
    """An entry of a checkpoint is gone, or of another shape or kind: refused before a step."""
    file = tiny.checkpoint()
    good = file.read_bytes()
    content = checkpoints.read(file)
    state = content["training"]
    parts = {
        "file": content,
        "training": state,
        "parameters": state["parameters"],
        "ascent": state["ascents"]["model"],
        **state["ascents"]["model"]["accumulators"],
    }
    part = data.draw(st.sampled_from(sorted(parts)))
    within = parts[part]
    field = data.draw(st.sampled_from(sorted(within)))
    change = data.draw(st.sampled_from(["gone", "empty", "word", "smaller"]))
    if change == "gone":
        del within[field]
    elif change == "empty":
        within[field] = {}
    elif change == "word":
        within[field] = "word"
    elif isinstance(within[field], torch.Tensor):
        within[field] = within[field].flatten()[:1]
    else:
        within[field] = None
    checkpoints.write(file, content)
    try:
        told = refusal(partial(_checkpoint, file))
        if told is None:
            assert (part, field) == ("training", "memory"), f"{field} of {part} is {change}: taken"
        else:
            assert file.stem in told
            assert len(told.splitlines()) == 1
        OUTCOMES["checkpoint's content", "refused" if told else "right"] += 1
    finally:
        file.write_bytes(good)


KINDS: dict[str, Callable[[st.DataObject], None]] = {
    **{kind: partial(try_file, kind) for kind in DOORS},
    "configuration": try_configuration,
    "checkpoint's content": try_content,
}


def cases(kind: str, number: int, seed: int | None = None) -> None:
    """Try so many cases of a kind, in the project that `prepare` made."""
    settings = hypothesis.settings(
        max_examples=number,
        derandomize=seed is None,
        deadline=None,
        database=None,
        suppress_health_check=list(hypothesis.HealthCheck),
        phases=[hypothesis.Phase.generate],
    )

    def case(data: st.DataObject) -> None:
        KINDS[kind](data)

    test = settings(hypothesis.given(st.data())(case))
    if seed is not None:
        test = hypothesis.seed(seed)(test)
    test()


def attack(folder: Path, number: int, seed: int) -> dict[str, object]:
    """Try so many cases, of every kind alike.

    Returns:
        Counts by kind; and in words what was wrong, which should be nothing.
    """
    prepare(folder)
    wrong = []
    OUTCOMES.clear()
    for kind in KINDS:
        try:
            cases(kind, -(-number // len(KINDS)), seed)
        except Exception as error:
            wrong.append(f"{kind}: {type(error).__name__}: {error}")
    by_kind = {
        kind: {"refused": OUTCOMES[kind, "refused"], "right": OUTCOMES[kind, "right"]}
        for kind in KINDS
    }
    total = OUTCOMES.total()
    return {"cases": total, "seed": seed, "by_kind": by_kind, "wrong": wrong}
