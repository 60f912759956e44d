"""The page over a survey: what it says, what it must not run, and how it looks in a browser."""

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from urllib.parse import quote

import numpy as np
import pytest
from astropy.table import Table
from pyarrow import parquet

from rim_lensing.survey.page import write_index, write_lens_page
from rim_lensing.survey.results_table import as_columns, write_results
from rim_lensing.survey.rows import FAILED, Record, folder_of
from rim_lensing.survey.thumbnails import SIDE, write_thumbnail

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
EVIL = "</script><script>document.title='broken'</script><img src=x onerror=\"alert('&')\">"


def record(name: str, **changes) -> Record:
    given = {
        "name": name,
        "folder": folder_of(name),
        "arguments": ["fit", f"/data/{name}.fits"],
        "verdict": "converged",
        "reason": "residuals are noise",
        "numbers": {"theta_E": 1.25, "theta_E_std": 0.0125, "used_pixels": 100},
        "files": ["summary.png", "thumbnail.png"],
    }
    return Record(**given | changes)


FAILURE = record("gone", verdict=FAILED, failure="file not found", numbers={}, files=["log.txt"])


class Elements(HTMLParser):
    """Collects tags and their attributes, as a browser reads them."""

    def __init__(self, text: str):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.found)


def written(records, folder, carried=None) -> str:
    columns, _ = as_columns(records, carried or {}, {})
    write_index(columns, list(carried or {}), folder, "a survey")
    return (folder / "index.html").read_text()


def test_names_and_texts_of_the_table_are_data(tmp_path):
    carried = {"note": {EVIL: EVIL}}
    text = written([record(EVIL, reason=EVIL, verdict=EVIL)], tmp_path, carried)
    elements = Elements(text)
    assert (elements.count("script"), elements.count("img")) == (2, 0)
    data = json.loads(re.search(r'id="data">(.*?)</script>', text, re.S).group(1))
    (row,) = data["rows"]
    found = dict(zip(data["columns"], row, strict=True))
    assert found["name"] == found["reason"] == found["note"] == EVIL
    assert re.fullmatch(r"lenses/[\w.+-]+", found["folder"])


def test_the_page_of_a_lens_holds_no_elements_of_its_texts(tmp_path):
    evil = record(EVIL, reason=EVIL, numbers={EVIL: EVIL}, files=[f"{EVIL}.png"], arguments=[EVIL])
    write_lens_page(evil, tmp_path)
    elements = Elements((tmp_path / "index.html").read_text())
    assert (elements.count("script"), elements.count("img")) == (0, 1)
    assert "onerror" not in dict(elements.found)["img"]
    write_lens_page(record("fine"), tmp_path)
    text = (tmp_path / "index.html").read_text()
    assert "<td>1.25 ± 0.013</td>" in text and "rim-lensing fit /data/fine.fits" in text


def test_results_have_a_row_for_each_and_nothing_where_there_is_none(tmp_path):
    records = [record("a"), FAILURE, record("b", numbers={"theta_E": 2.0, "model": "rim"})]
    carried = {"redshift": {"a": 0.5, "gone": None, "b": 0.7}}
    columns, about = as_columns(records, carried, {"theta_E": "arcsec"})
    write_results(columns, about, tmp_path)
    table = Table.read(tmp_path / "results.ecsv")
    assert list(table["name"]) == ["a", "gone", "b"]
    assert str(table["theta_E"].unit) == "arcsec"
    assert list(table["theta_E"].mask) == [False, True, False]
    assert list(table["used_pixels"].filled(0)) == [100, 0, 0]
    whole = parquet.read_table(tmp_path / "results.parquet").to_pydict()
    assert whole["theta_E"] == [1.25, None, 2.0]
    assert whole["used_pixels"] == [100, None, None]
    assert whole["model"] == [None, None, "rim"]
    assert whole["redshift"] == [0.5, None, 0.7]
    assert whole["failure"] == ["", "file not found", ""]


def test_a_thumbnail_has_five_panels(tmp_path):
    from PIL import Image

    plane = np.random.default_rng(0).normal(size=(120, 120))
    plane[3, 3] = np.nan
    noise, source = np.ones((120, 120)), np.eye(40)
    write_thumbnail(tmp_path / "a.png", plane, plane, noise, noise, source)
    with Image.open(tmp_path / "a.png") as image:
        assert image.size == (5 * SIDE, SIDE)
        model = np.asarray(image)[:, 2 * SIDE : 3 * SIDE]
    assert (model == model[0, 0]).all()
    write_thumbnail(tmp_path / "b.png", plane, plane, noise)
    with Image.open(tmp_path / "b.png") as image:
        rest = np.asarray(image)[:, 2 * SIDE :]
    assert (rest == rest[0, 0]).all()


def seen(folder, address: str = "index.html", size: str = "1700,1200") -> str:
    """Return the document of a page after its script, as headless Chromium has it."""
    done = subprocess.run(
        [
            *(CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", f"--window-size={size}"),
            *("--virtual-time-budget=5000", f"--user-data-dir={folder / 'profile'}", "--dump-dom"),
            f"file://{folder}/{address}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    return done.stdout


@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium")
def test_in_a_browser_rows_are_found_sorted_and_nothing_of_the_table_runs(tmp_path):
    verdicts = ("converged", "not noise")
    records = [
        record(f"lens {i}", verdict=verdicts[i % 2], numbers={"theta_E": 3 - i / 10_000})
        for i in range(10_000)
    ]
    records += [FAILURE, record(EVIL, numbers={"theta_E": 0.5, "theta_E_std": 0.0125})]
    written(records, tmp_path)
    whole = seen(tmp_path)
    assert "10002 of 10002 lenses" in whole
    assert "converged: 5001" in whole and "not noise: 5000" in whole and "failed: 1" in whole
    # Not all are elements, and no picture is loaded before it is in sight.
    assert 100 <= whole.count("<tr>") <= 500
    assert whole.count('loading="lazy"') >= 100
    state = {"query": "theta_E<2.00095 converged", "verdicts": ["converged"], "sort": "theta_E"}
    some = seen(tmp_path, f"index.html#{quote(json.dumps(state))}")
    # Of lens 9991 to 9999 those with an even number, and the evil one.
    assert "5 of 10002 lenses" in some
    assert "0.500 ± 0.013" in some
    first = re.search(r'<tbody id="rows"><tr><td><a href="([^"]+)">', some).group(1)
    assert first == f"lenses/{folder_of(EVIL)}/index.html"
    assert "<title>a survey</title>" in some and "<img src=x" not in some.split("</tbody>")[0]
