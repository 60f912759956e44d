"""Images on larger pixels: the mean of what each covers, with its noise."""

import numpy as np

from rim_lensing.lensing.grids import PixelGrid


def rebin(
    image: np.ndarray,
    noise: np.ndarray,
    kernel: np.ndarray,
    old: PixelGrid,
    new: PixelGrid,
    noise_correlation: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bring an observation to larger pixels around the same origin.

    A new pixel is the mean of the used pixels that it covers, each weighted by the area that they
    share: the flux per old pixel, as before. Its noise is that of this mean, in quadrature where
    old pixels are independent; that the noise of two new pixels is correlated, because they share
    an old one or because old ones are, is not told. A new pixel of which less than half is covered
    by used pixels is masked.

    Args:
        image: (m, m).
        noise: rms, (m, m); infinite where masked.
        kernel: PSF on the old pixels, (k, k), k odd.
        old: The image's pixels.
        new: n of them a side, no smaller than the old ones.
        noise_correlation: Of old pixels by their distance, (j, j), 1 in the middle; by default they
            are independent. Drizzled ones are not, and the mean of 2 x 2 that correlate by 0.4 with
            their neighbours scatters half as much again as in quadrature.

    Returns:
        Image (n, n), 0 where masked; noise (n, n), infinite there; kernel, normalised, with an odd
        side that does not exceed the image's.

    Raises:
        ValueError: The new pixels are smaller, or with this correlation the mean of some pixels
            would have no positive variance.
    """
    if new.pixel_scale < old.pixel_scale:
        raise ValueError(
            f"`new` must not have smaller pixels than `old`, {old}: averaging cannot sharpen an "
            f"image. Received: {new}"
        )
    weights, used = _overlaps(old, new), np.isfinite(noise)
    covered = weights @ used.astype("float64") @ weights.T
    kept = covered >= 0.5
    share = np.where(kept, covered, 1)
    flux = weights @ np.where(used, image, 0) @ weights.T
    correlation = np.ones((1, 1)) if noise_correlation is None else noise_correlation
    variance = _variance(weights, np.where(used, noise, 0), correlation)
    if np.any(variance[kept] <= 0):
        raise ValueError(
            "`noise_correlation` must leave the mean of pixels a positive variance: is it one, "
            f"measured on enough pixels? Received: {np.min(variance[kept]):g} for one of them"
        )
    side = len(kernel)
    reach = int(np.ceil((side * old.pixel_scale / new.pixel_scale - 1) / 2))
    wanted = PixelGrid(2 * min(reach, (new.side - 1) // 2) + 1, new.pixel_scale)
    weights = _overlaps(PixelGrid(side, old.pixel_scale), wanted)
    blur = weights @ kernel @ weights.T
    return (
        np.where(kept, flux / share, 0),
        np.where(kept, np.sqrt(variance) / share, np.inf),
        blur / blur.sum(),
    )


def _variance(weights: np.ndarray, noise: np.ndarray, correlation: np.ndarray) -> np.ndarray:
    """Return the variances of weighted sums of correlated pixels, (new, new).

    Those of w n, n with covariance s_i C_ij s_j: the sum over the distances that C knows of the
    products of weights, and of rms, of all pairs of pixels so far apart.

    Args:
        weights: Along either axis, (new, old).
        noise: rms s, (old, old); 0 where masked.
        correlation: C by distance, (k, k).
    """
    side, reach = len(noise), len(correlation) // 2
    rms, wide = np.pad(noise, reach), np.pad(weights, ((0, 0), (reach, reach)))
    variance = np.zeros((len(weights),) * 2)
    for (row, column), coefficient in np.ndenumerate(correlation):
        rows, columns = slice(row, row + side), slice(column, column + side)
        pairs = noise * rms[rows, columns]
        by_row, by_column = weights * wide[:, rows], weights * wide[:, columns]
        variance += coefficient * (by_row @ pairs @ by_column.T)
    return variance


def _overlaps(old: PixelGrid, new: PixelGrid) -> np.ndarray:
    """Return which fraction of each new pixel each old one covers along an axis, (new, old)."""
    ratio = new.pixel_scale / old.pixel_scale
    return shared_area(old.side, (old.side - 1) / 2, new.side, ratio) / ratio


def rebinned_correlation(correlation: np.ndarray, factor: int) -> np.ndarray:
    """Return the correlation of means over factor x factor pixels, by their distance.

    Where the noise is the same everywhere and all pixels are used: the covariance of two means is
    the sum of C over all pairs of pixels, one of each.

    Args:
        correlation: C of the pixels, (k, k), 1 in the middle.
        factor: Pixels along a side of a mean.
    """
    reach = (len(correlation) // 2 + factor - 1) // factor
    distance = np.arange(len(correlation)) - len(correlation) // 2
    means = factor * np.arange(-reach, reach + 1)
    # Number of pairs of pixels, one of each mean, that lie so far apart along an axis.
    pairs = np.maximum(factor - np.abs(distance[None] - means[:, None]), 0)
    covariance = pairs @ correlation @ pairs.T
    return covariance / covariance[reach, reach]


def shared_area(length: int, centre: float, side: int, ratio: float) -> np.ndarray:
    """Return which part of each pixel lies in each larger one along an axis, (side, length).

    Args:
        length: Pixels.
        centre: The pixel, or the place between two, in the middle of the larger ones.
        side: Larger pixels.
        ratio: Their width, in pixels.
    """
    small = np.arange(length) - centre
    large = ratio * (np.arange(side) - (side - 1) / 2)
    low = np.maximum(small[None] - 0.5, large[:, None] - ratio / 2)
    high = np.minimum(small[None] + 0.5, large[:, None] + ratio / 2)
    return np.maximum(high - low, 0)
