import numpy as np
import pytest

from rim_lensing.preparation.sky_level import sky_level
from rim_lensing.preparation.smooth_galaxy import smooth_galaxy


def fitted(raw, shapes):
    used = np.ones(raw.image.shape, bool)
    galaxy = smooth_galaxy(raw.image, used, raw.centre, shapes.rms)
    return sky_level(raw.image, used, galaxy, shapes.scale, shapes.rms)


@pytest.mark.parametrize("n, r_eff", [(1.0, 0.7), (4.0, 0.6), (4.0, 1.5), (4.0, 3.0), (2.5, 2.0)])
def test_wings_over_the_whole_cutout_are_not_taken_for_sky(make_raw, shapes, n, r_eff):
    off = []
    for seed in range(3):
        sky = fitted(make_raw(seed, n=n, r_eff=r_eff, amplitude=0.1), shapes)
        off.append((sky.level - shapes.sky) / sky.error)
    # Within its error, which is one of the profile: the three share it.
    assert np.abs(np.mean(off)) < 2.5


def test_the_outermost_pixels_would_be_wrong_where_the_fit_is_not(make_raw, shapes):
    raw = make_raw(n=4.0, r_eff=2.0)
    sky = fitted(raw, shapes)
    border = np.median(np.r_[raw.image[:4].ravel(), raw.image[-4:].ravel()])
    assert border - shapes.sky > 1.0 * shapes.rms
    assert abs(sky.level - shapes.sky) < 0.5 * (border - shapes.sky)


def test_the_scatter_of_blank_pixels_is_the_noise(make_raw, shapes):
    sky = fitted(make_raw(n=1.0, r_eff=0.5), shapes)
    assert sky.rms == pytest.approx(shapes.rms, rel=0.03)
    assert sky.error < 0.1 * shapes.rms
    assert sky.blank.mean() > 0.5


def test_shells_and_gradients_do_not_count_as_noise(make_raw, shapes):
    raw = make_raw(n=1.0, r_eff=0.5)
    y, x = np.indices(raw.image.shape)
    raw.image += 1.5 * shapes.rms * np.sin(x / 25) * np.cos(y / 30)
    assert fitted(raw, shapes).rms == pytest.approx(shapes.rms, rel=0.05)
