"""Rebinning against integrals known in closed form, plain block means and simulated noise."""

import numpy as np
import pytest
from scipy.special import erf

from rim_lensing.files.fits_files import FitsImage
from rim_lensing.lens_fit.rebinned_lens_model import RebinnedLensModel, rebin
from rim_lensing.lensing.grids import PixelGrid
from rim_lensing.observation.correlated_noise import correlate_noise

OLD, NEW = PixelGrid(130, 0.0465), PixelGrid(64, 0.1)
DELTA = np.ones((1, 1))


def gaussian_in_pixels(grid: PixelGrid, sigma: float, x: float = 0.0, y: float = 0.0):
    """Return the mean of a Gaussian of peak 1 over every pixel."""
    edges = (np.arange(grid.side + 1) - grid.side / 2) * grid.pixel_scale

    def along(centre):
        integral = np.sqrt(np.pi / 2) * sigma * erf((edges - centre) / (np.sqrt(2) * sigma))
        return np.diff(integral) / grid.pixel_scale

    return np.outer(along(y), along(x))


def test_image_is_that_of_a_telescope_with_larger_pixels():
    image = gaussian_in_pixels(OLD, 0.4, x=0.5, y=-0.3)
    rebinned, _, _ = rebin(image, np.ones_like(image), DELTA, OLD, NEW)
    # Old pixels that are cut are taken as flat: second order in their width.
    np.testing.assert_allclose(rebinned, gaussian_in_pixels(NEW, 0.4, x=0.5, y=-0.3), atol=4e-3)
    np.testing.assert_allclose(rebinned.sum() * 0.1**2, image.sum() * 0.0465**2, rtol=1e-6)


def test_whole_numbers_of_pixels_are_plain_block_means():
    generator = np.random.default_rng(0)
    image, noise = generator.normal(size=(12, 12)), generator.uniform(1, 2, (12, 12))
    rebinned, rms, _ = rebin(image, noise, DELTA, PixelGrid(12, 0.05), PixelGrid(4, 0.15))
    blocks = image.reshape(4, 3, 4, 3)
    np.testing.assert_allclose(rebinned, blocks.mean(axis=(1, 3)))
    variances = (noise**2).reshape(4, 3, 4, 3)
    np.testing.assert_allclose(rms, np.sqrt(variances.sum(axis=(1, 3))) / 9)


def test_noise_is_the_scatter_of_rebinned_noise():
    generator = np.random.default_rng(1)
    noise = generator.uniform(0.5, 2, (OLD.side, OLD.side))
    noise[generator.uniform(size=noise.shape) < 0.2] = np.inf
    drawn = [
        rebin(
            np.where(np.isfinite(noise), noise, 0) * generator.normal(size=noise.shape),
            noise,
            DELTA,
            OLD,
            NEW,
        )[0]
        for _ in range(400)
    ]
    _, rms, _ = rebin(np.zeros_like(noise), noise, DELTA, OLD, NEW)
    kept = np.isfinite(rms)
    np.testing.assert_allclose(np.std(drawn, axis=0)[kept] / rms[kept], 1, atol=0.2)
    assert abs(np.mean(np.std(drawn, axis=0)[kept] / rms[kept]) - 1) < 0.01


ALONG = np.exp(-(np.arange(-3, 4) ** 2) / (4 * 0.5**2))
CORRELATION = np.outer(ALONG, ALONG)
"""Of white noise smoothed by 0.5 pixels: 0.37 beside, as the HST image of docs/real_lenses.md."""


def test_noise_is_the_scatter_of_rebinned_correlated_noise():
    generator = np.random.default_rng(4)
    noise = generator.uniform(0.5, 2, (OLD.side, OLD.side))
    noise[generator.uniform(size=noise.shape) < 0.2] = np.inf
    white = generator.standard_normal((400, *noise.shape))
    draws = correlate_noise(white, CORRELATION) * np.where(np.isfinite(noise), noise, 0)
    scatter = np.std([rebin(draw, noise, DELTA, OLD, NEW)[0] for draw in draws], axis=0)
    _, rms, _ = rebin(draws[0], noise, DELTA, OLD, NEW, CORRELATION)
    kept = np.isfinite(rms)
    np.testing.assert_allclose(scatter[kept] / rms[kept], 1, atol=0.2)
    assert abs(np.mean(scatter[kept] / rms[kept]) - 1) < 0.01
    _, independent, _ = rebin(draws[0], noise, DELTA, OLD, NEW)
    assert np.mean(rms[kept] / independent[kept]) > 1.3


