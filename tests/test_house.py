"""The rooms of the package, from the ground up: each imports only from rooms below it."""

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import rim_lensing

PACKAGE = Path(rim_lensing.__file__).parent
FLOORS = (
    ("blas_threads", "forks", "notebooks", "plain_numbers", "program"),
    ("backend", "files", "tensorflow_messages"),
    ("provenance", "problems"),
    ("lensing", "galaxies"),
    ("forward_model", "figures"),
    ("observation", "inversion", "networks", "demo"),
    ("simulation",),
    ("metrics", "lens_light", "preparation", "results"),
    ("reconstruction",),
    ("lens_fit",),
    ("cutout_fit", "visibility_fit"),
    ("sampling", "survey", "zoo"),
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


def test_the_table_of_rooms_is_that_of_the_house():
    """In CONTRIBUTING.md, from the top down; a row may hold several rooms, and so may a floor."""
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text()
    table = text.split("| floor | room |")[1].split("\n\n")[0].splitlines()[2:]
    rows = [re.findall(r"`(\w+)/?`", row.split("|")[2]) for row in table]
    rooms = [room for row in rows for room in row]
    assert sorted(rooms) == sorted(set(FLOOR) - {"__main__"})
    floors = [FLOOR[room] for room in rooms]
    assert floors == sorted(floors, reverse=True)


def test_every_file_that_contributing_names_is_there():
    text = (PACKAGE.parent / "CONTRIBUTING.md").read_text()
    named = set(re.findall(r"`((?:\w+/)*\w+\.py)`", text))
    missing = {
        name
        for name in named
        if not any((root / name).exists() for root in (PACKAGE, PACKAGE.parent))
    }
    assert not missing
