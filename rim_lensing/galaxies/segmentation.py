"""Where the galaxy is: sky level, noise, and the pixels of the object at the centre of a frame."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from rim_lensing.galaxies.rejection import NotAGalaxyError

FAINTEST_LEVEL = 0.03  # of the peak: what is fainter is left out of the segment
# Of the peak: tried in turn when the segment touches the frame.
CLOSING_LEVELS = (0.04, 0.07, 0.11, 0.16)
MAXIMUM_OFFSET = 0.2  # of the frame's side: centre of the frame to nearest pixel of the segment


@dataclass(frozen=True)
class Sky:
    """Level and rms of the background, as measured along the border of the frame."""

    level: float
    noise: float


def grey_and_sky(channels: np.ndarray) -> tuple[np.ndarray, Sky]:
    """One sky-subtracted (y, x) image out of (channel, y, x), and what is left of its sky."""
    if np.ptp(channels) <= 0:
        raise NotAGalaxyError("flat", f"every pixel is {channels.flat[0]:g}")
    channels = np.stack([channel - _sky(channel).level for channel in channels])
    grey = channels.mean(axis=0)
    if len(channels) == 3:
        # A trail or a detector ghost lives in one colour only; twice the median channel leaves
        # blue galaxies alone.
        grey = np.minimum(grey, 2.0 * np.median(channels, axis=0) + 2.0 * _sky(grey).noise)
    if np.ptp(grey) <= 0:
        raise NotAGalaxyError("flat", "no pixel stands out in more than one colour")
    sky = _sky(grey)
    return grey - sky.level, Sky(0.0, sky.noise)


def _sky(image: np.ndarray) -> Sky:
    """Sky level and noise from the frame's border, whatever galaxy reaches parts of it."""
    width = max(3, round(0.04 * min(image.shape)))
    outer = _ring_pieces(image, 0, width)
    medians = np.array([np.median(piece) for piece in outer])
    level = float(np.percentile(medians, 25))
    pairs = zip(outer, medians, strict=True)
    dark = [piece - median for piece, median in pairs if median <= np.median(medians)]
    noise = 1.4826 * float(np.median(np.abs(np.concatenate(dark))))
    # Some pictures fade to black at their rim: then the sky is the even level further in.
    start = round(0.10 * min(image.shape))
    inner = np.array([np.median(piece) for piece in _ring_pieces(image, start, width)])
    low, middle, high = np.percentile(inner, [15, 50, 85])
    step = low - level
    if step > 0.02 * (image.max() - level) and step > 4.0 * noise and high - low < 0.5 * step:
        return Sky(float(middle), noise)
    return Sky(level, noise)


def _ring_pieces(image: np.ndarray, start: int, width: int) -> list[np.ndarray]:
    """24 pieces of the square ring that begins `start` pixels inside the frame."""
    inset = image[start : image.shape[0] - start, start : image.shape[1] - start]
    sides = [inset[:width], inset[-width:], inset[:, :width].T, inset[:, -width:].T]
    return [piece.ravel() for side in sides for piece in np.array_split(side, 6, axis=1)]


def without_hot_pixels(grey: np.ndarray, noise: float) -> np.ndarray:
    """`grey` without what outshines its surroundings as no PSF can: cosmic rays, hot pixels."""
    ceiling = np.abs(grey).max()
    candidates = (grey > 0.02 * ceiling) & (grey > 1.8 * ndimage.uniform_filter(grey, 5))
    rows, columns = np.nonzero(candidates)
    padded = np.pad(grey, 2, mode="reflect")
    offset = np.arange(5)
    patches = padded[
        rows[:, None, None] + offset[:, None], columns[:, None, None] + offset[None, :]
    ]
    around = grey.copy()
    around[rows, columns] = np.median(patches.reshape(-1, 25), axis=1)
    hot = grey - around > np.maximum(8.0 * noise, 1.5 * np.abs(around) + 0.02 * ceiling)
    if not hot.any():
        return grey
    # A star or a nucleus is as wide as the PSF: four pixels or more above half its peak. A cosmic
    # ray is not.
    labels, count = ndimage.label(hot)
    areas = ndimage.sum_labels(hot, labels, np.arange(count + 1))
    small = hot & (areas[labels] <= 3)
    return np.where(small, around, grey)


def smoothed(grey: np.ndarray, size: float) -> np.ndarray:
    """`grey` (y, x) as it is used to detect: blurred by about 1% of `size` pixels."""
    return ndimage.gaussian_filter(grey, max(1.0, 0.012 * size))


def central_segment(
    grey: np.ndarray, sky: Sky, faintest: float = FAINTEST_LEVEL
) -> tuple[np.ndarray, float]:
    """The galaxy's pixels (bool), and the level of its wings that had to be counted as sky.

    What is fainter than `faintest`, of the peak, is left out.
    """
    size = min(grey.shape)
    segment, pedestal = _segment(smoothed(grey, size), sky, faintest)
    extent = extent_of(segment)
    if extent < 0.25 * size and size > 100:
        # A small galaxy in a large frame: a blur made for the frame would swell it.
        segment, pedestal = _segment(smoothed(grey, 2.0 * extent), sky, faintest)
    return segment, pedestal


