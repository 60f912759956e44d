"""The rooms of the package, from the ground up: each imports only from rooms below it."""

import ast
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import rim_lensing

PACKAGE = Path(rim_lensing.__file__).parent
FLOORS = (
    ("forks", "hdf5_files", "plain_numbers", "program", "whole_files"),
    ("backend", "tensorflow_messages", "tolerant_fits"),
    ("provenance", "problems"),
    ("lensing",),
    ("figures",),
    ("observation", "inversion", "networks", "simulation", "demo"),
    ("metrics",),
    ("reconstruction",),
    ("lens_fit",),
    ("sampling", "zoo"),
    ("training", "commands"),
    ("publishing", "cli"),
    ("__main__",),
)
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
MODULES = [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"]


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imported(path: Path) -> set[str]:
    """Return the modules of the package that a file imports, wherever in it."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "rim_lensing":
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                modules.add(name if as_file(name).exists() else node.module)
        elif isinstance(node, ast.Import):
            modules |= {each.name for each in node.names if each.name.startswith("rim_lensing.")}
    return modules - {"rim_lensing"}


def as_file(module: str) -> Path:
    return PACKAGE.joinpath(*module.split(".")[1:]).with_suffix(".py")


def test_every_room_has_a_floor():
    rooms = {room_of(path) for path in MODULES}
    assert rooms - {"pretrained"} == set(FLOOR)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_down(path):
    room = room_of(path)
    for module in imported(path):
        below = module.split(".")[1]
        assert below == room or FLOOR[below] < FLOOR[room], f"{room} imports {module}"


def test_no_modules_import_each_other_in_a_circle():
    graph = {path: {as_file(module) for module in imported(path)} for path in MODULES}
    TopologicalSorter(graph).prepare()


def test_an_import_that_runs_up_is_seen(tmp_path):
    path = tmp_path / "a.py"
    path.write_text("def f():\n    from rim_lensing.lens_fit.optimise import optimise_lens\n")
    assert imported(path) == {"rim_lensing.lens_fit.optimise"}
