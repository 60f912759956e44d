"""Correlations of noise smoothed by a Gaussian, whose autocorrelation is known in closed form."""

import warnings

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from rim_lensing.observation.correlated_noise import (
    MIN_PAIRS,
    check_noise_correlation,
    correlate_noise,
    noise_correlation,
)

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


@pytest.mark.parametrize("factor", [0.64, 1.3])
def test_a_noise_map_that_is_wrong_by_a_factor_is_told(factor):
    """The correlation does not tell; a mean that is not 0 is no scatter."""
    noise = smooth_noise(np.random.default_rng(5), 200)
    noise /= noise.std()
    blank = np.ones(noise.shape, bool)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        expected = noise_correlation(noise + 2, blank)
    with pytest.warns(UserWarning, match=rf"multiply the noise map by {factor:g},"):
        found = noise_correlation(noise * factor, blank)
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_strong_correlation_measured_in_little_sky_is_one():
    """Chance takes the estimates of single distances beyond 1."""
    generator = np.random.default_rng(4)
    for _ in range(20):
        noise = gaussian_filter(generator.standard_normal((12, 12)), 3, mode="wrap")
        noise /= noise.std()
        found = noise_correlation(noise, np.ones((12, 12), bool), 3)
        np.testing.assert_array_equal(check_noise_correlation(found, (12, 12)), found)


def test_no_correlation_leaves_the_draws_alone():
    white = np.random.default_rng(2).standard_normal((2, 16, 16))
    np.testing.assert_allclose(correlate_noise(white, np.ones((1, 1))), white, atol=1e-12)


def delta(side: int, beside: float = 0.0) -> np.ndarray:
    """No correlation but, on one side of the middle alone, that of neighbours in a row."""
    correlation = np.zeros((side, side))
    correlation[side // 2, side // 2 :][:2] = 1, beside
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
        (delta(3, 0.4), "symmetric about the middle.*Received: .* differ by 0.4"),
        (delta(3, 1.2), "beyond -1 or 1. Received: one of size 1.2"),
        (delta(3, -1.2), "beyond -1 or 1. Received: one of size 1.2"),
    ],
)
def test_refuses_what_is_no_correlation(correlation, message):
    with pytest.raises(ValueError, match=message):
        correlate_noise(np.zeros((1, 16, 16)), correlation)


def test_refuses_draws_without_a_batch_axis():
    with pytest.raises(ValueError, match=r"`white` must be \(batch, y, x\)"):
        correlate_noise(np.zeros((16, 16)), delta(3))


ALL = np.ones((10, 10), bool)
SINGLE = np.arange(100).reshape(10, 10) == 36
NOISE = np.random.default_rng(3).standard_normal((10, 10))


@pytest.mark.parametrize(
    "normalised, blank, reach, message",
    [
        (NOISE, ~ALL, 3, "Received: nowhere"),
        (NOISE, SINGLE, 3, "every distance up to 3.*Received: 1 pixels, with 0 pairs"),
        (NOISE, ALL, 3, "at least 50 pairs.*Received: 100 pixels, with 49 pairs"),
        (NOISE, ALL[:, :7], 3, "of one shape"),
        (NOISE[0], ALL[0], 3, "of one shape"),
        (NOISE, ALL, -1, "`reach` must be.*Received: -1"),
        (NOISE, ALL, 10, "less than the pixels of a side, 10. Received: 10"),
        (NOISE, ALL, 1.5, "`reach` must be an integer"),
        (np.where(SINGLE, np.nan, NOISE), ALL, 2, "finite where it is blank. Received: 1 pixels"),
        (np.full((10, 10), 0.3), ALL, 2, "must vary.*Received: 0.3 everywhere"),
    ],
)
def test_refuses_what_no_correlation_can_be_measured_in(normalised, blank, reach, message):
    with pytest.raises(ValueError, match=message):
        noise_correlation(normalised, blank, reach)


def test_the_largest_reach_has_just_enough_pairs():
    assert 8 * 7 >= MIN_PAIRS > 7 * 7
    assert noise_correlation(NOISE, ALL, 2).shape == (5, 5)
    strip = np.where(np.arange(10)[:, None] < 9, ALL, False)
    assert noise_correlation(NOISE, strip, 2).shape == (5, 5)
    np.testing.assert_array_equal(noise_correlation(NOISE, ALL, 0), [[1]])
