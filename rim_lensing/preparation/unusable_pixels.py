"""Pixels that tell nothing: without data, dead, saturated, or hidden by an absurd noise."""

import numpy as np

ABSURD_NOISE = 1e3
"""Times the median noise: no light of a galaxy makes noise that strong; 1e8 is how masks are put
into noise maps."""

PLATEAU_PIXELS = 16
"""Neighbouring pixels of exactly one value: no noise does that; a mosaic's border does."""

SATURATED_PIXELS, SATURATED_SHARE = 4, 0.7
"""Neighbouring pixels of exactly one value, more than this share of the image's brightest."""


def has_no_data(image: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """Return where there is nothing measured, (y, x).

    That is where image or noise are NaN or infinite, where the noise is not positive or
    ABSURD_NOISE times its median, and patches of one value, as borders of mosaics are filled with.

    Args:
        image: (y, x).
        noise: rms, (y, x); NaN everywhere where it is not known.
    """
    missing = ~np.isfinite(image)
    if not np.isnan(noise).all():
        with np.errstate(invalid="ignore"):
            missing |= ~(noise > 0) | ~np.isfinite(noise)
        if not missing.all():
            missing |= noise > ABSURD_NOISE * np.median(noise[~missing])
    return missing | _plateaus(image, PLATEAU_PIXELS, -np.inf)


def is_saturated(image: np.ndarray, saturation: float | None = None) -> np.ndarray:
    """Return where the detector was full, (y, x).

    Args:
        image: (y, x).
        saturation: The level, in the image's unit, above which pixels are; by default told by
            plateaus: SATURATED_PIXELS neighbours or more of exactly one value near the brightest.
    """
    filled = np.where(np.isfinite(image), image, -np.inf)
    if saturation is not None:
        return filled >= saturation
    brightest = filled.max()
    if not 0 < brightest < np.inf:
        return np.zeros(image.shape, bool)
    return _plateaus(image, SATURATED_PIXELS, SATURATED_SHARE * brightest)


def _plateaus(image: np.ndarray, smallest: int, above: float) -> np.ndarray:
    """Return patches of at least so many pixels of one value above a level, (y, x)."""
    from scipy.ndimage import label

    same = np.zeros(image.shape, bool)
    for axis in (0, 1):
        steps = np.diff(image, axis=axis) == 0
        first, second = [slice(None)] * 2, [slice(None)] * 2
        first[axis], second[axis] = slice(None, -1), slice(1, None)
        same[tuple(first)] |= steps
        same[tuple(second)] |= steps
    patches, _ = label(same & (image > above))
    sizes = np.bincount(patches.ravel())
    sizes[0] = 0
    return (sizes >= smallest)[patches]
