"""Noise that is correlated from pixel to pixel, as resampling (drizzling, mosaics) leaves it."""

import warnings

import numpy as np
from scipy.signal import fftconvolve

from rim_lensing.observation.arguments import numbers, understand

REACH = 3
"""Pixels: beyond, noise is taken for uncorrelated, and what is measured for lens light and sky."""

MIN_PAIRS = 50
"""Of pixels at a distance. The coefficient of so many independent pairs has an error of 0.14."""

_PLAUSIBLE_SCATTER = (0.8, 1.25)


def noise_correlation(normalised: np.ndarray, blank: np.ndarray, reach: int = REACH) -> np.ndarray:
    """Measure how the noise of pixels hangs together, where there is nothing but noise.

    It tells nothing of how strong the noise is: a noise map that is wrong by a factor has the same
    coefficients, and is warned of.

    Args:
        normalised: Image over noise map, (m, m); may hold anything where it is not blank.
        blank: True where there is nothing but noise, (m, m). Masked pixels of either are not.
        reach: Largest distance along rows and columns.

    Returns:
        Correlation coefficients by distance, (2 reach + 1, 2 reach + 1), 1 in the middle, symmetric
        about it. Fewer pairs are used the larger the distance; a coefficient that chance takes
        beyond -1 or 1 is set to that.

    Raises:
        ValueError: The two are not images of one shape; the image over noise is not finite, or
            everywhere the same, where it is blank; less than MIN_PAIRS pairs of blank pixels at
            some distance; a `reach` that is no integer from 0 to m - 1.

    Warns:
        UserWarning: The blank pixels scatter by less than 0.8 or more than 1.25: the noise map is
            not their rms, by the factor that is told.
    """
    told, empty = understand("normalised", normalised), understand("blank", blank)
    normalised, blank = told.array, empty.array.astype(bool)
    for each in (told, empty):
        if each.used is not None and each.used.shape == blank.shape:
            blank = blank & each.used
    if normalised.ndim != 2 or normalised.shape != blank.shape:
        raise ValueError(
            "`normalised` and `blank` must be images (y, x) of one shape. Received: "
            f"{normalised.shape} and {blank.shape}"
        )
    if int(reach) != reach or not 0 <= reach < min(blank.shape):
        raise ValueError(
            "`reach` must be an integer, 0 or more and less than the pixels of a side, "
            f"{min(blank.shape)}. Received: {reach}"
        )
    if not blank.any():
        raise ValueError("`blank` must be True where there is nothing but noise. Received: nowhere")
    if not np.all(np.isfinite(normalised[blank])):
        raise ValueError(
            "`normalised` must be finite where it is blank. Received: "
            f"{np.sum(~np.isfinite(normalised[blank]))} pixels that are not"
        )
    used = blank.astype("float64")
    values = np.where(blank, normalised, 0)
    values = np.where(blank, values - values.sum() / used.sum(), 0)
    pairs, products = (_correlate(each, int(reach)) for each in (used, values))
    # The sums are whole numbers, but for the rounding of the Fourier transforms.
    fewest = round(pairs.min())
    if fewest < MIN_PAIRS:
        raise ValueError(
            f"`blank` must have at least {MIN_PAIRS} pairs of pixels at every distance up to "
            f"{reach}, or chance makes the coefficients: find more blank sky, or lower `reach`. "
            f"Received: {blank.sum()} pixels, with {fewest} pairs at one of the distances"
        )
    if np.ptp(normalised[blank]) == 0:
        raise ValueError(
            "`normalised` must vary where it is blank, as noise does. Received: "
            f"{normalised[blank][0]:g} everywhere"
        )
    covariance = products / pairs
    variance = covariance[reach, reach]
    low, high = _PLAUSIBLE_SCATTER
    if not low <= np.sqrt(variance) <= high:
        warnings.warn(
            "`normalised` must be the image over its noise map, and scatter by 1 where it is "
            f"blank: multiply the noise map by {np.sqrt(variance):.3g}, or the residuals are taken "
            "for more or less than noise. Received: a standard deviation of "
            f"{np.sqrt(variance):.3g}",
            UserWarning,
            stacklevel=2,
        )
    return np.clip(covariance / variance, -1, 1)


def check_noise_correlation(correlation: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Return a correlation as an array of float64, or refuse it.

    Args:
        correlation: See `noise_correlation`, (k, k).
        shape: Of the images that it is for.

    Raises:
        ValueError: It is not square with an odd side, not finite, not 1 in the middle, beyond -1
            or 1 somewhere, not symmetric about the middle, or larger than the image.
    """
    correlation = numbers("noise_correlation", correlation)
    side = len(correlation) if correlation.ndim else 0
    square = correlation.shape == (side, side) and side % 2 == 1
    if not (square and np.all(np.isfinite(correlation))):
        raise ValueError(
            "`noise_correlation` must be a finite square (k, k), k odd, 1 in the middle. "
            f"Received: shape {correlation.shape}"
        )
    middle = correlation[side // 2, side // 2]
    if abs(middle - 1) > 1e-6:
        raise ValueError(
            "`noise_correlation` must be 1 in the middle: divide a covariance by its variance. "
            f"Received: {middle:g}"
        )
    largest = np.max(np.abs(correlation))
    if largest > 1 + 1e-6:
        raise ValueError(
            "`noise_correlation` must have no coefficient beyond -1 or 1. Received: one of size "
            f"{largest:g}"
        )
    difference = np.max(np.abs(correlation - correlation[::-1, ::-1]))
    if difference > 1e-6:
        raise ValueError(
            "`noise_correlation` must be symmetric about the middle, C(d) = C(-d): a pair of "
            "pixels is as far apart seen from either. Received: coefficients of opposite distances "
            f"that differ by {difference:.3g}"
        )
    if side > min(shape):
        raise ValueError(
            "`noise_correlation` must not be larger than the image, "
            f"{shape[0]} x {shape[1]} pixels. Received: {side} a side"
        )
    return correlation


def correlate_noise(white: np.ndarray, correlation: np.ndarray) -> np.ndarray:
    """Return noise of variance 1 with a given correlation.

    Args:
        white: Independent draws of variance 1, (batch, m, m).
        correlation: See `noise_correlation`; what is measured may be none, with a negative power
            somewhere, which is set to 0.

    Returns:
        (batch, m, m).

    Raises:
        ValueError: `white` is no batch of images; `correlation` is none, see
            `check_noise_correlation`.
    """
    white = np.asarray(white)
    if white.ndim != 3:
        raise ValueError(f"`white` must be (batch, y, x). Received: shape {white.shape}")
    correlation = check_noise_correlation(correlation, white.shape[1:])
    side = len(correlation)
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