def test_variance_is_that_of_the_covariance_matrix():
    generator = np.random.default_rng(5)
    noise, old, new = generator.uniform(1, 2, (6, 6)), PixelGrid(6, 0.1), PixelGrid(2, 0.25)
    rows, columns = (index.ravel() for index in np.indices((6, 6)))
    apart = [np.subtract.outer(each, each) for each in (rows, columns)]
    covariance = np.where(
        np.maximum(*np.abs(apart)) <= 3,
        CORRELATION[tuple(np.clip(each, -3, 3) + 3 for each in apart)],
        0,
    ) * np.outer(noise, noise)
    # New pixels end at -0.25", 0 and 0.25", old ones at -0.3", -0.2", ..., 0.3".
    weights = np.array([[0.2, 0.4, 0.4, 0, 0, 0], [0, 0, 0, 0.4, 0.4, 0.2]])
    both = np.kron(weights, weights)
    wanted = np.sqrt(np.diag(both @ covariance @ both.T)).reshape(2, 2)
    _, rms, _ = rebin(np.zeros((6, 6)), noise, DELTA, old, new, CORRELATION)
    np.testing.assert_allclose(rms, wanted)


def test_refuses_a_correlation_that_leaves_no_variance():
    # Each pixel takes away what its neighbours in the row bring.
    correlation = np.array([[0, 0, 0], [-1, 1, -1], [0, 0, 0]])
    with pytest.raises(ValueError, match="a positive variance.*Received"):
        rebin(
            np.zeros((4, 4)),
            np.ones((4, 4)),
            DELTA,
            PixelGrid(4, 0.1),
            PixelGrid(2, 0.2),
            correlation,
        )


def test_masked_pixels_do_not_count_and_uncovered_ones_are_masked():
    image, noise = np.full((130, 130), 7.0), np.ones((130, 130))
    image[60:64, 60:64], noise[60:64, 60:64] = np.nan, np.inf
    rebinned, rms, _ = rebin(image, noise, DELTA, OLD, NEW)
    kept = np.isfinite(rms)
    np.testing.assert_allclose(rebinned[kept], 7)
    np.testing.assert_array_equal(rebinned[~kept], 0)
    x, y = NEW.coordinates()
    # 130 * 0.0465" = 6.045": a new pixel is kept if more than half of it lies within.
    inside = np.maximum(np.abs(x), np.abs(y)) < OLD.width / 2
    assert not kept[~inside].any()
    assert 0 < np.sum(inside & ~kept) <= 4


def test_kernel_keeps_centre_and_gains_the_width_of_the_new_pixel():
    kernel = gaussian_in_pixels(PixelGrid(51, 0.0465), 0.1)
    _, _, rebinned = rebin(
        np.zeros((130, 130)), np.ones((130, 130)), kernel / kernel.sum(), OLD, NEW
    )
    assert rebinned.shape[0] % 2 == 1
    assert rebinned.sum() == pytest.approx(1)
    x, y = PixelGrid(len(rebinned), 0.1).coordinates()
    assert np.sum(rebinned * x) == pytest.approx(0, abs=1e-9)
    # Variances add: the Gaussian's, and a twelfth of the squared width of each kind of pixel.
    variance = 0.1**2 + (2 * 0.0465**2 + 0.1**2) / 12
    assert np.sum(rebinned * x**2) == pytest.approx(variance, rel=0.02)


def test_kernel_is_no_larger_than_the_image():
    kernel = np.ones((9, 9)) / 81
    _, _, rebinned = rebin(
        np.zeros((10, 10)), np.ones((10, 10)), kernel, PixelGrid(10, 0.1), PixelGrid(4, 0.25)
    )
    assert rebinned.shape == (3, 3)


