"""What users of other packages get wrong, and what they bring: masks, slopes, keywords, noise."""

import json
from dataclasses import replace

import numpy as np
import pytest
from astropy.io import fits
from lenstronomy.LensModel.lens_model import LensModel

from rim_lensing import cli
from rim_lensing.commands.inputs import read_user_image
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.lensing.lens_parameters import LensParameters
from rim_lensing.observation.checks import check_observation
from rim_lensing.observation.masks import Mask

GRID = PixelGrid(20, 0.2)


def ring(batch: int = 1) -> np.ndarray:
    x, y = GRID.coordinates()
    image = np.exp(-0.5 * ((np.hypot(x, y) - 1.2) / 0.2) ** 2)
    return np.repeat(image[None], batch, axis=0)


def check(image, mask):
    return check_observation(image, 0.02, 0.1, np.zeros(7), mask, image_grid=GRID, psf_side=5)


def test_an_inverted_mask_is_told():
    x, y = GRID.coordinates()
    used = np.hypot(x, y) < 1.9
    # Some of the arcs' foot is outside: PyAutoLens's mask hides all but that.
    with pytest.raises(ValueError, match=r"The mask hides .*--mask-marks masked. Is it inverted\?"):
        check(ring()[0] + 0.2, ~used)
    with pytest.raises(ValueError, match=r"in 1 of 2 systems \(index 1\)"):
        check(ring(2) + 0.2, np.stack([used, ~used]))
    seen = check(ring()[0] + 0.2, Mask(~used, allow_hidden_arcs=True))
    np.testing.assert_array_equal(seen.mask[0], ~used)


@pytest.mark.filterwarnings("error")
def test_a_mask_of_the_other_kind_says_so():
    x, y = GRID.coordinates()
    used = np.hypot(x, y) < 1.9
    for pixels in (~used, (~used).astype("float32"), np.stack([~used])):
        seen = check(ring()[0] + 0.2, Mask(pixels, marks="masked"))
        np.testing.assert_array_equal(seen.mask[0], used)
    with pytest.raises(ValueError, match="The mask hides"):
        check(ring()[0] + 0.2, Mask(used, marks="masked"))
    with pytest.raises(ValueError, match="`marks` must be one of.*Received: 'hidden'"):
        Mask(used, marks="hidden")


def test_a_bright_star_that_is_masked_is_told_of_and_no_more():
    mask, image = np.ones((20, 20), bool), ring()[0]
    mask[:4, :4] = False
    image[:4, :4] = 50.0
    with pytest.warns(UserWarning, match="Is it inverted"):
        check(image, mask)


@pytest.mark.parametrize("command", ["reconstruct", "fit", "sample"])
def test_a_file_of_the_other_kind_on_the_command_line(command, tiny_folder, tmp_path, capsys):
    x, y = PixelGrid(16, 0.3).coordinates()
    radius = np.hypot(x, y)
    image = np.exp(-0.5 * ((radius - 1.2) / 0.3) ** 2)
    fits.PrimaryHDU(image).writeto(tmp_path / "image.fits")
    fits.PrimaryHDU((radius > 2).astype("int16")).writeto(tmp_path / "mask.fits")
    arguments = [tmp_path / "image.fits", "--noise", "0.02", "--psf", "0.1"]
    arguments += ["--pixel-scale", "0.3", "--mask", tmp_path / "mask.fits"]
    arguments = [command, *map(str, arguments), "--model", str(tiny_folder)]
    arguments += ["--output", str(tmp_path / "out")]
    arguments += ["--start" if command == "fit" else "--lens", "theta_E=1.2"]
    assert cli.main(arguments) == 2
    said = capsys.readouterr().err
    assert "--mask-marks masked" in said and "--allow-hidden-arcs" in said
    options = cli._parser().parse_args([*arguments, "--mask-marks", "masked"])
    grid = PixelGrid(16, 0.3)
    np.testing.assert_array_equal(read_user_image(options, grid).observation.mask, radius <= 2)
    options = cli._parser().parse_args([*arguments, "--allow-hidden-arcs"])
    seen = read_user_image(options, grid).observation
    assert seen.allow_hidden_arcs
    np.testing.assert_array_equal(seen.mask, radius > 2)


@pytest.mark.filterwarnings("error")
def test_a_mask_of_something_else_is_not():
    mask, image = np.ones((20, 20), bool), ring()[0]
    mask[:4, :4] = mask[9:11, 9:11] = False
    image[:4, :4] = 0.4
    image[9:11, 9:11] = np.nan
    check(image, mask)


def test_slopes_of_other_packages_are_named():
    with pytest.raises(ValueError, match="lenstronomy's gamma and PyAutoLens's slope are this one"):
        LensParameters(1.2, slope=2.0)


