"""Figures hold the arrays that they were given, where they belong on the sky."""

import corner
import numpy as np
import pytest
from matplotlib.figure import Figure

from rim_lensing.figures import (
    coverage_curves,
    cutout_fit,
    learning_curve,
    lens_contours,
    lens_fit,
    lens_predictions,
    mock_reconstructions,
    summary,
)
from rim_lensing.lensing.grids import PixelGrid

GENERATOR = np.random.default_rng(0)
CIRCLE = np.stack([np.cos(np.linspace(0, 6.3, 50)), np.sin(np.linspace(0, 6.3, 50))], axis=-1)


def system(**changes) -> dict:
    image = GENERATOR.uniform(0, 1e-19, (16, 16))
    image[2, 3] = np.nan
    return {
        "image": image,
        "noise": np.full((16, 16), 1e-20),
        "model_image": GENERATOR.uniform(0, 1e-19, (16, 16)),
        "source": GENERATOR.uniform(0, 1e-19, (12, 12)),
        "image_pixel_scale": 0.3,
        "source_grid": PixelGrid(12, 0.2),
        "critical_curves": [CIRCLE],
        "caustics": [0.2 * CIRCLE, 5 * CIRCLE],
        "title": "a model",
    } | changes


def arguments(**changes) -> dict:
    return system(**{"chi2_history": np.array([100.0, 5.0, 1.1])} | changes)


def test_summary_holds_the_arrays(tmp_path):
    given = arguments()
    figure = summary(**given)
    assert isinstance(figure, Figure) and figure.get_suptitle() == "a model"
    data, model, residuals, source, chi2 = figure.axes[:5]
    panels = {
        data: given["image"],
        model: given["model_image"],
        residuals: (given["image"] - given["model_image"]) / given["noise"],
        source: given["source"],
    }
    for axis, array in panels.items():
        drawn = axis.images[0]
        np.testing.assert_array_equal(np.ma.filled(drawn.get_array(), np.nan), array)
        assert drawn.origin == "lower" and drawn.colorbar is not None
        half = array.shape[0] * (0.2 if axis is source else 0.3) / 2
        np.testing.assert_allclose(drawn.get_extent(), (-half, half, -half, half))
        np.testing.assert_allclose((*axis.get_xlim(), *axis.get_ylim()), drawn.get_extent())
        assert "arcsec" in axis.get_xlabel() and "arcsec" in axis.get_ylabel()
    assert data.images[0].get_clim() == model.images[0].get_clim()
    assert residuals.images[0].get_clim() == (-5, 5)
    np.testing.assert_array_equal(model.lines[0].get_xydata(), CIRCLE)
    assert len(source.lines) == 2 and not data.lines
    np.testing.assert_array_equal(chi2.lines[0].get_ydata(), given["chi2_history"])
    np.testing.assert_array_equal(chi2.lines[0].get_xdata(), [1, 2, 3])
    figure.savefig(tmp_path / "summary.png")


def test_summary_of_a_source_with_standard_deviations(tmp_path):
    given = arguments(source_std=GENERATOR.uniform(1e-20, 2e-20, (12, 12)), chi2_history=[0.7654])
    figure = summary(**given)
    deviation, significance = figure.axes[4:6]
    np.testing.assert_array_equal(deviation.images[0].get_array(), given["source_std"])
    expected = given["source"] / given["source_std"]
    np.testing.assert_array_equal(significance.images[0].get_array(), expected)
    assert deviation.images[0].get_extent() == significance.images[0].get_extent()
    assert figure.get_suptitle() == "a model, $\\chi^2$ per pixel 0.765"
    figure.savefig(tmp_path / "summary.png")


@pytest.mark.parametrize("chi2", [[1.0], [1.02, 1.01, 1.0], [1e6, 1e3, 1.0]])
def test_summary_takes_any_history(tmp_path, chi2):
    figure = summary(**arguments(chi2_history=np.array(chi2), critical_curves=(), title=""))
    figure.savefig(tmp_path / "summary.png")


