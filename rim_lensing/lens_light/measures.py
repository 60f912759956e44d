"""What a fit of the light says about the galaxy, and by how much it is wrong."""

import numpy as np
from scipy.optimize import brentq

from rim_lensing.lens_light.patches import Patch

_RING = 2.0
"""Pixels: width of the rings in which the residuals' scatter is measured."""

_MIN_RING_PIXELS = 12
"""Pixels of a ring that tell its scatter."""


def describe(profile, vector: np.ndarray, amplitudes: np.ndarray) -> dict:
    """Return centre, shape and flux of a galaxy, under the names of `LensLight`.

    Args:
        profile: `MultiGaussian` or `Sersic`.
        vector: Its shapes.
        amplitudes: Fluxes of its columns.
    """
    flux = amplitudes.sum()
    ellipticities, widths = profile.ellipticities(vector), profile.scales(vector)
    radius, e1, e2, twist = 0.0, 0.0, 0.0, 0.0
    if flux > 0:
        radius = brentq(
            lambda r: amplitudes @ profile.enclosed(vector, r) - flux / 2,
            0.0,
            10 * widths[amplitudes > 0].max(),
        )
        inner = amplitudes * profile.enclosed(vector, radius)
        outer = amplitudes - inner
        e1, e2 = inner @ ellipticities / inner.sum()
        out1, out2 = outer @ ellipticities / outer.sum()
        # The angle of e is twice that of the axis.
        twist = 0.5 * np.angle((out1 + 1j * out2) * (e1 - 1j * e2))
    return {
        "centre": (float(vector[0]), float(vector[1])),
        "e1": float(e1),
        "e2": float(e2),
        "twist": float(twist),
        "flux": float(flux),
        "half_light_radius": float(radius),
        "widths": widths,
        "amplitudes": amplitudes,
        "ellipticities": ellipticities,
        "indices": profile.indices(vector),
    }


def error_map(
    whole: Patch, residuals: np.ndarray, fitted: np.ndarray, light: np.ndarray, centre
) -> np.ndarray:
    """Return what the light is wrong by, rms, (rows, columns).

    In rings around the centre: what the residuals scatter more than the noise, where that is more
    than chance, over the light there. Rings that are hidden under arcs are given what lies between
    their neighbours.

    Args:
        whole: The image.
        residuals: Data minus model.
        fitted: Where they tell of the light.
        light: Without the sky.
        centre: (x, y), arcsec.
    """
    radius = np.hypot(whole.x - centre[0], whole.y[:, None] - centre[1]) / whole.pixel_scale
    ring = (radius / _RING).astype(int)
    numbers, shares = [], []
    for number in range(ring.max() + 1):
        pixels = fitted & (ring == number)
        if pixels.sum() < _MIN_RING_PIXELS:
            continue
        variance = np.median(1 / whole.weight[pixels])
        # The median of a square of a normal variable is 0.455 of its mean.
        excess = np.median(residuals[pixels] ** 2) / 0.455 - variance
        level = np.median(light[pixels])
        chance = 2 * np.sqrt(5.4 / pixels.sum()) * variance
        numbers.append(number)
        shares.append(np.sqrt(excess) / level if excess > chance and level > 0 else 0.0)
    if not numbers:
        return np.zeros_like(light)
    return np.interp(np.arange(ring.max() + 1), numbers, shares)[ring] * light
