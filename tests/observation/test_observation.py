"""The public Observation: what it holds, its crops, larger pixels, and its picture."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

import rim_lensing as rl
from rim_lensing.files.fits_files import FitsImage, read_image
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.observation.checks import check_image

SIDE = 24


@pytest.fixture(scope="module")
def wide():
    """An image of 40 x 30 pixels, each with a value of its own."""
    return np.arange(1200.0).reshape(30, 40)


@pytest.fixture
def tangent_file(tmp_path):
    """A FITS image of SIDE pixels of 0.1 arcsec with a WCS and a unit."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [150.0, 2.0], [5.5, 9.0]
    wcs.wcs.cdelt = [-0.1 / 3600, 0.1 / 3600]
    header = wcs.to_header()
    header["BUNIT"] = "nJy"
    path = tmp_path / "image.fits"
    image = np.random.default_rng(0).standard_normal((SIDE, SIDE))
    fits.PrimaryHDU(image, header).writeto(path)
    return path


def test_says_what_it_holds(wide):
    seen = rl.Observation(wide, noise=0.1, psf=np.ones((3, 3)), pixel_scale=0.1, unit="Jy")
    assert repr(seen) == (
        "Observation(image 30 x 40, pixels of 0.1 arcsec, 100% of them used, in Jy, PSF 3 x 3)"
    )
    assert seen.noise.shape == seen.mask.shape == wide.shape and not seen.is_batch


def test_a_crop_is_that_of_all_maps(wide):
    mask = wide != wide[20, 20]
    seen = rl.Observation(wide, noise=1 + wide, psf=0.1, mask=mask).crop(9, (20, 22))
    np.testing.assert_array_equal(seen.image, wide[16:25, 18:27])
    used = seen.mask
    assert not used[4, 2] and used.sum() == 80
    np.testing.assert_array_equal(seen.noise[used], 1 + seen.image[used])
    with pytest.raises(ValueError, match="must lie within the array"):
        seen.crop(11)
    beyond = seen.crop(11, beyond=True)
    assert not beyond.mask[0].any() and np.isinf(beyond.noise[0]).all()
    np.testing.assert_array_equal(beyond.image[1:-1, 1:-1], seen.image)


