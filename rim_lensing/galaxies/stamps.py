"""From a picture of a galaxy to a clean stamp that can serve as the source behind a lens.

`clean_stamp` finds the galaxy at the centre of an image, removes the sky and everything that is
not the galaxy, and returns it alone, centred, filling a square stamp, with peak 1. What is not a
usable galaxy raises `NotAGalaxyError`, which says why.
"""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from rim_lensing.galaxies.framing import border_window, framed
from rim_lensing.galaxies.outskirts import linear_flux, with_outskirts, without_cut_rim
from rim_lensing.galaxies.rejection import REASONS, NotAGalaxyError
from rim_lensing.galaxies.segmentation import (
    Sky,
    central_segment,
    extent_of,
    grey_and_sky,
    smoothed,
    without_hot_pixels,
)
from rim_lensing.galaxies.stars import filled, without_stars

__all__ = ["REASONS", "NotAGalaxyError", "Outskirts", "clean_stamp", "rejection_reason"]

MINIMUM_EXTENT = 20.0  # pixels: below this, enlarging to a stamp invents structure
MAXIMUM_NOISE = 0.08  # rms noise in the finished stamp, in units of its peak
FAINTEST_OF_LINEAR = 0.01  # as FAINTEST_LEVEL, of galaxies that are continued below it
OUTSKIRTS_MARGIN = 2.0  # as FRAME_MARGIN, of the same


@dataclass(frozen=True)
class Outskirts:
    """That a stamp is in linear flux and continued past its outline (`outskirts`), and how.

    Args:
        white: Of an asinh-stretched picture, the largest value of its format; None of linear flux.
        softening: Of the stretch, Lupton et al.'s Q.
    """

    white: float | None = None
    softening: float = 3.0


def clean_stamp(
    image: np.ndarray, side: int = 96, outskirts: Outskirts | None = None
) -> np.ndarray:
    """The galaxy at the centre of `image`, alone on a dark sky, centred, filling the stamp, peak 1.

    Args:
        image: (y, x) grey or (y, x, 3) colour, any flux unit. Up to 5% of the pixels may be
            non-finite: they count as missing and are filled in from their neighbours.
        side: pixels on a side of the stamp.
        outskirts: In linear flux, with outskirts: then the outline fills half of the stamp. By
            default the galaxy fades to 0 at its outline and fills the stamp, in the image's unit.

    Returns:
        (side, side) float32, non-negative, maximum exactly 1, zero at the border. Multiplying
        `image` by a positive number or adding a constant to it changes nothing.

    Raises:
        ValueError: `image` or `side` has the wrong shape, type or range.
        NotAGalaxyError: there is no usable galaxy; its `reason` says why.
    """
    if not isinstance(side, int | np.integer) or side < 8:
        raise ValueError(f"side must be an integer of at least 8 pixels. Received: {side!r}")
    grey, sky = grey_and_sky(_checked_image(image))
    grey = without_hot_pixels(grey, sky.noise)
    if outskirts is None:
        segment, pedestal = central_segment(grey, sky)
    else:
        is_linear = outskirts.white is None
        segment, _ = central_segment(grey, sky, *([FAINTEST_OF_LINEAR] if is_linear else []))
        pedestal = 0.0
    grey, segment = _cropped(grey - pedestal, segment)
    grey = without_stars(grey, segment, sky.noise)
    _check_segment(grey, segment, sky)
    light = np.clip(_denoised(grey, segment, sky.noise), 0, None)
    if outskirts is None:
        stamp, scale = framed(light * _taper(segment), segment, side)
        return _normalised(stamp, sky.noise * min(1.0, scale))
    noise = sky.noise
    if outskirts.white is not None:
        light = linear_flux(light, outskirts.white, outskirts.softening)
        noise = linear_flux(noise, outskirts.white, outskirts.softening)
    segment = without_cut_rim(light, segment)
    room = round(OUTSKIRTS_MARGIN * extent_of(segment))
    light, segment = np.pad(light, room), np.pad(segment, room)
    whole = with_outskirts(light, segment, _taper(segment))
    stamp, scale = framed(whole, segment, side, OUTSKIRTS_MARGIN)
    # Light that reaches the border of the stamp ends there without an edge.
    return _normalised(stamp * border_window(side), noise * min(1.0, scale))


def rejection_reason(image: np.ndarray, side: int = 96) -> str | None:
    """Why `clean_stamp` refuses `image` (a key of `REASONS`), or None where it does not.

    Raises:
        ValueError: `image` or `side` has the wrong shape, type or range.
    """
    try:
        clean_stamp(image, side)
    except NotAGalaxyError as error:
        return error.reason
    return None


def _checked_image(image: np.ndarray) -> np.ndarray:
    """`image` as (channel, y, x) float64 with missing pixels filled in."""
    array = np.asarray(image)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"image must be an array of real numbers. Received: dtype {array.dtype}")
    if array.ndim == 3 and array.shape[-1] == 3:
        array = np.moveaxis(array, -1, 0)
    elif array.ndim == 2:
        array = array[None]
    else:
        raise ValueError(f"image must have shape (y, x) or (y, x, 3). Received: {np.shape(image)}")
    if min(array.shape[1:]) < MINIMUM_EXTENT:
        raise NotAGalaxyError("too small", f"the frame has {np.shape(image)} pixels")
    array = array.astype(np.float64)
    missing = ~np.isfinite(array).all(axis=0)
    if missing.mean() > 0.05:
        raise NotAGalaxyError("artefact", f"{missing.mean():.0%} of the pixels are not finite")
    if missing.any():
        array = np.stack([filled(channel, missing) for channel in array])
    return array


