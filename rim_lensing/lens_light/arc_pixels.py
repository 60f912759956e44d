"""Which pixels are brighter than the lens galaxy: arcs, neighbours, whatever is there."""

import numpy as np
from scipy.ndimage import binary_propagation, gaussian_filter

SEED, EDGE = 4.0, 1.5
"""In sigma, of the brightness smoothed by the PSF: what is brighter than the first in the middle is
left out, down to the second around it."""

MIN_SCATTER = 0.5
"""Of the noise map: noise maps are wrong by no more, and a mock without noise has no less."""

MODEL_ERROR = 0.02
"""Of the light: what a model of a galaxy's light is wrong by, next to a core of high signal to
noise. Less than this is not taken for an arc."""


def brighter_than_light(
    residuals: np.ndarray, light: np.ndarray, weight: np.ndarray, psf_sigma: float
) -> np.ndarray:
    """Return where residuals are positive, and coherent over the PSF.

    The scatter is measured on what is negative, which no arc makes.

    Args:
        residuals: Data minus model, (rows, columns).
        light: The model, without the sky.
        weight: 1 / sigma^2; 0 where nothing is known.
        psf_sigma: Pixels.

    Returns:
        Bool, (rows, columns).
    """
    variance = np.where(weight > 0, 1 / np.where(weight > 0, weight, 1), np.inf)
    softened = 1 / (variance + (MODEL_ERROR * light) ** 2)
    blur = max(psf_sigma, 0.8)
    signal = gaussian_filter(residuals * softened, blur)
    # The square of a Gaussian is one that is narrower, over 4 pi sigma^2.
    power = gaussian_filter(softened, blur / np.sqrt(2)) / (4 * np.pi * blur**2)
    seen = power > 0.05 * np.median(power[weight > 0])
    smooth = np.where(seen, signal / np.sqrt(np.where(seen, power, 1)), 0)
    negative = smooth[(weight > 0) & (smooth < 0)]
    scatter = np.sqrt(np.median(negative**2)) / 0.6745 if len(negative) else 1.0
    scatter = max(scatter, MIN_SCATTER)
    return binary_propagation(smooth > SEED * scatter, mask=smooth > EDGE * scatter)
