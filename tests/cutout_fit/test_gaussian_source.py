"""A source of Gaussians behind an SIE, against lenstronomy."""

import numpy as np
import pytest
from lenstronomy.LensModel.lens_model import LensModel

from rim_lensing.cutout_fit.gaussian_source import (
    COMPACT,
    LensedGaussians,
    SourceShape,
    number_of_images,
    sie_and_shear,
)
from rim_lensing.lens_light.patches import whole_image
from tests.lens_light import lenstronomy_sky as sky

LENS = np.array([1.2, 0.1, -0.08, 0.02, -0.01, 0.03, -0.02])


@pytest.mark.parametrize("ellipticity", [(0.1, -0.08), (0.0, 0.0), (-0.3, 0.2), (0.0, 0.25)])
def test_deflection_is_that_of_lenstronomy(ellipticity):
    x, y = np.random.default_rng(0).uniform(-3, 3, (2, 1000))
    lens = np.array([1.2, *ellipticity, 0.02, -0.01, 0.03, -0.02])
    mass = sky.LENS | dict(zip(("e1", "e2"), ellipticity, strict=True))
    expected = LensModel(["SIE", "SHEAR"]).alpha(x, y, [mass, sky.SHEAR])
    np.testing.assert_allclose(sie_and_shear(lens, x, y), expected, atol=2e-3)


def test_columns_are_lensed_gaussians_of_lenstronomy():
    zeros = np.zeros((81, 81))
    patch = whole_image(zeros, zeros + 1, zeros == 0, sky.psf_kernel(), sky.SCALE)
    vector = np.array([*LENS, 0.15, 0.1, 0.1, 0.05])
    gaussians = LensedGaussians(patch, supersampling=5, widest=0.4)
    columns = gaussians.columns(vector)
    assert columns.shape == (len(gaussians.widths), 81, 81)
    for number in (1, 5):
        sigma = gaussians.widths[number]
        gaussian = {
            "amp": 2 * np.pi * sigma**2 / sky.SCALE**2,
            "sigma": sigma,
            "e1": 0.1,
            "e2": 0.05,
            "center_x": 0.15,
            "center_y": 0.1,
        }
        expected = sky.draw((), [gaussian], [sky.LENS, sky.SHEAR], side=81)
        np.testing.assert_allclose(columns[number], expected, atol=5e-3, err_msg=str(number))


def test_flux_and_size_of_a_single_gaussian():
    vector, sigma = np.array([*LENS, 0.1, 0.2, 0.0, 0.0]), 0.1
    source = SourceShape.of(vector, np.array([COMPACT, sigma]), np.array([0.0, 3.0]), 0.05)
    assert source.flux == pytest.approx(3 * 2 * np.pi * (sigma / 0.05) ** 2)
    assert source.half_light_radius == pytest.approx(np.sqrt(2 * np.log(2)) * sigma)
    assert source.centre == (0.1, 0.2)


@pytest.mark.parametrize(("place", "images"), [(0.02, 4), (0.5, 2), (2.5, 1)])
def test_images_are_counted(place, images):
    """Behind an ellipse of theta_E = 1.2: within the caustic, beside it, far outside."""
    vector = np.array([1.2, 0.15, 0.0, 0, 0, 0, 0, place, 0, 0, 0])
    source = SourceShape((place, 0.0), 0.0, 0.0, 0.02, 1.0)
    assert number_of_images(vector, source, 4.0) == pytest.approx(images, abs=0.3)