def _cropped(grey: np.ndarray, segment: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both arrays cut to the segment's bounding box and a margin for its surroundings."""
    margin = round(0.15 * extent_of(segment)) + 4
    window = tuple(
        slice(max(0, found.min() - margin), found.max() + margin + 1)
        for found in (np.flatnonzero(segment.any(axis=1)), np.flatnonzero(segment.any(axis=0)))
    )
    return grey[window], segment[window]


def _denoised(grey: np.ndarray, segment: np.ndarray, noise: float) -> np.ndarray:
    """`grey`, smoothed where it is faint: a source behind a lens has no noise of its own."""
    if noise <= 0:
        return grey
    fine = max(0.8, 0.012 * extent_of(segment))
    result = ndimage.gaussian_filter(grey, 4.0 * fine)
    for width in (2.0 * fine, fine, 0.0):
        sharper = ndimage.gaussian_filter(grey, width) if width else grey
        # Averaging over a Gaussian of this width leaves noise / (2 sqrt(pi) width) of white noise.
        remaining = noise / max(1.0, 2.0 * np.sqrt(np.pi) * width)
        signal = np.clip(result, 0.0, None) ** 2
        weight = signal / (signal + (8.0 * remaining) ** 2)
        result = weight * sharper + (1.0 - weight) * result
    return result


def _check_segment(grey: np.ndarray, segment: np.ndarray, sky: Sky) -> None:
    """Raise `NotAGalaxyError` where the segment's shape or light are not a galaxy's."""
    extent = extent_of(segment)
    if extent < MINIMUM_EXTENT:
        raise NotAGalaxyError(
            "too small", f"{extent:.0f} pixels across, at least {MINIMUM_EXTENT:.0f} are needed"
        )
    light = np.where(segment, grey, 0.0)
    peak = float(light.max())
    ceiling = segment & (light > 0.995 * peak)
    if ceiling.sum() > max(9, 0.04 * segment.sum()):
        raise NotAGalaxyError(
            "saturated", f"{ceiling.sum() / segment.sum():.0%} of the object is at the ceiling"
        )
    core = smoothed(grey, min(grey.shape))[segment]
    half = np.count_nonzero(core > 0.5 * core.max())
    if half < 0.004 * segment.sum() or np.sqrt(half / np.pi) < 1.3:
        raise NotAGalaxyError("point-like", f"{half} of {segment.sum()} pixels above half the peak")
    if peak > 15.0 * sky.noise:  # in more noise than that, noise itself would look like artefacts
        _check_artefacts(grey, segment, sky, peak)


def _check_artefacts(grey: np.ndarray, segment: np.ndarray, sky: Sky, peak: float) -> None:
    """Raise `NotAGalaxyError` for what detectors do and galaxies do not."""
    dead = segment & (grey < -max(10.0 * sky.noise, 0.1 * peak))
    if dead.sum() > 0.01 * segment.sum():
        raise NotAGalaxyError(
            "artefact", f"{dead.sum()} pixels far below the sky inside the object"
        )
    middle = float(np.median(grey[segment]))
    even = np.mean(np.abs(grey[segment] - middle) < 0.15 * middle)
    if middle < 0.4 * peak and even > 0.5:
        raise NotAGalaxyError("artefact", f"{even:.0%} of the object is an even patch of sky")
    # A saturated star bleeds: black in the middle of its own light.
    bright = grey > 0.4 * peak
    holes = ndimage.binary_fill_holes(bright) & (grey < 0.08 * peak)
    if holes.sum() > max(4, 0.001 * segment.sum()):
        raise NotAGalaxyError(
            "artefact", f"a black hole of {holes.sum()} pixels in the brightest part"
        )
    # Missing blocks end in straight edges along rows or columns, far sharper than any PSF.
    for axis in (0, 1):
        jump = np.abs(np.diff(grey, axis=axis)) > 0.35 * peak
        longest = jump.sum(axis=1 - axis).max()
        if longest > 0.3 * extent_of(segment):
            raise NotAGalaxyError("artefact", f"a straight edge {longest} pixels long")


def _taper(segment: np.ndarray) -> np.ndarray:
    """Weights that fall smoothly from 1 well inside the segment to 0 a little outside it."""
    width = max(1.5, 0.05 * extent_of(segment))
    # The padding makes the edge of the frame an edge of the segment.
    padded = np.pad(segment, 1)
    depth = ndimage.distance_transform_edt(padded) - ndimage.distance_transform_edt(~padded)
    depth = depth[1:-1, 1:-1]
    ramp = np.clip(0.5 + depth / (2.0 * width), 0.0, 1.0)
    return ramp * ramp * (3.0 - 2.0 * ramp)


def _normalised(stamp: np.ndarray, noise: float) -> np.ndarray:
    stamp = np.clip(stamp, 0.0, None)
    stamp[[0, -1]] = 0.0
    stamp[:, [0, -1]] = 0.0
    peak = stamp.max()
    if peak <= 0:
        raise NotAGalaxyError("empty", "no light left after cleaning")
    if noise > MAXIMUM_NOISE * peak:
        raise NotAGalaxyError("too noisy", f"noise is {noise / peak:.0%} of the peak")
    stamp = (stamp / peak).astype(np.float32)
    stamp[np.unravel_index(np.argmax(stamp), stamp.shape)] = 1.0
    return stamp
