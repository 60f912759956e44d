"""Which source pixels the used data see, and how much each is magnified.

The sensitivity of the used data to a source pixel is the column of f = W B L. A pixel whose column
is that of no data has whatever brightness prior or network give it. Here the columns are measured
by the light in them: unlensed, a source pixel has its own area of it, and every image adds its
magnification. Noise does not enter, so that a bright arc's Poisson noise does not make it unseen.
"""

import warnings
from collections.abc import Callable

import numpy as np

from rim_lensing.observation.batch_warnings import SystemsWarning, which_systems

MIN_SEEN = 0.05
"""A source pixel is constrained if the used image pixels have this part of its light, as it is
without magnification. An outer image is magnified: it has 1 or more where no mask hides it. A PSF's
wings carry less out of a mask."""

MAX_NOISE = 30.0
"""Over the median of the used pixels: with more, an image pixel shows nothing."""

NOTABLE_SHARE = 0.1
"""Of all light: so much of it in unconstrained pixels is warned of."""


def seen_pixels(
    adjoint: Callable[[np.ndarray], np.ndarray], noise: np.ndarray, area_ratio: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return which source pixels are constrained, and the magnification of each.

    Args:
        adjoint: L'B' of one system or of a batch, from (..., m, m) to (..., n, n).
        noise: rms, (..., m, m); infinite where masked.
        area_ratio: Area of an image pixel over that of a source pixel.

    Returns:
        Constrained, (..., n, n), by MIN_SEEN; and the flux of each pixel's images in the frame over
        its own, masked or not, (..., n, n).
    """
    used = np.isfinite(noise)
    axes = {"axis": (-2, -1), "keepdims": True}
    median = np.nanmedian(np.where(used, noise, np.nan), **axes)
    used &= noise <= MAX_NOISE * median
    magnification = area_ratio * adjoint(np.ones(noise.shape, "float32"))
    return area_ratio * adjoint(used.astype("float32")) >= MIN_SEEN, magnification


def unconstrained_share(source: np.ndarray, constrained: np.ndarray) -> np.ndarray:
    """Return the share of the light that lies in unconstrained pixels, (...,).

    Args:
        source: (..., n, n). What is negative where the data see it, and in sum where they do not,
            counts as 0.
        constrained: (..., n, n).
    """
    hidden = np.maximum(np.sum(np.where(constrained, 0.0, source), axis=(-2, -1)), 0.0)
    seen = np.sum(np.where(constrained, np.maximum(source, 0.0), 0.0), axis=(-2, -1))
    total = hidden + seen
    return hidden / np.where(total > 0, total, 1.0)


def warn_of_unconstrained(source: np.ndarray, constrained: np.ndarray) -> None:
    """Warn (UserWarning) of sources, (n, n) or (batch, n, n), with light where no data are."""
    share = np.atleast_1d(unconstrained_share(source, constrained))
    bad = share > NOTABLE_SHARE
    if bad.any():
        warnings.warn(
            SystemsWarning(
                f"{share[bad][0]:.0%} of the source's light lies where no used image pixel sees it"
                f"{which_systems(bad)}: no data speak for it or against it. These pixels are "
                "hatched in the figure, False in `constrained`, and left out of flux and "
                "magnification. A smaller mask may show what is there.",
                bad,
            ),
            stacklevel=3,
        )
