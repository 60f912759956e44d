"""Lens light left in an image is seen, and what lensing and bad subtraction leave is not."""

import subprocess
import sys

import numpy as np
import pytest
from lenstronomy.Data.imaging_data import ImageData
from lenstronomy.Data.psf import PSF
from lenstronomy.ImSim.image_model import ImageModel
from lenstronomy.LensModel.lens_model import LensModel
from lenstronomy.LightModel.light_model import LightModel
from lenstronomy.Util.simulation_util import data_configure_simple

from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.observation.checks import check_image
from rim_lensing.observation.leftover_light import (
    central_light,
    has_lens_light,
    refuse_lens_light,
    warn_of_lens_light,
)

SIDE, SCALE, FWHM, NOISE = 80, 0.08, 0.16, 0.02
SIGMA = FWHM / 2.3548


def rendered(theta_E=1.1, source=(0.1, 0.05), light=0.0, size=0.25) -> np.ndarray:
    """Return lenstronomy's image of a Sersic source and lens light, arcs of peak 1.

    The peak of the light is `light`, before noise, which is included.
    """
    data = ImageData(**data_configure_simple(SIDE, SCALE, exposure_time=1, background_rms=1))
    psf = PSF("GAUSSIAN", fwhm=FWHM, pixel_size=SCALE)
    model = ImageModel(
        data,
        psf,
        LensModel(["SIE"]),
        LightModel(["SERSIC"]),
        LightModel(["SERSIC_ELLIPSE"]),
        kwargs_numerics={"supersampling_factor": 3},
    )
    lens = [{"theta_E": theta_E, "e1": 0.1, "e2": -0.05, "center_x": 0, "center_y": 0}]
    behind = {"amp": 1, "R_sersic": size, "n_sersic": 1}
    behind |= {"center_x": source[0], "center_y": source[1]}
    front = {"amp": 1, "R_sersic": 0.9, "n_sersic": 4, "e1": 0.1, "e2": 0.1}
    front |= {"center_x": 0.01, "center_y": -0.02}
    arcs = model.image(lens, [behind], [front], lens_light_add=False)
    galaxy = model.image(lens, [behind], [front], source_add=False)
    image = arcs / arcs.max() + light * galaxy / galaxy.max()
    return image + NOISE * np.random.default_rng(4).standard_normal(image.shape)


def is_seen(image, noise=None) -> bool:
    noise = np.full(image.shape, NOISE) if noise is None else noise
    light = central_light(image, noise, SIGMA, SCALE)
    return light is not None and light.is_lens_light


@pytest.mark.parametrize("light", [1.6, 5.0, 40.0])
def test_light_brighter_than_the_arcs_is_seen(light):
    found = central_light(rendered(light=light), np.full((SIDE, SIDE), NOISE), SIGMA, SCALE)
    assert found.is_lens_light
    assert np.hypot(*np.subtract(found.centre, (SIDE - 1) / 2)) < 1.5
    assert found.contrast > 1.1


@pytest.mark.parametrize("theta_E", [0.5, 0.8, 1.1, 2.0])
@pytest.mark.parametrize("offset", [0.0, 0.3, 0.95, 1.05])
def test_lensed_sources_are_none(theta_E, offset):
    """Rings, arcs, and doubles whose inner image lies next to the lens."""
    for size in (0.1, 0.5):
        assert not is_seen(rendered(theta_E, (offset * theta_E, 0.05), size=size))


def test_residuals_of_a_subtracted_core_are_none():
    """A dipole and a ring, of a centre and a width that are a little off, brighter than arcs."""
    with_light = rendered(light=40.0)
    subtracted = with_light - np.roll(rendered(light=40.0) - rendered(), 1, axis=1)
    assert np.abs(subtracted).max() > 5
    assert not is_seen(subtracted)


def test_a_masked_core_is_none():
    image, noise = rendered(light=5.0), np.full((SIDE, SIDE), NOISE)
    y, x = np.indices(image.shape) - (SIDE - 1) / 2
    noise[np.hypot(x, y) * SCALE < 0.8] = np.inf
    image[np.isinf(noise)] = np.nan
    assert not is_seen(image, noise)
    assert central_light(image, noise, SIGMA, SCALE) is None


@pytest.mark.parametrize("unit", [1e-30, 1e30])
def test_the_unit_does_not_matter(unit):
    plain = central_light(rendered(light=5.0), np.full((SIDE, SIDE), NOISE), SIGMA, SCALE)
    scaled = central_light(
        unit * rendered(light=5.0), np.full((SIDE, SIDE), unit * NOISE), SIGMA, SCALE
    )
    assert scaled.centre == plain.centre
    for name in ("contrast", "outshines", "smooth"):
        assert getattr(scaled, name) == pytest.approx(getattr(plain, name))


def test_the_systems_are_named_and_refused_unless_allowed():
    grid = PixelGrid(SIDE, SCALE)
    images = np.stack([rendered(), rendered(light=5.0), rendered()])
    observation = check_image(images, NOISE, SIGMA, image_grid=grid)
    assert has_lens_light(observation, grid).tolist() == [False, True, False]
    with pytest.raises(ValueError, match=r"in 1 of 3 systems \(index 1\).*allow_lens_light=True"):
        refuse_lens_light(observation, grid)
    refuse_lens_light(observation, grid, allow_lens_light=True)
    with pytest.warns(UserWarning, match="must have the lens galaxy's light subtracted"):
        warn_of_lens_light(observation, grid)


def test_needs_no_keras():
    program = (
        "import sys, rim_lensing.observation.leftover_light;"
        "sys.exit('keras' in sys.modules or 'tensorflow' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