def _segment(smooth: np.ndarray, sky: Sky, faintest: float) -> tuple[np.ndarray, float]:
    """What `central_segment` returns, at one degree of smoothing."""
    size = min(smooth.shape)
    noise = 1.4826 * float(np.median(np.abs(smooth - np.median(smooth)))) if sky.noise > 0 else 0.0
    noise = min(noise, sky.noise)
    centre = _disk(smooth.shape, 0.2 * size)
    peak = float(smooth[centre].max())
    if peak <= max(6.0 * noise, 0.0):
        raise NotAGalaxyError(
            "empty", f"brightest smoothed pixel near the centre {peak:.3g}, its noise {noise:.3g}"
        )
    level = max(faintest * peak, 4.0 * noise)
    for fraction in (None, *CLOSING_LEVELS):
        threshold = level if fraction is None else max(level, fraction * peak)
        segment = _isophote(smooth, threshold, size)
        touching = _touching_fraction(segment)
        if touching == 0:
            pedestal = 0.0 if fraction is None else threshold - level
            return segment, pedestal
        if touching < (0.02 if fraction is None else 0.06):
            # The ends of a long disk, or a tail: the taper takes care of them.
            return segment, 0.0
    raise NotAGalaxyError(
        "truncated", f"still {touching:.0%} of the border at {CLOSING_LEVELS[-1]:.0%} of the peak"
    )


def _isophote(smooth: np.ndarray, threshold: float, size: int) -> np.ndarray:
    """The region above `threshold` nearest the centre, neighbours cut off, holes filled."""
    labels, count = ndimage.label(smooth > threshold)
    if count == 0:
        raise NotAGalaxyError("empty", "no pixel above the threshold")
    segment = labels == _central_label(labels, smooth, size)
    for factor in (1.5, 2.2, 3.3, 5.0):
        segment &= ~_neighbours(smooth, segment, factor * threshold, size)
    # Cutting may leave crumbs: only the part that is still connected to the centre stays.
    parts, count = ndimage.label(segment)
    if count > 1:
        segment = parts == _central_label(parts, smooth, size)
    return _smooth_outline(ndimage.binary_fill_holes(segment))


def _smooth_outline(segment: np.ndarray) -> np.ndarray:
    """`segment` without the frayed edge that noise gives an isophote; thin objects stay whole."""
    width = 0.03 * np.sqrt(segment.sum())
    window = tuple(
        slice(max(0, found.min() - 4), found.max() + 5)
        for found in (np.flatnonzero(segment.any(axis=1)), np.flatnonzero(segment.any(axis=0)))
    )
    smooth = np.zeros_like(segment)
    # Beyond the frame counts as more of the same: an edge-on disk is not to be rounded off there.
    mode = "nearest"
    smooth[window] = (
        ndimage.gaussian_filter(segment[window].astype(np.float32), width, mode=mode) > 0.4
    )
    return smooth if smooth.any() else segment


def _central_label(labels: np.ndarray, smooth: np.ndarray, size: int) -> int:
    """The label of the component that is near the centre and holds most light there."""
    window = _distance_from_centre(labels.shape)
    weight = np.clip(smooth, 0, None) * np.exp(-0.5 * (window / (0.07 * size)) ** 2)
    flux = ndimage.sum_labels(weight, labels, np.arange(labels.max() + 1))
    flux[0] = -1.0
    best = int(np.argmax(flux))
    offset = float(window[labels == best].min())
    if offset > MAXIMUM_OFFSET * size:
        raise NotAGalaxyError(
            "off-centre", f"{offset:.0f} pixels from the centre of a {size}-pixel frame"
        )
    return best


def _neighbours(smooth: np.ndarray, segment: np.ndarray, level: float, size: int) -> np.ndarray:
    """Pixels of `segment` that belong to others, joined to the galaxy by faint wings only."""
    labels, count = ndimage.label(segment & (smooth > level))
    if count < 2:
        return np.zeros_like(segment)
    central = _central_label(labels, smooth, size)
    peaks = np.zeros(count + 1)
    np.maximum.at(peaks, labels[labels > 0], smooth[labels > 0])
    areas = np.bincount(labels.ravel(), minlength=count + 1)
    # Knots of a spiral arm stand little above the saddle; another object stands high above it.
    other = (peaks > 2.5 * level) & (areas > 6)
    other[[0, central]] = False
    if not other.any():
        return np.zeros_like(segment)
    nearest = ndimage.distance_transform_edt(
        ~(other[labels] | (labels == central)), return_distances=False, return_indices=True
    )
    return segment & other[labels[tuple(nearest)]]


def _touching_fraction(segment: np.ndarray) -> float:
    border = np.concatenate([segment[0], segment[-1], segment[:, 0], segment[:, -1]])
    return float(border.mean())


def extent_of(segment: np.ndarray) -> float:
    """Side in pixels of the larger dimension of the segment's bounding box."""
    rows, columns = np.flatnonzero(segment.any(axis=1)), np.flatnonzero(segment.any(axis=0))
    return float(max(np.ptp(rows), np.ptp(columns)) + 1) if rows.size else 0.0


def _distance_from_centre(shape: tuple[int, int]) -> np.ndarray:
    rows, columns = np.indices(shape)
    return np.hypot(rows - (shape[0] - 1) / 2, columns - (shape[1] - 1) / 2)


def _disk(shape: tuple[int, int], radius: float) -> np.ndarray:
    return _distance_from_centre(shape) <= radius