@pytest.mark.parametrize("scale", [1 / 3, 0.1, 0.0465])
@pytest.mark.parametrize("sides", [(8, 7), (8, 8), (9, 7), (64, 49)])
def test_equal_pixels_are_not_interpolated(scale, sides):
    """Widths of 7 pixels of 1/3" divide to a step below 1, where a cubic has negative weights."""
    side, wanted = sides
    image = np.random.default_rng(3).normal(size=(side, side))
    rebinned, rms, _ = rebin(
        image, np.ones_like(image), DELTA, PixelGrid(side, scale), PixelGrid(wanted, scale)
    )
    if (side - wanted) % 2:
        # New pixels straddle two old ones along each axis.
        image = (image[1:] + image[:-1])[:, 1:] / 4 + (image[1:] + image[:-1])[:, :-1] / 4
    lost = (len(image) - wanted) // 2
    np.testing.assert_allclose(rebinned, image[lost : lost + wanted, lost : lost + wanted])
    np.testing.assert_allclose(rms, 0.5 if (side - wanted) % 2 else 1)


class Recorder:
    """A lens model that keeps what it is given."""

    image_grid = NEW

    def predict(self, image, noise, psf, mask=None):
        self.given = image, noise, psf
        return np.zeros(7), np.ones(7)


def test_model_is_given_the_rebinned_image():
    recorder = Recorder()
    image = gaussian_in_pixels(OLD, 0.4)
    mask = np.ones(image.shape, bool)
    mask[:20] = False
    lens, _ = RebinnedLensModel(recorder, OLD).predict(5 * image, 0.1, 0.07, mask=mask)
    given, noise, psf = recorder.given
    np.testing.assert_array_equal(lens, np.zeros(7))
    assert given.shape == noise.shape == (64, 64)
    assert psf.sum() == pytest.approx(1)
    used = np.isfinite(noise)
    assert not used[:10].any()
    wanted = gaussian_in_pixels(NEW, 0.4)
    np.testing.assert_allclose(given[used], (wanted / image.max())[used], atol=5e-3)


def test_model_is_given_the_noise_of_correlated_pixels():
    given = []
    for correlation in (None, CORRELATION):
        recorder = Recorder()
        RebinnedLensModel(recorder, OLD, correlation).predict(np.ones((130, 130)), 0.1, 0.07)
        given.append(recorder.given[1])
    kept = np.isfinite(given[0])
    assert np.all(given[1][kept] > 1.2 * given[0][kept])
    with pytest.raises(ValueError, match="`noise_correlation` must be a finite square"):
        RebinnedLensModel(Recorder(), OLD, 0.4)


def test_refuses_larger_pixels_and_batches():
    for scale in (0.1011, 0.2):
        with pytest.raises(ValueError, match="must not have larger pixels"):
            RebinnedLensModel(Recorder(), PixelGrid(32, scale))
    with pytest.raises(ValueError, match="one image"):
        RebinnedLensModel(Recorder(), OLD).predict(np.zeros((2, 130, 130)), 0.1, 0.07)
    with pytest.raises(ValueError, match="`pixel_scale` must be the model"):
        RebinnedLensModel(Recorder(), OLD).predict(
            FitsImage(np.zeros((130, 130)), 0.04, None), 0.1, 0.07
        )


def test_refuses_to_rebin_to_smaller_pixels():
    with pytest.raises(ValueError, match="`new` must not have smaller pixels"):
        rebin(np.ones((9, 9)), np.ones((9, 9)), DELTA, PixelGrid(9, 0.1001), PixelGrid(9, 0.1))


