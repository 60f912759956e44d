"""Pixel grids against hand-written coordinates and lenstronomy's."""

import numpy as np
import pytest
from lenstronomy.Util.util import make_grid

from rim_lensing.lensing.grids import PixelGrid


def test_pixel_centres():
    np.testing.assert_allclose(PixelGrid(4, 0.5).axis(), [-0.75, -0.25, 0.25, 0.75])
    np.testing.assert_allclose(PixelGrid(3, 0.5).axis(), [-0.5, 0.0, 0.5])
    np.testing.assert_allclose(PixelGrid(1, 0.5).axis(2), [-0.125, 0.125])


@pytest.mark.parametrize("side", [5, 6])
def test_coordinates_against_lenstronomy(side):
    x, y = PixelGrid(side, 0.07).coordinates()
    expected_x, expected_y = make_grid(side, 0.07)
    np.testing.assert_allclose(x.ravel(), expected_x, atol=1e-14)
    np.testing.assert_allclose(y.ravel(), expected_y, atol=1e-14)
    assert x[0, 1] > x[0, 0] and y[1, 0] > y[0, 0]


@pytest.mark.parametrize("supersampling", [2, 3])
def test_subpixels_share_their_pixel(supersampling):
    grid = PixelGrid(6, 0.1)
    fine = grid.axis(supersampling).reshape(6, supersampling)
    np.testing.assert_allclose(fine.mean(axis=1), grid.axis(), atol=1e-14)
    assert np.all(np.abs(fine - grid.axis()[:, None]) < 0.05)


def test_width_and_extent():
    grid = PixelGrid(np.int64(64), 0.1)
    assert grid.width == pytest.approx(6.4)
    assert grid.extent == pytest.approx((-3.2, 3.2, -3.2, 3.2))


@pytest.mark.parametrize("side", [0, -3, 2.5, 64.0, "64", None, float("nan")])
def test_side_is_checked(side):
    with pytest.raises(ValueError, match=r"`side` must be a positive integer.*Received: side="):
        PixelGrid(side, 0.1)


@pytest.mark.parametrize("pixel_scale", [0.0, -0.1, float("nan"), float("inf")])
def test_pixel_scale_is_checked(pixel_scale):
    with pytest.raises(ValueError, match=r"`pixel_scale` must be.*Received: pixel_scale="):
        PixelGrid(4, pixel_scale)
