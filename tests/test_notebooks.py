"""What results show in a notebook: their own numbers, and a picture that is one."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

import rim_lensing as rl
from rim_lensing.notebooks import as_html, lens_table
from rim_lensing.sampling.lens_chain import LensChain


def pictures(html: str) -> list[Image.Image]:
    found = re.findall(r'src="data:image/png;base64,([^"]+)"', html)
    return [Image.open(io.BytesIO(base64.b64decode(each))) for each in found]


class Rows(HTMLParser):
    """Collects the cells of all tables, and sees that every tag is closed."""

    def __init__(self, html: str):
        super().__init__()
        self.cells, self.open = [], []
        self.feed(html)
        assert not self.open

    def handle_starttag(self, tag, attributes):
        if tag != "img":
            self.open.append(tag)
        if tag in ("td", "th"):
            self.cells.append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1] in ("td", "th"):
            self.cells[-1] += data


def test_words_are_escaped_and_long_texts_fold():
    html = as_html("a < b", {"x & y": "<1>"}, folded={"More": ["p < 0.001"], "None": []})
    assert Rows(html).cells == ["x & y", "<1>"]
    assert "<b>a &lt; b</b>" in html and html.count("<details>") == 1
    assert "<summary>More</summary><ul><li>p &lt; 0.001</li></ul>" in html


def test_a_figure_is_a_small_picture():
    figure = Figure(figsize=(4, 2))
    figure.subplots().plot([0, 1])
    (picture,) = pictures(as_html("t", {}, figure=figure))
    assert picture.format == "PNG" and picture.size == (260, 130)


def test_a_parameter_without_an_error_is_held():
    rows = lens_table(["theta_E", "slope"], [1.25, 1.0], [0.002, 0.0])
    assert rows == [
        ["lens", "value", "std"],
        ["theta_E", "1.2500", "0.002"],
        ["slope", "1.0000", "held"],
    ]


def test_a_reconstruction_shows_lens_and_picture(linear_model, mock):
    lens = {"theta_E": 1.1, "e1": 0.2, "x": 0.03}
    result = linear_model.reconstruct(**mock(lens), lens=lens)
    cells = Rows(result._repr_html_()).cells
    assert cells[cells.index("theta_E") + 1] == "1.1000"
    assert cells[cells.index("chi^2 per pixel") + 1] == f"{result.chi2:.3f}"
    assert len(pictures(result._repr_html_())) == 1


def test_a_mass_model_shows_its_parameters():
    cells = Rows(rl.MassModel(lens=rl.SIE(1.2, e1=0.1), shear=rl.Shear(0.03))._repr_html_()).cells
    assert cells[cells.index("lens.theta_E") + 1] == "1.2000"
    assert cells[cells.index("shear.gamma1") + 1] == "0.0300"


@pytest.mark.parametrize("batch", [False, True])
def test_an_observation_shows_what_is_used(batch):
    image = np.random.default_rng(0).standard_normal((2, 8, 8) if batch else (8, 8))
    mask = np.ones(image.shape, bool)
    mask[..., 0] = False
    html = rl.Observation(image, 1.0, 0.1, mask, pixel_scale=0.2, unit="Jy")._repr_html_()
    cells = Rows(html).cells
    assert cells[cells.index("used") + 1] == "87.5%" and "Jy" in cells
    assert len(pictures(html)) == (0 if batch else 1)


def test_a_chain_shows_its_verdict():
    walkers = np.random.default_rng(0).normal([1.2, 0, 0, 0, 0, 0, 0], 0.01, (60, 16, 7))
    chain = LensChain(walkers, np.zeros((60, 16)), 10, 0.3, 1.0, "rim", "emcee")
    html = chain._repr_html_()
    cells = Rows(html).cells
    assert cells[cells.index("theta_E") + 1] == f"{chain.mean[0]:.4f}"
    assert chain.verdict in cells and len(pictures(html)) == 1
