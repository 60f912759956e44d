from dataclasses import replace

import keras
import numpy as np
import pytest
from astropy.io import fits
from scipy import ndimage

from rim_lensing.forward_model.psf import gaussian_kernel
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.networks.presets import get_preset
from rim_lensing.simulation.sky.blemishes import (
    contamination,
    correlated,
    noise_deviates,
    noise_map,
)
from rim_lensing.simulation.sky.psf_shapes import draw_kernel, draw_psf, psf_kernel, read_kernels
from rim_lensing.simulation.sky.ranges import SKY_RANGES, SkyRanges

LENS = np.array([1.2, 0, 0, 0.1, -0.1, 0, 0, 1])
GRID = PixelGrid(64, 0.1)


def test_a_round_kernel_without_wings_is_the_gaussian():
    expected = keras.ops.convert_to_numpy(gaussian_kernel(np.array([0.13]), 25, 0.1))[0]
    np.testing.assert_allclose(psf_kernel(1.3, 1.0, 0.7, 0.0, 2.0, 25), expected, atol=1e-7)


def test_core_and_wings_have_one_width_and_the_core_is_elliptical():
    core, moffat = (psf_kernel(8.0, 0.8, 0.5, wings, 2.5, 101) for wings in (0.0, 1.0))
    for kernel in (core, moffat):
        assert kernel.sum() == pytest.approx(1)
        area = np.count_nonzero(kernel > kernel.max() / 2)
        # Half of the peak encloses pi FWHM^2 / 4.
        assert area == pytest.approx(np.pi * (2.3548 * 8) ** 2 / 4, rel=0.03)
    assert moffat[50, 90] > 100 * core[50, 90]
    y, x = np.mgrid[:101, :101] - 50
    moments = [np.sum(core * a * b) for a, b in ((x, x), (x, y), (y, y))]
    values, vectors = np.linalg.eigh([[moments[0], moments[1]], [moments[1], moments[2]]])
    assert np.sqrt(values[0] / values[1]) == pytest.approx(0.8, rel=1e-2)
    assert abs(vectors[:, 1] @ [np.cos(0.5), np.sin(0.5)]) == pytest.approx(1, abs=1e-4)


def test_drawn_kernels_are_kernels(tmp_path):
    generator = np.random.default_rng(0)
    measured = np.stack([psf_kernel(1.5, 0.9, 0, 0.3, 2, 41), -np.ones((41, 41))])
    fits.writeto(tmp_path / "psf.fits", measured)
    with pytest.warns(UserWarning, match="no positive sum"):
        kernels = read_kernels([tmp_path / "psf.fits"])
    assert len(kernels) == 1
    np.testing.assert_allclose(kernels[0], measured[0])
    for kernel in (draw_psf(generator, SKY_RANGES, 25)[0], draw_kernel(generator, kernels, 25)):
        assert kernel.shape == (25, 25)
        assert kernel.min() >= 0
        assert kernel.sum() == pytest.approx(1)
        assert np.argmax(kernel) == 25 * 12 + 12


def test_files_that_are_no_psf_are_refused(tmp_path):
    fits.writeto(tmp_path / "line.fits", np.ones(5))
    with pytest.raises(ValueError, match="line.fits must hold PSF images"):
        read_kernels([tmp_path / "line.fits"])
    with pytest.raises(FileNotFoundError, match="no PSF file"):
        read_kernels([tmp_path / "none.fits"])


def test_correlated_deviates_have_unit_variance_and_the_gaussians_correlation():
    generator = np.random.default_rng(1)
    deviates = correlated(generator.standard_normal((512, 512)), 0.7)
    assert deviates.var() == pytest.approx(1, abs=0.02)
    impulse = np.zeros(31)
    impulse[15] = 1
    kernel = ndimage.gaussian_filter1d(impulse, 0.7)
    expected = np.sum(kernel[1:] * kernel[:-1]) / np.sum(kernel**2)
    assert np.mean(deviates[:, 1:] * deviates[:, :-1]) == pytest.approx(expected, abs=0.02)


def test_kinds_of_noise():
    generator = np.random.default_rng(2)
    image = np.outer(np.arange(8.0), np.ones(8))
    always = replace(SKY_RANGES, poisson_share=1.0, drizzled_share=1.0)
    sigma, is_poisson = noise_map(generator, always, image, 0.1)
    assert is_poisson
    # The variance is linear in the flux, and the sky's where there is none.
    np.testing.assert_allclose(sigma[0], 0.1)
    steps = np.diff(sigma[:, 0] ** 2)
    np.testing.assert_allclose(steps, steps[0])
    assert noise_deviates(generator, always, 8)[1]
    never = replace(SKY_RANGES, poisson_share=0.0, drizzled_share=0.0)
    sigma, is_poisson = noise_map(generator, never, image, 0.1)
    assert not is_poisson
    np.testing.assert_allclose(sigma, 0.1)
    assert not noise_deviates(generator, never, 8)[1]


def test_residual_cores_lie_at_the_lens_and_masks_hide_them():
    generator = np.random.default_rng(3)
    ranges = replace(SKY_RANGES, sky_share=0.0, residual_share=1.0, core_mask_share=1.0)
    x, y = GRID.coordinates()
    radius = np.hypot(x - LENS[3], y - LENS[4])
    for _ in range(10):
        added, mask = contamination(generator, ranges, LENS, GRID)
        assert 2 <= np.abs(added).max() <= 30
        assert np.abs(added[radius > 1.6 * LENS[0]]).max() < 0.05 * np.abs(added).max()
        assert not mask[radius < 0.15 * LENS[0]].any()


def test_wrong_skies_are_flat():
    ranges = replace(SKY_RANGES, sky_share=1.0, residual_share=0.0)
    skies = []
    for seed in range(200):
        added, _ = contamination(np.random.default_rng(seed), ranges, LENS, PixelGrid(8, 0.8))
        assert np.ptp(added) == 0
        skies.append(added[0, 0])
    assert np.std(skies) == pytest.approx(0.3, rel=0.2)


@pytest.mark.parametrize(
    "wrong", [{"slope": (1.3, 0.7)}, {"sky_share": 1.5}, {"psf_width": (-1.0, 2.0)}]
)
def test_ranges_that_are_none_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        SkyRanges(**wrong)


def test_pixel_ratios_follow_from_the_frames():
    euclid, hst = get_preset("euclid64"), get_preset("hst192")
    assert SKY_RANGES.sides(euclid) == (64, 96, 144)
    assert SKY_RANGES.ratios(144, euclid) == pytest.approx((0.6, 64 / (144 * 0.3)))
    assert SKY_RANGES.ratios(192, hst) == pytest.approx((1 / 0.75, 1.2 * 2.56))
    with pytest.raises(ValueError, match="Images of 20 pixels leave no pixel scale"):
        SKY_RANGES.ratios(20, euclid)
