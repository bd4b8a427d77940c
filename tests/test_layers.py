"""The rooms of the library: what may import what."""

import ast
from pathlib import Path

import aevb

LIBRARY = Path(aevb.__file__).parent
# From the lowest to the highest; the rooms of one line may not import each other.
FLOORS = [
    {"errors", "paths", "markdown"},
    {"files"},
    {"data"},
    {"model"},
    {"inference"},
    {"learners"},
    {"results"},
    {"training"},
    {"clinic", "older"},
    {"comparison"},
    {"figures", "judge_command", "terminal"},
    {"cli"},
    {"__main__"},
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}


def imports(source: Path) -> set[str]:
    """The modules of the library that a file imports, such as `model.networks`."""
    found = set()
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "aevb":
            inside = node.module.removeprefix("aevb").removeprefix(".") if node.module else ""
            for alias in node.names:
                name = f"{inside}.{alias.name}".strip(".")
                folder = LIBRARY / name.replace(".", "/")
                is_module = folder.is_dir() or folder.with_suffix(".py").exists()
                found.add(name if is_module else inside)
    return found


def modules() -> dict[str, set[str]]:
    """What every module of the library imports, by its name."""
    return {
        ".".join(file.relative_to(LIBRARY).with_suffix("").parts).removesuffix(
            ".__init__"
        ): imports(file)
        for file in LIBRARY.rglob("*.py")
        if file != LIBRARY / "__init__.py"
    }


def test_every_room_has_a_floor() -> None:
    assert {name.split(".")[0] for name in modules()} == set(FLOOR)


def test_nothing_lower_imports_anything_higher() -> None:
    for name, imported in modules().items():
        room = name.split(".")[0]
        for other in imported:
            theirs = other.split(".")[0]
            assert theirs == room or FLOOR[theirs] < FLOOR[room], f"{name} imports {other}"


def test_within_a_room_no_module_imports_one_that_imports_it() -> None:
    graph = modules()

    def reached(name: str, seen: set[str]) -> set[str]:
        for other in graph.get(name, set()) - seen:
            if other.split(".")[0] == name.split(".")[0]:
                seen |= {other} | reached(other, seen | {other})
        return seen

    for name in graph:
        assert name not in reached(name, set()), name


def test_the_import_of_a_higher_module_is_seen(tmp_path: Path) -> None:
    file = tmp_path / "lower.py"
    file.write_text("from aevb import cli\nfrom aevb.training.job import start\nimport json\n")
    assert imports(file) == {"cli", "training.job"}
