"""Noise that is correlated from pixel to pixel, as resampling (drizzling, mosaics) leaves it."""

import numpy as np
from scipy.signal import fftconvolve

REACH = 3
"""Pixels: beyond, noise is taken for uncorrelated, and what is measured for lens light and sky."""


def noise_correlation(normalised: np.ndarray, blank: np.ndarray, reach: int = REACH) -> np.ndarray:
    """Measure how the noise of pixels hangs together, where there is nothing but noise.

    Args:
        normalised: Image over noise map, (m, m); may hold anything where it is not blank.
        blank: True where there is nothing but noise, (m, m).
        reach: Largest distance along rows and columns.

    Returns:
        Correlation coefficients by distance, (2 reach + 1, 2 reach + 1), 1 in the middle.

    Raises:
        ValueError: Too few blank pixels for some distance.
    """
    blank = np.asarray(blank, bool)
    if not blank.any():
        raise ValueError("`blank` must be True where there is nothing but noise. Received: nowhere")
    used = blank.astype("float64")
    values = np.where(blank, normalised, 0)
    values = np.where(blank, values - values.sum() / used.sum(), 0)
    pairs, products = (_correlate(each, reach) for each in (used, values))
    if pairs.min() < 0.5:
        raise ValueError(
            f"`blank` must have pairs of pixels at every distance up to {reach}. Received: "
            f"{blank.sum()} pixels"
        )
    covariance = products / pairs
    return covariance / covariance[reach, reach]


def correlate_noise(white: np.ndarray, correlation: np.ndarray) -> np.ndarray:
    """Return noise of variance 1 with a given correlation.

    Args:
        white: Independent draws of variance 1, (batch, m, m).
        correlation: See `noise_correlation`; what is measured may be none, with a negative power
            somewhere, which is set to 0.

    Raises:
        ValueError: `correlation` is not square with an odd side, or not finite.
    """
    correlation = np.asarray(correlation, "float64")
    side = len(correlation)
    square = correlation.shape == (side, side) and side % 2 == 1
    if not (square and np.all(np.isfinite(correlation))):
        raise ValueError(
            "`noise_correlation` must be a finite square (k, k), k odd, 1 in the middle. "
            f"Received: shape {correlation.shape}"
        )
    if side > min(white.shape[1:]):
        raise ValueError(
            "`noise_correlation` must not be larger than the image, "
            f"{white.shape[1]} x {white.shape[2]} pixels. Received: {side} a side"
        )
    # Opposite borders come out correlated, which is no harm to arcs in the middle.
    spread = np.zeros(white.shape[1:])
    spread[:side, :side] = correlation
    spread = np.roll(spread, (-(side // 2), -(side // 2)), axis=(0, 1))
    amplitude = np.sqrt(np.clip(np.fft.fft2(spread).real, 0, None))
    amplitude /= np.sqrt(np.mean(amplitude**2))
    return np.fft.ifft2(np.fft.fft2(white) * amplitude).real


def _correlate(array: np.ndarray, reach: int) -> np.ndarray:
    """Return the sums of products of pixels by distance, (2 reach + 1, 2 reach + 1)."""
    sums = fftconvolve(array, array[::-1, ::-1], mode="full")
    row, column = (length - 1 for length in array.shape)
    return sums[row - reach : row + reach + 1, column - reach : column + reach + 1]
