"""The cells of the tutorials run, at small size where they have one."""

import ast
import re
from pathlib import Path

import pytest

TUTORIALS = Path(__file__).parents[1] / "docs" / "tutorials"
SIZES = {
    "reading_the_result": {"steps": 12},
    "survey": {"lenses": 1},
    "train": {"steps": 4, "galaxies": 4, "systems": 4},
}
"""What a cell that is tagged `parameters` sets, here."""


def cells(tutorial: str) -> list[tuple[str, str]]:
    """Return tags and code of a tutorial's cells."""
    text = (TUTORIALS / f"{tutorial}.md").read_text()
    found = re.findall(r"^```\{code-cell\}\n(?::tags: \[(.*)\]\n\n)?(.*?)^```$", text, re.M | re.S)
    assert len(found) == text.count("{code-cell}")
    return found


def run(tutorial: str, place: Path, monkeypatch) -> dict:
    """Run all cells in a folder, show what a notebook would, and return the names that are set."""
    monkeypatch.chdir(place)
    names, sizes = {}, dict(SIZES.get(tutorial, {}))
    for tags, code in cells(tutorial):
        *body, last = ast.parse(code).body
        shown = isinstance(last, ast.Expr)
        whole = ast.Module(body if shown else [*body, last], [])
        exec(compile(whole, tutorial, "exec"), names)
        if shown:
            value = eval(compile(ast.Expression(last.value), tutorial, "eval"), names)
            getattr(value, "_repr_html_", value.__repr__)()
        if "parameters" in tags:
            assert sizes.keys() <= names.keys()
            names |= sizes
            sizes = {}
    assert not sizes, "no cell is tagged as the one that sets them"
    return names


def test_every_tutorial_is_run():
    mine = {name for name in globals() if name.startswith("test_tutorial_")}
    assert mine == {f"test_tutorial_{page.stem}" for page in TUTORIALS.glob("*.md")}


@pytest.mark.slow
def test_tutorial_raw_cutout(tmp_path, monkeypatch):
    names = run("raw_cutout", tmp_path, monkeypatch)
    fit, truth = names["fit"], names["RAW_DEMO_LENS"]
    assert fit.mass_model["lens.theta_E"] == pytest.approx(truth["theta_E"], rel=0.02)
    assert (tmp_path / "result.fits").exists() and (tmp_path / "lens.json").exists()


@pytest.mark.slow
def test_tutorial_reading_the_result(tmp_path, monkeypatch):
    """What the page says of the two lenses is so."""
    names = run("reading_the_result", tmp_path, monkeypatch)
    rl, model = names["rl"], names["model"]
    assert rl.check_residuals(names["right"], model).consistent
    assert not rl.check_residuals(names["wrong"], model).consistent


@pytest.mark.slow
def test_tutorial_lens_models(tmp_path, monkeypatch):
    """There is no subhalo, and the page says so."""
    found = run("lens_models", tmp_path, monkeypatch)["found"]
    subhalo, lens = (found.mass_model.index(f"{name}.theta_E") for name in ("subhalo", "lens"))
    assert found.lens[subhalo] < 4 * found.std[subhalo] + 0.01
    assert found.lens[lens] == pytest.approx(1.30, abs=0.05)


def test_tutorial_other_packages(tmp_path, monkeypatch):
    """The image of one package is explained behind the lens of the other two."""
    pytest.importorskip("lenstronomy")
    names = run("other_packages", tmp_path, monkeypatch)
    assert names["result"].chi2 < 1.3
    back = names["rl"].from_pyautolens(names["profiles"])
    assert back.values == pytest.approx(names["lens"].values, abs=1e-3)
    assert names["rl"].read_coolest("lens.json").values == pytest.approx(names["lens"].values)


@pytest.mark.slow
def test_tutorial_survey(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    pytest.importorskip("pyarrow")
    results = run("survey", tmp_path, monkeypatch)["results"]
    assert list(results["name"]) == ["lens0", "lost"]
    assert results["verdict"][0] == "converged" and results["failure"][1] == "file not found"


@pytest.mark.slow
def test_tutorial_train(tmp_path, monkeypatch):
    names = run("train", tmp_path, monkeypatch)
    assert names["model"].image_grid.side == 16