def test_lenstronomys_keywords_come_and_go():
    lens = LensParameters(1.2, 0.1, -0.05, 0.02, 0.03, 0.04, -0.01, slope=1.1)
    names, keywords = lens.to_lenstronomy()
    assert LensParameters.from_lenstronomy(keywords) == lens
    assert LensParameters.from_lenstronomy(lens.to_lenstronomy()) == lens
    with pytest.raises(ValueError, match="SIE or EPL and a SHEAR.*Received: .'SPEP'"):
        LensParameters.from_lenstronomy((["SPEP", "SHEAR"], keywords))
    for wrong in (keywords[0], names):
        with pytest.raises(ValueError, match="`kwargs_lens` must be a list of dictionaries, or"):
            LensParameters.from_lenstronomy(wrong)
    # kappa = (2 - t) / 2 (theta_E / R)^t, R^2 = q x^2 + y^2 / q along the axes.
    x, y = 0.7 - 0.02, 0.4 - 0.03
    angle = 0.5 * np.arctan2(-0.05, 0.1)
    along, across = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    modulus = np.hypot(0.1, 0.05)
    q = (1 - modulus) / (1 + modulus)
    radius = np.sqrt(q * along**2 + across**2 / q)
    expected = 0.45 * (1.2 / radius) ** 1.1
    assert LensModel(names).kappa(0.7, 0.4, keywords) == pytest.approx(expected, rel=1e-6)
    sie = LensParameters.from_lenstronomy([{"theta_E": 1.1, "center_y": 0.2}])
    assert sie == LensParameters(1.1, y=0.2)
    for wrong in ([{"gamma1": 0.1}], [keywords[0], keywords[0]], [*keywords, {"kappa": 0.1}]):
        with pytest.raises(ValueError, match="`kwargs_lens` must hold"):
            LensParameters.from_lenstronomy(wrong)
    for other in ({"theta_E": 1, "q": 0.6, "phi": 0.5}, {"theta_E": 1, "s_scale": 0.3}):
        with pytest.raises(ValueError, match="keywords center_x.*Received: (phi, q|s_scale)"):
            LensParameters.from_lenstronomy([other])
    with pytest.raises(ValueError, match="from_lenstronomy"):
        check_observation(
            ring()[0], 0.02, 0.1, {"theta_E": 1, "center_x": 0}, image_grid=GRID, psf_side=5
        )


def test_a_lens_seen_in_a_mirror_has_three_other_signs():
    """Right ascension grows to the left: lenstronomy's own maps of both lenses."""
    lens = LensParameters(1.2, 0.1, -0.05, 0.02, 0.03, 0.04, -0.01, slope=1.1)
    other = replace(lens, e2=-lens.e2, gamma2=-lens.gamma2, x=-lens.x)
    x, y = (axis.ravel() for axis in GRID.coordinates())
    names, keywords = lens.to_lenstronomy()
    model, mirrored = LensModel(names), other.to_lenstronomy()[1]
    np.testing.assert_allclose(model.kappa(-x, y, mirrored), model.kappa(x, y, keywords))
    alpha_x, alpha_y = model.alpha(x, y, keywords)
    np.testing.assert_allclose(model.alpha(-x, y, mirrored), (-alpha_x, alpha_y), atol=1e-12)


def test_a_lens_of_pyautolens_has_the_same_convergence():
    """kappa = (3 - s) / (1 + q) (b / xi)^(s - 1), xi^2 = x^2 + y^2 / q^2 (its PowerLaw)."""
    axis_ratio, slope, radius = 0.6, 2.2, 1.3
    modulus = (1 - axis_ratio) / (1 + axis_ratio)
    lens = LensParameters.from_pyautolens(
        (0.0, 0.0), (0.0, modulus), radius, slope, shear=(0.03, 0.02)
    )
    assert (lens.gamma1, lens.gamma2) == (0.03, 0.02)
    names, keywords = lens.to_lenstronomy()
    for x, y in ((0.5, 0.2), (-0.1, 1.4)):
        xi = np.hypot(x, y / axis_ratio)
        expected = (3 - slope) / (1 + axis_ratio) * (radius / xi) ** (slope - 1)
        assert LensModel(names).kappa(x, y, keywords) == pytest.approx(expected, rel=1e-6)
    shifted = LensParameters.from_pyautolens((0.2, -0.1), (0.1, 0.05), 1.0)
    assert (shifted.x, shifted.y, shifted.e1, shifted.e2) == (-0.1, 0.2, 0.05, 0.1)
    with pytest.raises(ValueError, match="`slope` must lie between 1 and 3"):
        LensParameters.from_pyautolens((0, 0), (0, 0), 1.0, slope=1.0)


@pytest.fixture
def run(tiny_mocks, tiny_folder, tmp_path):
    """Reconstruct the mock in a larger image; return what was said and what was written."""
    image = np.zeros((24, 25))
    image[4:20, 4:20] = tiny_mocks.image[0]
    fits.PrimaryHDU(image, fits.Header({"PIXSCALE": 0.3})).writeto(tmp_path / "image.fits")
    fits.PrimaryHDU(tiny_mocks.psf[0]).writeto(tmp_path / "psf.fits")

    def call(capsys, noise, lens, name, *more):
        arguments = ["reconstruct", str(tmp_path / "image.fits"), "--noise", str(noise)]
        arguments += ["--psf", str(tmp_path / "psf.fits"), "--lens", lens]
        arguments += ["--model", str(tiny_folder), "--output", str(tmp_path / name), *more]
        assert cli.main(arguments) == 0
        return capsys.readouterr(), json.loads((tmp_path / name / "metrics.json").read_text())

    return call


