"""Foreground stars in front of a galaxy: found by their shape, filled in from around them."""

import numpy as np
from scipy import ndimage

from rim_lensing.galaxies.rejection import NotAGalaxyError
from rim_lensing.galaxies.segmentation import extent_of

MAXIMUM_STARS = 0.25  # of the segment's area


def without_stars(grey: np.ndarray, segment: np.ndarray, noise: float) -> np.ndarray:
    """Foreground stars filled in from around them; the nucleus and the knots of the arms stay."""
    extent = extent_of(segment)
    base = _local_median(grey, 0.10 * extent)
    inside = grey[segment]
    bright = float(np.percentile(inside, 99.0)) if inside.size else 0.0
    sharp = grey - base
    star = segment & (sharp > np.maximum(0.5 * np.maximum(base, 0.0) + 0.2 * bright, 6.0 * noise))
    labels, count = ndimage.label(star)
    nucleus = _distance_from_nucleus(base, segment, extent)
    mask = np.zeros_like(segment)
    for label, window in enumerate(ndimage.find_objects(labels), start=1):
        found = labels[window] == label
        # The nucleus is as sharp as a star: the brightest tenth of the galaxy's extent is left
        # alone.
        if nucleus[window][found].min() > 0.09 * extent and _is_round(found, 0.12 * extent):
            _mark_disk(mask, window, found)
    if not mask.any():
        return grey
    covered = np.count_nonzero(mask & segment) / segment.sum()
    if covered > MAXIMUM_STARS:
        raise NotAGalaxyError("crowded", f"stars cover {covered:.0%} of it")
    return np.where(mask, filled(grey, mask, reach=max(1.5, 0.02 * extent)), grey)


def _is_round(found: np.ndarray, largest: float) -> bool:
    """Whether a small mask is a disk, as a star's is; arms, bars and thin disks are not."""
    height, width = found.shape
    if max(height, width) > largest or max(height, width) > 1.7 * min(height, width) + 1:
        return False
    return bool(found.sum() >= 0.55 * height * width)


def _mark_disk(mask: np.ndarray, window: tuple[slice, slice], found: np.ndarray) -> None:
    """Set `mask` on a disk around the pixels `found` of `window`, as wide as a star's wings."""
    radius = 1.0 + 1.8 * np.sqrt(found.sum() / np.pi)
    centre = [part.start + 0.5 * (size - 1) for part, size in zip(window, found.shape, strict=True)]
    first = [max(0, int(middle - radius)) for middle in centre]
    last = [int(middle + radius) + 2 for middle in centre]
    view = mask[first[0] : last[0], first[1] : last[1]]
    rows, columns = np.indices(view.shape)
    view |= np.hypot(rows + first[0] - centre[0], columns + first[1] - centre[1]) <= radius


def _local_median(grey: np.ndarray, width: float) -> np.ndarray:
    """Median over squares of about `width` pixels, on a coarser grid where they are large."""
    factor = max(1, int(width // 7))
    rows, columns = (factor * (size // factor) for size in grey.shape)
    blocks = grey[:rows, :columns].reshape(rows // factor, factor, columns // factor, factor)
    size = max(5, round(width / factor)) | 1
    coarse = ndimage.median_filter(blocks.mean(axis=(1, 3)), size=size, mode="nearest")
    # Block b is centred on pixel factor * b + (factor - 1) / 2.
    position = [(np.arange(n) - 0.5 * (factor - 1)) / factor for n in grey.shape]
    grid = np.meshgrid(*position, indexing="ij")
    return ndimage.map_coordinates(coarse, grid, order=1, mode="nearest")


def _distance_from_nucleus(base: np.ndarray, segment: np.ndarray, extent: float) -> np.ndarray:
    """Distance in pixels of every pixel from the brightest point of the galaxy's smooth light."""
    smooth = ndimage.gaussian_filter(np.where(segment, base, 0.0), 0.06 * extent)
    row, column = np.unravel_index(np.argmax(smooth), smooth.shape)
    rows, columns = np.indices(base.shape)
    return np.hypot(rows - row, columns - column)


def filled(image: np.ndarray, missing: np.ndarray, reach: float = 2.0) -> np.ndarray:
    """`image` with the pixels of `missing` replaced by a Gaussian-weighted mean of those around."""
    known = np.where(missing, 0.0, image)
    # Float64 weights far from any known pixel underflow to 0: the wider pass, then the mean, take
    # over there.
    result = np.where(missing, np.mean(image[~missing]) if (~missing).any() else 0.0, image)
    for width in (8 * reach, reach):
        weight = ndimage.gaussian_filter((~missing).astype(np.float64), width)
        smooth = ndimage.gaussian_filter(known, width)
        usable = missing & (weight > 1e-3)
        result[usable] = smooth[usable] / weight[usable]
    return result
