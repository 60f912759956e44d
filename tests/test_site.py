"""The pages of the site: what they name exists. That it builds is seen by `.ci/run`."""

import re
from pathlib import Path

import pytest

import rim_lensing

ROOT = Path(__file__).parents[1]
PAGES = sorted(ROOT.glob("docs/**/*.md"))
NAMES = {page: str(page.relative_to(ROOT / "docs")) for page in PAGES}


def test_the_api_has_every_public_name_once():
    shown = re.findall(
        r"^\.\. auto\w+:: rim_lensing\.(\w+)$", (ROOT / "docs/api.md").read_text(), re.M
    )
    assert sorted(shown) == sorted(set(rim_lensing.__all__) - {"__version__"})


@pytest.mark.parametrize("page", PAGES, ids=NAMES.get)
def test_every_file_that_a_page_names_is_there(page):
    named = re.findall(r"`((?:\w+/)+\w+\.(?:py|md|json))`", page.read_text())
    missing = [
        name
        for name in named
        if not any((root / name).exists() for root in (ROOT, ROOT / "rim_lensing"))
    ]
    assert not missing


def test_every_function_of_the_method_is_where_the_page_says():
    text, rows = (ROOT / "docs/method.md").read_text(), 0
    for names, file in re.findall(r"((?:`[\w.]+`(?:, | and )?)+) \(`([\w/]+\.py)`", text):
        source = (ROOT / "rim_lensing" / file).read_text()
        for name in re.findall(r"`([\w.]+)`", names):
            for part in name.split("."):
                assert re.search(rf"^\s*(?:class|def) {part}\b|\"{part}\"", source, re.M), (
                    name,
                    file,
                )
                rows += 1
    assert rows >= 15


def test_every_page_is_in_a_table_of_contents():
    listed = {"index"}
    for page in PAGES:
        for block in re.findall(r"```\{toctree\}\n(.*?)```", page.read_text(), re.S):
            entries = [line for line in block.splitlines() if line and not line.startswith(":")]
            folder = page.parent.relative_to(ROOT / "docs")
            listed |= {(folder / entry).as_posix() for entry in entries}
    assert listed == {name.removesuffix(".md") for name in NAMES.values()}


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