@pytest.mark.parametrize("scale", [0.1 - 1e-9, 0.1 + 1e-9, 0.0992, 0.1008])
@pytest.mark.parametrize("side", [60, 64, 70])
def test_an_image_on_pixels_of_nearly_the_models_size_is_not_averaged(scale, side):
    recorder, grid = Recorder(), PixelGrid(side, scale)
    x, y = grid.coordinates()
    image = np.exp(-0.5 * ((x - 0.3) ** 2 + y**2) / 0.4**2)
    noise = 0.1 + 0.01 * np.arange(side)[:, None] / side + np.zeros((side, side))
    kernel = gaussian_in_pixels(PixelGrid(9, scale), 0.1)
    RebinnedLensModel(recorder, grid).predict(image, noise, kernel / kernel.sum())
    both = min(side, 64)
    given, old = slice((64 - both) // 2, (64 + both) // 2), slice((side - both) // 2, None)
    old = slice(old.start, old.start + both)
    pairs = zip(recorder.given[:2], (image, noise), strict=True)
    for seen, wanted in pairs:
        np.testing.assert_allclose(
            seen[given, given], wanted[old, old] / image.max(), rtol=1e-5, atol=1e-7
        )
    assert np.isfinite(recorder.given[1]).sum() == both**2
    np.testing.assert_allclose(recorder.given[2], kernel / kernel.sum(), rtol=1e-5)


class RingModel:
    """A lens model that measures a ring: its radius, centre, and the width of the PSF as an error.

    Everything in the pixels that it takes for its own, as a network does.
    """

    image_grid = NEW

    def predict(self, image, noise, psf, mask=None):
        x, y = self.image_grid.coordinates()
        weight = np.where(np.isfinite(noise), image, 0) / image.sum()
        centre = np.sum(weight * x), np.sum(weight * y)
        radius = np.sum(weight * np.hypot(x - centre[0], y - centre[1]))
        wide, _ = PixelGrid(len(psf), self.image_grid.pixel_scale).coordinates()
        error = np.sqrt(np.sum(psf * wide**2))
        return np.array([radius, 0.1, 0.2, *centre, 0.3, 0.4]), np.full(7, error)


@pytest.mark.parametrize("scale", [0.099, 0.0995, 0.1, 0.1005, 0.101])
def test_lengths_are_those_of_the_images_own_pixels(scale):
    """Else a ring on pixels that are larger by 1% comes out smaller by 1%."""
    grid = PixelGrid(64, scale)
    x, y = grid.coordinates()
    image = np.exp(-0.5 * ((np.hypot(x - 0.2, y + 0.1) - 1.5) / 0.15) ** 2)
    lens, std = RebinnedLensModel(RingModel(), grid).predict(image, 0.01, 0.3)
    # A ring of this breadth has its mean radius outside of its brightest one.
    wanted = [1.5 + 0.15**2 / 1.5, 0.1, 0.2, 0.2, -0.1, 0.3, 0.4]
    np.testing.assert_allclose(lens, wanted, atol=5e-4)
    # The PSF is sampled at the pixels' middles, and ends at four sigma.
    np.testing.assert_allclose(std[[0, 3, 4]], 0.3, rtol=2e-3)
    np.testing.assert_allclose(std[[1, 2, 5, 6]], 0.3 * 0.1 / scale, rtol=2e-3)


def test_all_of_a_lens_cnns_prediction_is_scaled():
    from rim_lensing.lens_fit.lens_predictor import LensPrediction

    ones = np.ones(7, "float32")
    plain = LensPrediction(ones, ones, ones, ones, np.ones((32, 7), "float32"), [ones, 2 * ones])

    class Predictor(Recorder):
        def predict(self, image, noise, psf, mask=None):
            return plain

    image = gaussian_in_pixels(NEW, 0.4)
    seen = RebinnedLensModel(Predictor(), PixelGrid(64, 0.101)).predict(image, 0.1, 0.07)
    factors = np.array([1.01, 1, 1, 1.01, 1.01, 1, 1])
    for name in ("lens", "std", "aleatoric", "epistemic", "samples"):
        found = getattr(seen, name)
        np.testing.assert_allclose(found, factors * getattr(plain, name), rtol=1e-6)
        assert found.dtype == "float32"
    np.testing.assert_allclose(seen.interval(), factors * plain.interval(), rtol=1e-6)
    # Averaged pixels are the model's own.
    assert RebinnedLensModel(Predictor(), OLD).predict(np.ones((130, 130)), 0.1, 0.07) is plain
