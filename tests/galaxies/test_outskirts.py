import numpy as np
import pytest

from rim_lensing.galaxies.outskirts import linear_flux, with_outskirts, without_cut_rim
from rim_lensing.galaxies.stamps import Outskirts, clean_stamp
from rim_lensing.simulation.sky.winged_galaxies import draw_winged_galaxies


def exponential_disk(side=160, scale=9.0):
    y, x = np.mgrid[:side, :side] - (side - 1) / 2
    return np.exp(-np.hypot(x, y) / scale), np.hypot(x, y)


def test_a_cut_exponential_disk_gets_its_own_outskirts_back():
    light, radius = exponential_disk()
    segment = radius < 30
    whole = with_outskirts(np.where(segment, light, 0.0), segment, segment.astype(float))
    ring = (radius > 33) & (radius < 55)
    np.testing.assert_allclose(np.log(whole[ring]), np.log(light[ring]), atol=0.5)
    np.testing.assert_array_equal(whole[segment], light[segment])


def test_what_a_file_had_cut_is_no_part_of_the_galaxy():
    light, radius = exponential_disk()
    cut = np.where(radius < 30, light, 0.0)
    kept = without_cut_rim(cut, radius < 33)
    assert np.count_nonzero(kept & (radius > 31)) == 0
    assert np.count_nonzero(~kept & (radius < 28)) == 0


def test_the_inverse_of_luptons_stretch():
    """His equation 3: f(x) = asinh(Q x) / Q, times what makes the brightest white."""
    flux, softening = np.linspace(0, 3, 7), 3.0
    stretched = 255 * np.arcsinh(flux) / softening
    np.testing.assert_allclose(linear_flux(stretched, 255, softening), flux, rtol=1e-12)


@pytest.mark.parametrize("white", [None, 255.0])
def test_a_clean_stamp_with_outskirts(white):
    """A noisy disk, in linear flux or stretched, is a disk in linear flux far below its noise."""
    light, _ = exponential_disk()
    image = light * 3
    if white is not None:
        image = white * np.arcsinh(image) / 3.0
    image = image + 0.003 * image.max() * np.random.default_rng(0).standard_normal(image.shape)
    stamp = clean_stamp(image, 128, Outskirts(white))
    assert stamp.max() == 1
    y, x = np.mgrid[:128, :128] - 63.5
    radius = np.hypot(x, y)
    profile = [stamp[np.abs(radius - r) < 1].mean() for r in (10, 20, 30, 40, 50)]
    steps = np.diff(np.log(profile))
    # Straight in the logarithm, through the isophote where the noise ends the galaxy.
    np.testing.assert_allclose(steps, steps.mean(), rtol=0.35)
    assert profile[-1] < 0.02 * profile[0]


def test_winged_galaxies_have_wings_and_no_border():
    stamps = draw_winged_galaxies(6, 1, side=96)
    np.testing.assert_array_equal(stamps.max(axis=(1, 2)), 1)
    assert stamps.min() >= 0
    assert np.all(stamps[:, [0, -1]] == 0)
    assert np.all(stamps[:, 30, 30] > 0)
    np.testing.assert_array_equal(stamps[:2], draw_winged_galaxies(2, 1, side=96))
