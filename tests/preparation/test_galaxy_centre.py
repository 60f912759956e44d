import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from rim_lensing.preparation.galaxy_centre import galaxy_centre, has_galaxy


def found(raw, shapes, **more):
    used = np.ones(raw.image.shape, bool)
    return galaxy_centre(raw.image - shapes.sky, used, shapes.scale, shapes.psf, shapes.rms, **more)


@pytest.mark.parametrize("offset", [(0.0, 0.0), (0.07, -0.04), (-0.31, 0.22), (0.024, 0.026)])
@pytest.mark.parametrize("n", [1.0, 4.0])
def test_the_centre_is_found_below_a_pixel(make_raw, shapes, offset, n):
    raw = make_raw(extra={}, offset=offset, n=n)
    assert found(raw, shapes) == pytest.approx(raw.centre, abs=0.05 if n > 2 else 0.2)


def test_arcs_and_brighter_neighbours_do_not_pull_it(make_raw, shapes):
    extra = {
        "arc": shapes.arc(1.0, 0.06, 0.3, 0.7, 0.6),
        "star": shapes.disc(2.2, 1.4, 0, 0.02, 0.02, 500.0),
    }
    raw = make_raw(extra=extra)
    assert found(raw, shapes) == pytest.approx(raw.centre, abs=0.1)


def test_pixels_that_are_not_used_do_not_pull_it(make_raw, shapes):
    raw = make_raw()
    row, column = np.round(raw.centre).astype(int)
    raw.image[row, column + 1 : column + 3] = 1e4
    used = np.ones(raw.image.shape, bool)
    used[row, column + 1 : column + 3] = False
    place = galaxy_centre(raw.image - shapes.sky, used, shapes.scale, shapes.psf, shapes.rms)
    assert place == pytest.approx(raw.centre, abs=0.15)


def test_another_place_than_the_middle_may_be_said(make_raw, shapes):
    raw = make_raw(extra={"other": shapes.sersic(
        shapes.side, shapes.scale, amp=0.5, R_sersic=0.4, n_sersic=1.0, e1=0.0, e2=0.0,
        center_x=2.5, center_y=0.0)})  # fmt: skip
    middle = (shapes.side - 1) / 2
    there = (middle, middle + 2.5 / shapes.scale)
    assert found(raw, shapes, near=there) == pytest.approx(there, abs=0.15)


def test_an_arc_is_no_galaxy(make_raw, shapes):
    raw = make_raw()
    noise, used = raw.noise, np.ones(raw.image.shape, bool)
    assert has_galaxy(raw.image - shapes.sky, noise, used, shapes.scale, shapes.psf, raw.centre)
    bare = gaussian_filter(shapes.arc(0.6, 0.06, 0.3, 0.7, 2.0), shapes.psf / shapes.scale)
    place = galaxy_centre(bare, used, shapes.scale, shapes.psf, shapes.rms)
    assert not has_galaxy(bare, noise, used, shapes.scale, shapes.psf, place)
