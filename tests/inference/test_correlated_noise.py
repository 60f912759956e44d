"""Correlations of noise smoothed by a Gaussian, whose autocorrelation is known in closed form."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from rim_lensing.inference.correlated_noise import correlate_noise, noise_correlation

SIGMA = 0.8


def smooth_noise(generator, side: int) -> np.ndarray:
    noise = gaussian_filter(generator.standard_normal((side, side)), SIGMA, mode="wrap")
    # White noise smoothed keeps 1 / (4 pi sigma^2) of its variance.
    return noise * np.sqrt(4 * np.pi) * SIGMA


def expected(reach: int) -> np.ndarray:
    """Of white noise smoothed by a Gaussian: a Gaussian sqrt(2) times as wide."""
    along = np.exp(-(np.arange(-reach, reach + 1) ** 2) / (4 * SIGMA**2))
    return np.outer(along, along)


def test_measures_the_correlation_around_masked_objects():
    generator = np.random.default_rng(0)
    noise = smooth_noise(generator, 400) + 0.3
    blank = generator.uniform(size=noise.shape) > 0.3
    blank[150:250, 150:250] = False
    noise[~blank] = np.nan
    np.testing.assert_allclose(noise_correlation(noise, blank, 3), expected(3), atol=0.02)


def test_draws_have_the_correlation_and_variance_that_were_asked_for():
    white = np.random.default_rng(1).standard_normal((40, 64, 64))
    noise = correlate_noise(white, expected(3))
    assert noise.std() == pytest.approx(1, abs=0.01)
    found = np.mean([noise_correlation(one, np.ones(one.shape, bool), 3) for one in noise], axis=0)
    np.testing.assert_allclose(found, expected(3), atol=0.03)


def test_no_correlation_leaves_the_draws_alone():
    white = np.random.default_rng(2).standard_normal((2, 16, 16))
    np.testing.assert_allclose(correlate_noise(white, np.ones((1, 1))), white, atol=1e-12)


@pytest.mark.parametrize("correlation", [np.ones((2, 2)), np.ones((3, 5)), np.full((3, 3), np.nan)])
def test_refuses_what_is_no_correlation(correlation):
    with pytest.raises(ValueError, match="noise_correlation"):
        correlate_noise(np.zeros((1, 16, 16)), correlation)


def test_refuses_too_large_a_correlation_and_no_blank_pixels():
    with pytest.raises(ValueError, match="larger than the image"):
        correlate_noise(np.zeros((1, 4, 4)), np.ones((5, 5)))
    with pytest.raises(ValueError, match="blank"):
        noise_correlation(np.zeros((8, 8)), np.zeros((8, 8), bool))
    single = np.zeros((8, 8), bool)
    single[4, 4] = True
    with pytest.raises(ValueError, match="every distance"):
        noise_correlation(np.zeros((8, 8)), single)
