"""The source's grid follows the source."""

import keras
import numpy as np
import pytest

from rim_lensing.cutout_fit.source_frame import frame_source
from rim_lensing.forward_model.forward_model import ForwardModel
from rim_lensing.forward_model.psf import gaussian_kernel
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.observation.checks import check_observation

IMAGE = PixelGrid(80, 0.05)
LENS = np.float32([1.0, 0.1, 0.05, 0.0, 0.0, 0.02, 0.03])
SIDE, FINEST = 64, 0.5


def observed(centre, sigma: float, noise: float = 0.01):
    """A Gaussian source, lensed."""
    fine = PixelGrid(200, 0.01, centre)
    x, y = fine.coordinates()
    source = np.exp(-0.5 * ((x - centre[0]) ** 2 + (y - centre[1]) ** 2) / sigma**2)
    kernel = gaussian_kernel(np.float32([0.05]), 9, IMAGE.pixel_scale)
    model = ForwardModel(LENS[None], kernel, IMAGE, fine)
    image = keras.ops.convert_to_numpy(model.predict(source[None].astype("float32")))[0]
    image = image + noise * np.random.default_rng(1).standard_normal(image.shape)
    return check_observation(image, noise, 0.05, LENS, image_grid=IMAGE, psf_side=9)


@pytest.mark.parametrize("centre", [(0.0, 0.0), (0.22, -0.15)])
def test_the_grid_lies_around_the_source_and_holds_it(centre):
    grid = frame_source(observed(centre, 0.1), IMAGE, SIDE, FINEST)
    assert grid.centre == pytest.approx(centre, abs=0.05)
    assert grid.side == SIDE and grid.width / 2 > 2.5 * 0.1


def test_small_sources_get_the_finest_pixels_and_large_ones_all_of_the_grid():
    small = frame_source(observed((0.1, 0.0), 0.05), IMAGE, SIDE, FINEST)
    large = frame_source(observed((0.1, 0.0), 0.4), IMAGE, SIDE, FINEST)
    assert small.pixel_scale == pytest.approx(FINEST * IMAGE.pixel_scale)
    assert large.width > 4 * 0.4


def test_faint_arcs_count_where_there_are_no_brighter_ones():
    grid = frame_source(observed((0.2, 0.1), 0.1, noise=0.25), IMAGE, SIDE, FINEST)
    assert grid.centre == pytest.approx((0.2, 0.1), abs=0.1)


def test_no_arcs_are_an_error():
    image = np.zeros((80, 80))
    image[20:23, 20:23] = 10.0
    dark = check_observation(image, 1.0, 0.05, LENS, image_grid=IMAGE, psf_side=9)
    with pytest.raises(ValueError, match="12 pixels above 2 times"):
        frame_source(dark, IMAGE, SIDE, FINEST)
