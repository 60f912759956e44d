"""Elliptical Gaussians on pixels, behind the PSF (Emsellem et al. 1994; Cappellari 2002)."""

import numpy as np

from rim_lensing.lens_light.patches import Patch

_SAMPLES_PER_WIDTH = 1.5
"""A Gaussian that is summed over samples 1 / 1.5 of its width apart is exact to 1e-8."""

_REACH = 6.0
"""Widths: beyond, a Gaussian is below 1e-7 of its peak."""


def gaussian_columns(patch: Patch, widths, ellipticities, centre) -> np.ndarray:
    """Return Gaussians of flux 1 as the telescope sees them, per pixel of the image.

    The mean over a pixel is taken as that of samples, each of which stands for a square of the
    variance h^2 / 12: added to the Gaussian's, exact to 1e-3 where it is as wide as the samples are
    apart, and to 1e-5 where it is twice as wide.

    Args:
        patch: The pixels.
        widths: sigma in arcsec, the geometric mean of both axes', (n,).
        ellipticities: (e1, e2) of each, (n, 2), of modulus (1 - q) / (1 + q).
        centre: (x, y) of all, arcsec.

    Returns:
        (n, rows, columns).
    """
    x, y = (axis - middle for axis, middle in zip(patch.padded, centre, strict=True))
    images = np.empty((len(widths), len(y), len(x)))
    for image, width, (e1, e2) in zip(images, widths, ellipticities, strict=True):
        samples = int(np.ceil(_SAMPLES_PER_WIDTH * patch.pixel_scale / width))
        covariance = width**2 * _shape(e1, e2)
        if samples == 1:
            image[:] = _gaussian(x, y, covariance, patch.pixel_scale)
        else:
            _sampled(image, x, y, covariance, patch.pixel_scale, samples)
    return patch.blurred(images) * (patch.pixel_scale / patch.unit) ** 2


def _shape(e1: float, e2: float) -> np.ndarray:
    """Return the covariance of determinant 1 with an ellipticity: axes sqrt(q), 1 / sqrt(q)."""
    squared = e1**2 + e2**2
    return np.array([[1 + squared + 2 * e1, 2 * e2], [2 * e2, 1 + squared - 2 * e1]]) / (
        1 - squared
    )


def _gaussian(x, y, covariance, spacing: float) -> np.ndarray:
    """Return a normal density on the outer product of two axes, of squares of a width."""
    (xx, xy), (_, yy) = covariance + np.eye(2) * spacing**2 / 12
    determinant = xx * yy - xy**2
    exponent = np.outer(y, x * (xy / determinant))
    exponent -= (0.5 * yy / determinant) * x**2
    exponent -= (0.5 * xx / determinant) * y[:, None] ** 2
    np.exp(exponent, out=exponent)
    return exponent / (2 * np.pi * np.sqrt(determinant))


def _sampled(image, x, y, covariance, pixel_scale: float, samples: int) -> None:
    """Fill in the means of samples x samples in each pixel that a narrow Gaussian reaches."""
    image[:] = 0
    reach = _REACH * np.sqrt(covariance.diagonal()) + pixel_scale
    columns, rows = (
        np.flatnonzero(np.abs(axis) <= length) for axis, length in zip((x, y), reach, strict=True)
    )
    if not len(rows) or not len(columns):
        return
    offsets = ((np.arange(samples) + 0.5) / samples - 0.5) * pixel_scale
    fine = _gaussian(
        (x[columns, None] + offsets).ravel(),
        (y[rows, None] + offsets).ravel(),
        covariance,
        pixel_scale / samples,
    )
    image[np.ix_(rows, columns)] = fine.reshape(len(rows), samples, len(columns), samples).mean(
        axis=(1, 3)
    )
