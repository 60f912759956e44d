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


def delta(side: int) -> np.ndarray:
    correlation = np.zeros((side, side))
    correlation[side // 2, side // 2] = 1
    return correlation


@pytest.mark.parametrize(
    "correlation, message",
    [
        (np.ones((2, 2)), r"finite square.*Received: shape \(2, 2\)"),
        (np.ones((3, 5)), r"finite square.*Received: shape \(3, 5\)"),
        (np.ones(3), r"finite square.*Received: shape \(3,\)"),
        (0.4, r"finite square.*Received: shape \(\)"),
        (np.full((3, 3), np.nan), "finite square"),
        (2.5 * delta(3), "must be 1 in the middle.*Received: 2.5"),
        (delta(17), "larger than the image, 16 x 16 pixels. Received: 17"),
    ],
)
def test_refuses_what_is_no_correlation(correlation, message):
    with pytest.raises(ValueError, match=message):
        correlate_noise(np.zeros((1, 16, 16)), correlation)


def test_refuses_draws_without_a_batch_axis():
    with pytest.raises(ValueError, match=r"`white` must be \(batch, y, x\)"):
        correlate_noise(np.zeros((16, 16)), delta(3))


ALL = np.ones((8, 8), bool)
SINGLE = np.arange(64).reshape(8, 8) == 36
NOISE = np.random.default_rng(3).standard_normal((8, 8))


@pytest.mark.parametrize(
    "normalised, blank, reach, message",
    [
        (NOISE, ~ALL, 3, "Received: nowhere"),
        (NOISE, SINGLE, 3, "every distance up to 3"),
        (NOISE, ALL[:, :7], 3, "of one shape"),
        (NOISE[0], ALL[0], 3, "of one shape"),
        (NOISE, ALL, -1, "`reach` must be.*Received: -1"),
        (NOISE, ALL, 8, "less than the pixels of a side, 8. Received: 8"),
        (NOISE, ALL, 1.5, "`reach` must be an integer"),
        (np.where(SINGLE, np.nan, NOISE), ALL, 3, "finite where it is blank. Received: 1 pixels"),
        (np.full((8, 8), 0.3), ALL, 3, "must vary.*Received: 0.3 everywhere"),
    ],
)
def test_refuses_what_no_correlation_can_be_measured_in(normalised, blank, reach, message):
    with pytest.raises(ValueError, match=message):
        noise_correlation(normalised, blank, reach)


def test_the_largest_reach_is_the_whole_image():
    assert noise_correlation(NOISE, ALL, 7).shape == (15, 15)
    np.testing.assert_array_equal(noise_correlation(NOISE, ALL, 0), [[1]])
