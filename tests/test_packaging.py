import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import rim_lensing

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """What would be installed."""
    base = tmp_path_factory.mktemp("build")
    command = [sys.executable, "setup.py", "-q", "build", "--build-base", str(base)]
    subprocess.run(command, cwd=ROOT, check=True)
    return base / "lib" / "rim_lensing"


def relative_files(folder, pattern="*"):
    return {
        path.relative_to(folder).as_posix()
        for path in folder.rglob(pattern)
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_all_modules_are_installed(built):
    assert relative_files(built, "*.py") == relative_files(ROOT / "rim_lensing", "*.py")


def test_the_zoo_is_installed_whole(built):
    assert relative_files(built / "pretrained") == relative_files(ROOT / "pretrained")


def test_the_demo_lens_is_installed(built):
    for name in ("mock_lens.fits", "raw_lens.fits"):
        assert (built / "demo" / name).is_file()


def test_the_recipes_of_the_validation_sets_are_installed(built):
    shipped = relative_files(ROOT / "rim_lensing" / "simulation" / "validation_sets")
    assert shipped
    assert relative_files(built / "simulation" / "validation_sets") == shipped


def setup_says(*what):
    command = [sys.executable, "setup.py", "-q", *what]
    return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout


def test_version_is_the_packages():
    assert setup_says("--version").split()[-1] == rim_lensing.__version__


def imported_modules(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module


def test_imports_are_declared():
    declared = set(re.findall(r'"([a-z0-9-]+)>=', (ROOT / "setup.py").read_text()))
    imported = {
        module.partition(".")[0]
        for path in (ROOT / "rim_lensing").rglob("*.py")
        for module in imported_modules(path)
    }
    ours = imported - sys.stdlib_module_names - {"rim_lensing"}
    names = {"PIL": "pillow", "yaml": "pyyaml"}
    names |= {"tensorflow_probability": "tensorflow-probability", "mpl_toolkits": "matplotlib"}
    assert {names.get(name, name) for name in ours} <= declared


def test_public_names_exist():
    for name in rim_lensing.__all__:
        assert getattr(rim_lensing, name) is not None


def test_readme_links_exist():
    text = (ROOT / "README.md").read_text()
    for link in re.findall(r"\]\(([^)#]+)\)", text):
        assert link.startswith("https://") or (ROOT / link).exists(), link


def test_ci_runs_the_readmes_test_command():
    command = next(
        line for line in (ROOT / ".ci" / "run").read_text().splitlines() if "[test]" in line
    )
    assert command in [line.strip() for line in (ROOT / "README.md").read_text().splitlines()]