@pytest.mark.parametrize("rows", [1, 3])
def test_mock_reconstructions_hold_the_arrays(tmp_path, rows):
    image, model = GENERATOR.uniform(0, 3, (2, rows, 16, 16))
    truth, source = GENERATOR.uniform(0, 1, (2, rows, 12, 12))
    figure = mock_reconstructions(image, np.full(image.shape, 0.1), model, truth, source)
    axes = np.array(figure.axes[: 6 * rows]).reshape(rows, 6)
    for i in range(rows):
        peak = image[i].max()
        panels = (image[i] / peak, model[i] / peak, (image[i] - model[i]) / 0.1)
        for axis, array in zip(
            axes[i], (*panels, truth[i], source[i], source[i] - truth[i]), strict=True
        ):
            np.testing.assert_allclose(axis.images[0].get_array(), array)
            assert axis.images[0].origin == "lower"
    figure.savefig(tmp_path / "mocks.png")


def test_lens_predictions_hold_the_points(tmp_path):
    true, lens = GENERATOR.uniform(-1, 1, (2, 20, 7))
    names = [f"p{i}" for i in range(7)]
    figure = lens_predictions(true, lens, GENERATOR.uniform(0.01, 0.1, 20), names)
    panels = figure.axes[:7]
    assert [axis.get_title() for axis in panels] == names
    for i, axis in enumerate(panels):
        points = axis.collections[0].get_offsets()
        np.testing.assert_allclose(points, np.stack([true[:, i], lens[:, i]], axis=-1))
    figure.savefig(tmp_path / "a.png")


def test_coverage_curves_hold_the_curves(tmp_path):
    confidence = np.linspace(0.1, 0.9, 9)
    coverages = {title: GENERATOR.uniform(0, 1, (9, 2)) for title in ("total", "half")}
    figure = coverage_curves(confidence, coverages, ["a", "b"])
    for axis, (title, coverage) in zip(figure.axes, coverages.items(), strict=True):
        assert axis.get_title() == title
        diagonal, *lines = axis.lines
        np.testing.assert_array_equal(diagonal.get_xdata(), diagonal.get_ydata())
        for line, values in zip(lines, coverage.T, strict=True):
            np.testing.assert_array_equal(line.get_xydata(), np.stack([confidence, values], -1))
    figure.savefig(tmp_path / "a.png")


def test_values_that_are_alike_are_not_drawn_on_a_logarithmic_axis():
    lines = {"all": [1.01, 1.0, 0.99]}
    narrow = learning_curve([1, 2, 3], [("chi2", lines, "log")])
    assert narrow.axes[0].get_yscale() == "linear"
    wide = learning_curve([1, 2], [("chi2", {"all": [5.0, 1.0]}, "log")])
    assert wide.axes[0].get_yscale() == "log"


def test_learning_curve_has_a_line_per_label(tmp_path):
    lines = {"all": [0.5, 0.4, 0.3], "noise 1-3%": [0.6, 0.5, 0.45]}
    figure = learning_curve([10, 20, 30], [("errors", lines, "log"), ("hits", lines, "linear")])
    for axis, scale in zip(figure.axes, ("log", "linear"), strict=True):
        assert axis.get_yscale() == scale
        for line, (label, values) in zip(axis.lines, lines.items(), strict=True):
            assert line.get_label() == label
            np.testing.assert_array_equal(line.get_xydata(), np.stack([[10, 20, 30], values], -1))
    figure.savefig(tmp_path / "a.png")


def test_contours_hold_68_and_95_percent(monkeypatch):
    real, levels = corner.corner, []

    def seen(*arguments, **options):
        levels.append(options["levels"])
        return real(*arguments, **options)

    monkeypatch.setattr(corner, "corner", seen)
    draws = GENERATOR.standard_normal((2, 500, 2))
    lens_contours(draws, ["a", "b"], ["theta_E", "e1"])
    assert levels == [(0.68, 0.95)] * 2


def test_lens_fit_holds_the_arrays():
    rows = [system(title=title) for title in ("round 0", "round 1")]
    # The others are colour bars.
    panels = [axis for axis in lens_fit(rows).axes if axis.get_xlabel()]
    axes = np.array(panels).reshape(2, 4)
    for line, row in zip(axes, rows, strict=True):
        residuals = (row["image"] - row["model_image"]) / row["noise"]
        arrays = (row["image"], row["model_image"], residuals, row["source"])
        for axis, array in zip(line, arrays, strict=True):
            drawn = axis.images[0]
            np.testing.assert_array_equal(np.ma.filled(drawn.get_array(), np.nan), array)
            half = array.shape[0] * (0.2 if axis is line[3] else 0.3) / 2
            np.testing.assert_allclose(drawn.get_extent(), (-half, half, -half, half))
        assert line[2].images[0].get_clim() == (-5, 5)
        np.testing.assert_array_equal(line[1].lines[0].get_xydata(), CIRCLE)
        assert len(line[3].lines) == 2 and not line[0].lines