def test_a_variance_map_is_told_by_its_chi2(run, tiny_mocks, capsys):
    noise = float(tiny_mocks.noise[0, 0, 0])
    said, _ = run(capsys, noise**2, "theta_E=1.2", "out", "--crop-centre", "12.5,12.5")
    assert "Is the noise an rms" in said.err
    assert "(of 256 pixels; noise leaves 1 +- 0.088)" in said.out


def test_the_lens_in_the_numbers_is_what_the_option_takes(run, tiny_mocks, capsys):
    noise, centre = float(tiny_mocks.noise[0, 0, 0]), ("--crop-centre", "12.8,12.4")
    _, first = run(capsys, noise, "theta_E=1.2,x=0.05,e1=0.1", "out", *centre)
    _, again = run(capsys, noise, first["lens_option"], "again", *centre)
    assert again["lens"] == pytest.approx(first["lens"], abs=1e-6)
    assert again["chi2_per_pixel"] == pytest.approx(first["chi2_per_pixel"], rel=1e-5)
    assert first["lens"]["x"] != pytest.approx(0.05)


def test_refinement_is_told(run, tiny_mocks, capsys):
    noise = float(tiny_mocks.noise[0, 0, 0])
    centre = ("--crop-centre", "12.5,12.5")
    said, _ = run(capsys, noise, "theta_E=1.2", "out", "--refine", *centre)
    assert "refinement of the source changed it by" in said.out


@pytest.mark.parametrize("command", ["fit", "sample"])
@pytest.mark.parametrize(
    "text, said",
    [
        ("theta_e=1,2", "with a name of theta_E, axis_ratio, shear"),
        ("theta_E=2,1", "NAME=LOW,HIGH"),
        ("axis_ratio=0.5", "NAME=LOW,HIGH"),
        ("axis_ratio=0.5,1.5", "`axis_ratio`"),
    ],
)
def test_ranges_without_a_lens_are_refused(command, text, said, tmp_path, capsys):
    arguments = [command, "image.fits", "--noise", "1", "--psf", "0.1", "--range", text]
    arguments += ["--output", str(tmp_path / "out"), *["--lens", "theta_E=1"] * (command != "fit")]
    try:
        code = cli.main(arguments)
    except SystemExit as ended:
        code = ended.code
    assert code == 2 and said in capsys.readouterr().err


def test_the_lens_is_looked_for_where_the_user_says(tiny_mocks, tiny_folder, tmp_path, capsys):
    fits.PrimaryHDU(tiny_mocks.image[0], fits.Header({"PIXSCALE": 0.3})).writeto(
        tmp_path / "image.fits"
    )
    fits.PrimaryHDU(tiny_mocks.psf[0]).writeto(tmp_path / "psf.fits")
    arguments = ["fit", str(tmp_path / "image.fits"), "--psf", str(tmp_path / "psf.fits")]
    arguments += ["--noise", str(float(tiny_mocks.noise[0, 0, 0])), "--rounds", "0"]
    arguments += ["--start", "theta_E=2.4", "--model", str(tiny_folder), "--output"]
    found = []
    for name, more in (("narrow", []), ("wide", ["--range", "theta_E=0.5,3"])):
        # Not converged: no optimisation, behind a lens that is none.
        assert cli.main([*arguments, str(tmp_path / name), *more]) == 3, capsys.readouterr().err
        found.append(json.loads((tmp_path / name / "metrics.json").read_text())["lens"])
    assert [lens["theta_E"] for lens in found] == pytest.approx([2.2, 2.4])


@pytest.mark.parametrize("command", ["fit", "sample"])
def test_lens_light_is_refused_before_anything_loads(command, tiny_folder, tmp_path, capsys):
    x, y = PixelGrid(16, 0.3).coordinates()
    image = np.exp(-0.5 * ((np.hypot(x, y) - 1.2) / 0.3) ** 2) + 9 * np.exp(-np.hypot(x, y) / 0.4)
    fits.PrimaryHDU(image).writeto(tmp_path / "image.fits")
    arguments = [command, str(tmp_path / "image.fits"), "--noise", "0.02", "--psf", "0.1"]
    arguments += ["--pixel-scale", "0.3", "--model", str(tiny_folder)]
    arguments += ["--output", str(tmp_path / "out")]
    arguments += ["--start" if command == "fit" else "--lens", "theta_E=1.2"]
    # Without it `fit` takes the image for a raw cutout, and models the light.
    arguments += ["--lens-light", "none"] if command == "fit" else []
    assert cli.main(arguments) == 2
    assert "--allow-lens-light" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
