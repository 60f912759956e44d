"""Sersic profiles on pixels, behind the PSF."""

import numpy as np
from scipy.special import gamma, gammaincinv

from rim_lensing.lens_light.patches import Patch

_CORE_RADIUS = 6
"""Pixels around the centre in which a profile is sampled more finely."""

_CORE_SAMPLES, _SAMPLES = 10, 2
"""Per pixel along a side, in the core and elsewhere."""


def sersic_shape(n: float) -> float:
    """Return b_n of exp(-b_n ((r / R_e)^(1/n) - 1)), for which R_e holds half of the flux."""
    return gammaincinv(2 * n, 0.5)


def sersic_columns(patch: Patch, sizes, ellipticities, centre) -> np.ndarray:
    """Return Sersic profiles of flux 1 as the telescope sees them, per pixel of the image.

    Args:
        patch: The pixels.
        sizes: Half-light radius R_e in arcsec (geometric mean of the axes) and index n, (count, 2).
        ellipticities: (e1, e2) of each, (count, 2), of modulus (1 - q) / (1 + q).
        centre: (x, y) of all, arcsec.

    Returns:
        (count, rows, columns).
    """
    x, y = (axis - middle for axis, middle in zip(patch.padded, centre, strict=True))
    images = []
    near = _CORE_RADIUS * patch.pixel_scale
    core = np.ix_(np.flatnonzero(np.abs(y) <= near), np.flatnonzero(np.abs(x) <= near))
    for (radius, n), ellipticity in zip(sizes, ellipticities, strict=True):
        image = _mean(x, y, radius, n, ellipticity, patch.pixel_scale, _SAMPLES)
        if core[0].size and core[1].size:
            axes = x[core[1].ravel()], y[core[0].ravel()]
            image[core] = _mean(*axes, radius, n, ellipticity, patch.pixel_scale, _CORE_SAMPLES)
        images.append(image)
    return patch.blurred(np.stack(images)) * (patch.pixel_scale / patch.unit) ** 2


def _mean(x, y, radius, n, ellipticity, pixel_scale, samples) -> np.ndarray:
    """Return the means of samples x samples in each pixel, per square arcsec."""
    offsets = ((np.arange(samples) + 0.5) / samples - 0.5) * pixel_scale
    fine_x, fine_y = ((axis[:, None] + offsets).ravel() for axis in (x, y))
    e1, e2 = ellipticity
    squared = e1**2 + e2**2
    elliptical = (
        (1 + squared - 2 * e1) * fine_x**2
        + (1 + squared + 2 * e1) * fine_y[:, None] ** 2
        - 4 * e2 * np.outer(fine_y, fine_x)
    ) / (1 - squared)
    b = sersic_shape(n)
    flux = 2 * np.pi * n * radius**2 * gamma(2 * n) / b ** (2 * n)
    profile = np.exp(-b * (elliptical / radius**2) ** (0.5 / n)) / flux
    return profile.reshape(len(y), samples, len(x), samples).mean(axis=(1, 3))