def test_cutout_fit_holds_the_arrays(tmp_path):
    given = system(
        cutout=GENERATOR.uniform(0, 1e-17, (16, 16)), light=GENERATOR.uniform(0, 1e-17, (16, 16))
    )
    figure = cutout_fit(**given)
    cutout, light, data, model, residuals, source = figure.axes[:6]
    assert cutout.images[0].norm(5e-20) / cutout.images[0].norm(1e-18) == pytest.approx(
        np.arcsinh(1) / np.arcsinh(20)
    )
    assert cutout.images[0].get_clim() == light.images[0].get_clim()
    pairs = ((cutout, "cutout"), (light, "light"))
    for axis, name in (*pairs, (data, "image"), (model, "model_image"), (source, "source")):
        drawn = np.ma.filled(axis.images[0].get_array(), np.nan)
        np.testing.assert_array_equal(drawn, given[name])
    drawn = np.ma.filled(residuals.images[0].get_array(), np.nan)
    expected = (given["image"] - given["model_image"]) / given["noise"]
    np.testing.assert_array_equal(drawn, expected)
    # The core of the galaxy may be brighter than all arcs: the model sets the colours.
    top = pytest.approx(max(given["model_image"].max(), 5e-20))
    assert data.images[0].get_clim() == model.images[0].get_clim() == (0, top)
    np.testing.assert_array_equal(model.lines[0].get_xydata(), CIRCLE)
    assert len(source.lines) == 2 and figure.get_suptitle() == "a model"
    figure.savefig(tmp_path / "cutout.png")


def test_what_is_no_panel_is_refused():
    with pytest.raises(TypeError, match="critical_curve"):
        lens_fit([system(critical_curve=[CIRCLE])])


@pytest.mark.parametrize("stretch", ["linear", "asinh"])
def test_data_and_model_have_the_same_colours(stretch):
    figure = summary(**arguments(), stretch=stretch)
    data, model, _, source = figure.axes[:4]
    assert data.images[0].get_clim() == model.images[0].get_clim()
    faint, bright = 5e-20, 1e-19  # 5 sigma, where asinh turns, and 10.
    expected = 0.5 if stretch == "linear" else np.arcsinh(1) / np.arcsinh(2)
    for axis in (data, model, source):
        norm = axis.images[0].norm
        assert norm(faint) / norm(bright) == pytest.approx(expected)


def test_an_unknown_stretch_is_refused():
    with pytest.raises(ValueError, match="`stretch` must be one of .*Received: 'log'"):
        summary(**arguments(), stretch="log")


def test_colour_bars_say_the_unit():
    figure = summary(**arguments(), unit="MJy/sr")
    labels = [axis.images[0].colorbar.ax.get_ylabel() for axis in figure.axes[:4]]
    assert labels == ["MJy/sr", "MJy/sr", "sigma", "MJy/sr, as in the image"]


def test_the_scale_bar_is_as_long_as_it_says():
    """As drawn: its pixels in the picture, over those of the panel."""
    figure = summary(**arguments())
    figure.canvas.draw()
    for axis, width in ((figure.axes[0], 16 * 0.3), (figure.axes[3], 12 * 0.2)):
        (bar,) = (each for each in axis.artists if hasattr(each, "size_bar"))
        drawn = bar.size_bar.get_window_extent().width / axis.get_window_extent().width
        said = float(bar.txt_label.get_text().removesuffix('"'))
        assert drawn * width == pytest.approx(said, rel=0.02)


def test_the_compass_points_where_it_is_told():
    figure = summary(**arguments(), north=(np.pi / 2, np.pi))
    arrows = {each.get_text(): each.get_position() for each in figure.axes[0].texts}
    north, east = (np.array(arrows[letter]) for letter in "NE")
    foot = np.array([north[0], east[1]])
    assert north[1] > foot[1] and east[0] < foot[0]
    assert not summary(**arguments()).axes[0].texts


def test_a_figure_is_a_pdf_whose_letters_are_letters(tmp_path):
    summary(**arguments(), stretch="asinh", north=(1.0, 2.57)).savefig(tmp_path / "a.pdf")
    content = (tmp_path / "a.pdf").read_bytes()
    assert content.startswith(b"%PDF") and b"/Font" in content