def test_a_crop_keeps_its_place_on_the_sky(tangent_file):
    read = read_image(tangent_file)
    seen = rl.Observation(read, noise=1.0, psf=0.1)
    assert seen.unit == "nJy" and seen.pixel_scale == pytest.approx(0.1, rel=1e-6)
    part = seen.crop(8, (10, 14))
    before, after = WCS(read.header), WCS(part.header)
    np.testing.assert_allclose(after.wcs_pix2world([[0, 0]], 0), before.wcs_pix2world([[10, 6]], 0))


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_larger_pixels_are_means_at_the_same_place(tangent_file, factor):
    read = read_image(tangent_file)
    noise = np.full((SIDE, SIDE), 2.0)
    kernel = np.ones((3, 3)) / 9
    seen = rl.Observation(read, noise, kernel).rebin(factor)
    blocks = read.array.reshape(SIDE // factor, factor, SIDE // factor, factor)
    np.testing.assert_allclose(seen.image, blocks.mean(axis=(1, 3)))
    np.testing.assert_allclose(seen.noise, 2.0 / factor)
    assert seen.pixel_scale == pytest.approx(0.1 * factor)
    # The kernel is on the small pixels, still.
    assert seen.psf_oversampling == factor
    middle = [[(factor - 1) / 2] * 2]
    np.testing.assert_allclose(
        WCS(seen.header).wcs_pix2world([[0, 0]], 0), WCS(read.header).wcs_pix2world(middle, 0)
    )
    np.testing.assert_allclose(
        WCS(seen.header).proj_plane_pixel_scales()[1].value,
        factor * WCS(read.header).proj_plane_pixel_scales()[1].value,
    )


def test_noise_of_larger_pixels_knows_its_correlation():
    """The scatter of means of drawn noise, and how it hangs together."""
    correlation = np.outer([0.5, 1, 0.5], [0.5, 1, 0.5])
    white = np.random.default_rng(5).standard_normal((4, 401, 401))
    drawn = (white[:, 1:, 1:] + white[:, :-1, 1:] + white[:, 1:, :-1] + white[:, :-1, :-1]) / 2
    seen = [
        rl.Observation(each, 1.0, 0.1, noise_correlation=correlation).rebin(2) for each in drawn
    ]
    scatter = np.std([each.image for each in seen])
    assert seen[0].noise[50, 50] == pytest.approx(scatter, rel=0.02)
    means = np.concatenate([each.image.ravel() for each in seen])
    beside = np.concatenate([np.roll(each.image, 1, axis=1).ravel() for each in seen])
    middle = len(seen[0].noise_correlation) // 2
    expected = seen[0].noise_correlation[middle, middle + 1]
    assert np.corrcoef(means, beside)[0, 1] == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("factor", [0, 5, 1.5, -2])
def test_refuses_to_average_what_does_not_divide(factor):
    seen = rl.Observation(np.ones((SIDE, SIDE)), 1.0, 0.1)
    with pytest.raises(ValueError, match="`factor` must be a positive integer that divides"):
        seen.rebin(factor)


def test_a_psf_of_finer_pixels_is_averaged_where_only_the_model_knows_the_images():
    """The example that started it: PIXELSCL 0.05 for pixels of 0.1."""
    offsets = (np.arange(25) - 12) * 0.05
    profile = np.exp(-0.5 * (offsets / 0.045) ** 2)
    fine = np.outer(profile, profile) / profile.sum() ** 2
    header = fits.Header({"PIXELSCL": 0.05})
    grid = PixelGrid(SIDE, 0.1)
    image = np.zeros((SIDE, SIDE))
    image[8:16, 8:16] = 1.0
    read = FitsImage(fine, 0.05, header)
    for scale in (None, 0.1):
        with pytest.warns(UserWarning, match="averaged from 25 x 25 pixels, 2 times as fine"):
            checked = check_image(image, 0.02, read, image_grid=grid, pixel_scale=scale)
        # A pixel as wide as the image's adds 1/12 to the variance.
        expected = np.sqrt(0.045**2 + 0.1**2 / 12)
        assert checked.psf_sigma[0] == pytest.approx(expected, rel=0.05)
    with pytest.raises(ValueError, match="`psf_oversampling` must be what the headers say"):
        rl.Observation(image, 0.02, read, pixel_scale=0.1, psf_oversampling=3)


def test_a_mask_of_its_own_and_infinite_noise_add_up():
    noise = np.ones((SIDE, SIDE))
    noise[0] = np.inf
    mask = np.ones((SIDE, SIDE), bool)
    mask[:, 0] = False
    seen = rl.Observation(np.ones((SIDE, SIDE)), noise, 0.1, mask=mask)
    assert seen.mask.sum() == (SIDE - 1) ** 2
    assert np.isinf(seen.noise[0]).all() and np.isfinite(seen.noise[1:]).all()


def test_a_batch_with_a_width_each(wide):
    image = np.stack([wide, wide])
    seen = rl.Observation(image, noise=[1.0, 2.0], psf=[0.1, 0.2], pixel_scale=0.1)
    assert seen.is_batch and (seen.noise[0] == 1).all() and (seen.noise[1] == 2).all()
    with pytest.raises(ValueError, match="crop the systems of a batch one by one"):
        seen.crop(4)
    assert len(seen.plot(1).axes) == 8
    with pytest.raises(ValueError, match="`index` must be given for a batch"):
        seen.plot()


def test_a_picture_of_every_part(tangent_file, tmp_path):
    seen = rl.Observation(read_image(tangent_file), 1.0, 0.1)
    titles = [axis.get_title() for axis in seen.plot().axes]
    assert titles[:4] == ["image", "noise (rms)", "image / noise", "PSF"]
    assert "arcsec" in seen.plot().axes[0].get_xlabel()


def test_an_oversampled_psf_asks_for_rays():
    image, fine = np.ones((16, 16)), np.zeros((9, 9))
    fine[4, 4] = 1
    assert rl.Observation(image, 1, fine, psf_oversampling=2).rays_on(0.1) == 2
    assert rl.Observation(image, 1, fine, psf_pixel_scale=0.05).rays_on(0.1) == 2
    assert rl.Observation(image, 1, fine, psf_oversampling=2, ray_oversampling=1).rays_on(0.1) == 1
    assert rl.Observation(image, 1, fine).rays_on(0.1) == 1
    assert rl.Observation(image, 1, 0.1).rays_on(0.1) == 1
    assert rl.Observation(image, 1, 0.1, ray_oversampling=3).rays_on(0.1) == 3
    # A kernel that was on the image's pixels is finer than the rebinned image's.
    assert rl.Observation(image, 1, fine).rebin(2).rays_on(0.2) == 2


@pytest.mark.parametrize("rays", [0, 1.5, -2, "two", [1, 2]])
def test_refuses_rays_that_are_no_number_of_them(rays):
    with pytest.raises(ValueError, match="ray_oversampling"):
        rl.Observation(np.ones((4, 4)), 1, 0.1, ray_oversampling=rays)
